"""What a metric is given, and what all metrics agree on. Importable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PSNR_CAP_DB = 100.0
"""What equal pictures score: their PSNR is infinite, which no JSON can say."""


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
