"""The plot of `tune`: how near each schedule comes to the full run on the held-out cases, by the number of steps."""

from collections.abc import Sequence

import matplotlib

from svdsweep.report.drawing import STYLE, Plot, draw, looks
from svdsweep.search.tune_figures import TITLES, Figure

APART = 0.18
"""Schedules of equal steps stand beside one another, so far apart."""


@matplotlib.rc_context(STYLE)
def plot(figures: Sequence[Figure]) -> Plot:
    """Means with 95 % intervals, and a faint mark a case: of latents to the left, of frames to the right."""
    figure, axes = draw(8.4, 3.6, 2)
    look = looks(list(TITLES))
    for axis, quantity in zip(axes, ("latents", "frames"), strict=True):
        for i, road in enumerate(TITLES):
            for shown in (f for f in figures if f.road == road):
                estimate = getattr(shown, quantity)
                x = shown.steps + (i - 1) * APART
                cases = getattr(shown, f"{quantity}_of_cases")
                axis.plot(
                    [x] * len(cases), cases, ls="", marker=".", ms=4, color=look[road]["color"], alpha=0.35
                )
                if estimate.low is not None:
                    axis.vlines(x, estimate.low, estimate.high, color=look[road]["color"], lw=1.6)
                first = shown.steps == figures[0].steps and axis is axes[0]
                axis.plot(
                    [x], [estimate.value], ls="", ms=7, label=TITLES[road] if first else None, **look[road]
                )
        axis.set_xlabel("calls of the UNet in one video")
        axis.set_xticks(sorted({f.steps for f in figures}))
        axis.set_xlim(min(f.steps for f in figures) - 0.6, max(f.steps for f in figures) + 0.6)
    axes[0].set_ylabel("latents to those of the full run (dB)")
    axes[1].set_ylabel("PSNR to the frames of the full run (dB)")
    figure.legend(loc="outside upper left", ncols=3, fontsize=8)
    caption = (
        "Higher is nearer to the full run, which is not to say that it looks better. Held-out cases alone: large marks "
        "are means with 95 % intervals, small ones single cases."
    )
    return Plot("tune", "Schedules on the held-out cases", caption, figure)
