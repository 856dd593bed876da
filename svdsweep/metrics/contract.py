"""What a metric is given and what it answers. Importable without torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Value = float | int | str | bool | None


@dataclass(frozen=True)
class Context:
    """What is known about a clip beside its frames; whatever is None leaves the metrics that need it empty."""

    image: "NDArray[np.uint8] | None" = None
    """The conditioning image as the pipeline saw it: (H, W, 3) uint8, of the frames' size."""
    decode_chunk_size: int | None = None
    """Frames a decode."""
    device: str = "cpu"
    """Torch device to compute on."""
    weights_dir: Path | None = None
    """Where weight files of learned metrics lie, beside torch's own cache."""
    image_encoder: Any | None = None
    """The pipeline's own CLIPVisionModelWithProjection."""
    feature_extractor: Any | None = None
    """The pipeline's own CLIPImageProcessor."""
    reference: "NDArray[np.uint8] | None" = None
    """Frames (F, H, W, 3) uint8 of the baseline job with the same seed and image."""
    nonfinite_values: int | None = None
    """NaN and infinite values before the frames became uint8."""


@dataclass(frozen=True)
class Scores:
    """What a family answers. A column that could not be computed is None, and a note says why."""

    values: dict[str, Value] = field(default_factory=dict)
    """By column name."""
    series: dict[str, list[float | None]] = field(default_factory=dict)
    """Per frame, per pair of neighbours (t, t + 1) or per triple, in order; None where unknown."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the reader."""


@dataclass(frozen=True)
class Column:
    """What a table and the report page have to know about a metric. `low` and `high` bound its values."""

    name: str
    unit: str
    low: float | None
    high: float | None
    better: str | None
    """`higher`, `lower`, or None: a description, not a merit."""
    help: str
    blind_to: str
    """What the number does not see, or mistakes for something else."""
