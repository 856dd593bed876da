"""Schedulers and noise levels by name: which denoise SVD, which do not and why, as running them on the tiny model told.

No torch here: a refusal answers at once. The classes are in svdsweep/models/schedulers.py."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from svdsweep.errors import UserError, nearest

TWO_CALLS = ("heun", "dpm2")
"""Schedulers that call the UNet twice in each step but the last."""
CONSISTENCY_LEVELS = 40
"""Noise levels that AnimateLCM-SVD was distilled at: its scheduler cannot make more steps."""
SCHEDULERS = (
    "euler",
    "euler_ancestral",
    *TWO_CALLS,
    *("dpmpp_2m", "dpmpp_2m_sde", "unipc", "lms", "edm_euler", "animatelcm"),
)
SCHEDULES = ("model", "karras", "exponential", "ays")
"""Names of noise levels; a list is allowed beside them."""
_TABLE = (
    "it computes by a table of 1000 whole timesteps whose highest noise level is 14.6, and SVD starts at 700 with "
    "timesteps of 0.25·log sigma"
)
UNFIT = {
    **dict.fromkeys(("ddim", "ddpm", "pndm", "ipndm"), _TABLE),
    "lcm": f"{_TABLE}; animatelcm is the consistency scheduler for these noise levels",
    "tcd": f"{_TABLE}, and no weights of SVD were distilled for it; animatelcm is the consistency scheduler of those "
    "that there are",
    "deis": "its last step takes the logarithm of the last noise level, which is 0, and the video is not a number",
    "dpmpp_sde": "its noise comes from torchsde, which draws otherwise on each device; dpmpp_2m_sde draws by the seed",
    "cosine_dpmpp": "it tells the UNet arctan(sigma) as the time, where SVD learned 0.25·log sigma; dpmpp_2m_sde is "
    "the same solver",
    **dict.fromkeys(("flow_euler", "flow_heun"), "it is made for flow matching, and SVD predicts v"),
}
"""What diffusers has beside those, and why it does not work here."""


def check_scheduler(name: Any) -> None:
    """Raise UserError for a scheduler that is known and does not work; unknown names are refused by their rule."""
    if name in UNFIT:
        raise UserError(f"model.scheduler={name}: {UNFIT[name]}. Allowed is {', '.join(SCHEDULERS)}.")


def checked_sigmas(
    sigmas: Any, setting: str = "model.sigmas", names: Sequence[str] = SCHEDULES
) -> str | tuple[float, ...]:
    """The noise levels of a `setting` as one of `names` or as numbers. Raises UserError for what is neither, and for
    levels that do not fall."""
    if isinstance(sigmas, str):
        if sigmas in names:
            return sigmas
        raise UserError(
            f"{setting}={sigmas} is not possible: allowed is {', '.join(names)}, or a list of noise levels such "
            f"as [700,50,5,0.5,0].{nearest(sigmas, names)}"
        )
    levels = list(sigmas) if isinstance(sigmas, list | tuple) else [sigmas]
    if wrong := _wrong(levels):
        raise UserError(
            f"{setting}=[{','.join(map(str, levels))}] is not possible: {wrong}. A list holds the noise level at "
            "which each step begins, falling, and then the one at which the last step ends, which alone may be 0: "
            "[700,50,5,0.5,0] is four steps."
        )
    return tuple(float(x) for x in levels)


def _wrong(levels: list[Any]) -> str:
    """What is wrong with a list of noise levels, or nothing."""
    if not all(type(x) in (int, float) for x in levels):
        return "every noise level is a number"
    if not all(0 <= x < math.inf for x in levels):
        return "noise levels are finite and not below 0"
    if len(levels) < 2:
        return "one level is no step"
    risen = next(((a, b) for a, b in pairwise(levels) if a <= b), None)
    return f"{risen[1]:g} after {risen[0]:g} does not fall" if risen else ""
