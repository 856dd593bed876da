"""Whether a job that ran to its end made a video at all: black, flat or frozen frames would win every comparison."""

from collections.abc import Mapping
from typing import Any

from svdsweep.config import Job

HALF_PRECISION = (
    "What usually mends it: memory.vae_dtype=float32, or model.dtype=bfloat16, which holds larger numbers."
)
"""SVD's own VAE overflows in float16 for some pictures."""
STANDS_STILL = "What usually mends it: more of motion_bucket_id or noise_aug_strength, and enough steps."


def defect(job: Job, values: Mapping[str, Any]) -> str:
    """Why the video of a job is none that may be compared, by its columns, and what usually mends it; else empty.

    Values that are not finite, a black frame, half of the frames of one colour, or a clip that stands still though
    motion was asked for (`motion_bucket_id` above 0). Pictures of random weights mean nothing: of those only values
    count. What a row has no column for is not judged."""
    if wrong := _number(values, "nonfinite_values"):
        return f"{wrong:,} values of the frames are not finite (NaN or infinity). {HALF_PRECISION}"
    if job.model.weights == "random":
        return ""
    if unlit := unlit_frames(values, job.num_frames):
        return f"{unlit} {HALF_PRECISION}"
    if job.motion_bucket_id > 0 and (still := standing_still(values, job.num_frames)):
        return f"{still} {STANDS_STILL}"
    return ""


def unlit_frames(values: Mapping[str, Any], count: int) -> str:
    """A sentence where one of `count` frames is black or half of them are of one colour, by a clip's columns."""
    if black := _number(values, "black_frames"):
        return f"{_of(black, count)} black."
    if (flat := _number(values, "flat_frames")) * 2 >= count:
        return f"{_of(flat, count)} of one colour."
    return ""


def standing_still(values: Mapping[str, Any], count: int) -> str:
    """A sentence where all of `count` frames are the same, by a clip's columns."""
    still = count > 1 and _number(values, "frozen_frames") >= count - 1
    return f"All {count} frames are the same." if still else ""


def _of(some: int, count: int) -> str:
    if some >= count:
        return f"All {count} frames are" if count > 1 else "The only frame is"
    return f"{some} of {count} frames {'is' if some == 1 else 'are'}"


def _number(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    return int(value) if isinstance(value, int | float) else 0
