"""What a metric is given, and what all metrics agree on. Importable without torch."""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

PSNR_CAP_DB = 100.0
"""What equal pictures score: their PSNR is infinite, which no JSON can say."""


@dataclass(frozen=True)
class Context:
    """What is known about a clip beside its frames; whatever is None leaves the metrics that need it empty."""

    image: "NDArray[np.uint8] | None" = None
    """The conditioning image as the pipeline saw it: (H, W, 3) uint8, of the frames' size."""
    decode_chunk_size: int | None = None
    """Frames a decode."""
    fps: float | None = None
    """Frames a second at which it is shown."""
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

    def others(self, asked: Set[str]) -> "dict[str, NDArray[np.uint8] | None]":
        """What frames are compared with, of those that are `asked` for by a family's `COMPARED_WITH`: the frame
        `before` (None), the `image` and the `baseline`."""
        pictures = {"image": None if self.image is None else self.image[None], "baseline": self.reference}
        there = {name: those for name, those in pictures.items() if those is not None}
        return {name: those for name, those in {"before": None, **there}.items() if name in asked}


def psnr_db(mse: float) -> float:
    """Peak signal-to-noise ratio from a mean squared error of values in 0–1, at most `PSNR_CAP_DB`."""
    return PSNR_CAP_DB if mse <= 0 else min(PSNR_CAP_DB, -10 * math.log10(mse))


def masked_mean(x: "Tensor", mask: "Tensor") -> float:
    """Mean of (C, h, w) where mask (h, w) holds; 0 where it holds nowhere."""
    return float((x * mask).sum() / (x.shape[0] * mask.sum().clamp_min(1)))


def mean_known(values: Sequence[float | None]) -> float | None:
    """The mean of those values that are not None; None when all are."""
    numbers = [v for v in values if v is not None]
    return sum(numbers) / len(numbers) if numbers else None


def drift(values: Sequence[float | None]) -> float | None:
    """The mean over the last fifth of a series with a value a frame, less the first value; None for a single frame, or
    where either is not known."""
    first, late = values[0], mean_known(values[-max(1, len(values) // 5) :])
    return None if len(values) < 2 or first is None or late is None else late - first
