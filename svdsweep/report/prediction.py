"""The section "Prediction against measurement": its table, plot and sentences, on the page and in Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib

from svdsweep.analysis.prediction import PLACES, Compared, Comparison, Ratio, comparison
from svdsweep.analysis.sweep import Sweep
from svdsweep.predict.calibration import FILE, Calibration
from svdsweep.report.drawing import COLOURS, FAINT, MARKERS, STYLE, Plot, draw, name_rows
from svdsweep.report.words import shown

GOAL, DECODE_GOAL = 0.05, 0.1
"""How far measurement may be from prediction; the decode's convolutions have workspaces of their own."""


@dataclass(frozen=True)
class Section:
    """What the section shows."""

    compared: Comparison
    stages: list[str]
    plot: Plot | None
    said: list[str]

    @property
    def several_gpus(self) -> bool:
        """Whether lines must name their GPU."""
        return len({line.gpu for line in self.compared.lines}) > 1


def section_of(sweep: Sweep) -> Section | None:
    """The section of a sweep in which a GPU counted its memory; None without."""
    compared = comparison(sweep)
    if not compared.measured:
        return None
    stages = [place for place in PLACES if any(place in line.ratios for line in compared.lines)]
    said = [constant_words(c) for c in compared.calibrations.values()]
    said += sorted({f"{line.memory}: {note}" for line in compared.lines for note in line.notes})
    if missing := len(compared.unpredicted):
        said.append(
            f"{missing} measured {'setting is' if missing == 1 else 'settings are'} not predicted on this machine: "
            f"svdsweep report --predict {sweep.folder} does, without a GPU, in seconds a strategy."
        )
    if not said:
        said = ["How many frames decode_chunk_size=auto decodes, only the run knows: it is not predicted."]
    return Section(compared, stages, draw_ratios(compared, stages), said)


def constant_words(c: Calibration) -> str:
    """What was fitted to a GPU, and who uses it."""
    context = "as the driver counts it" if c.context_measured else "assumed, for the driver does not tell"
    return (
        f"{c.gpu}: a run needs its predicted peak and {c.constant_gib:.2f} GiB, {c.workspace_gib:.2f} of it for "
        f"workspaces (enough for nine rows of ten) and {c.context_gib:.2f} for the CUDA context ({context}). Fitted to "
        f"{c.rows} {'row' if c.rows == 1 else 'rows'}; from {FILE}, plan, predict, fit and runner.skip_predicted_oom "
        f"take it for this GPU, up to the largest peak predicted here, {c.largest_gib:.1f} GiB."
    )


def is_far(stage: str, ratio: Ratio) -> bool:
    """Whether the measurement misses the prediction by more than the goal."""
    return abs(ratio.median - 1) > (GOAL if stage not in ("vae_decode", "run") else DECODE_GOAL)


def range_words(ratio: Ratio) -> str:
    """The range of the ratios of a line's rows, and how many there are."""
    rows = f"{ratio.n} {'row' if ratio.n == 1 else 'rows'}"
    return f"{ratio.low:.3f} to {ratio.high:.3f}, {rows}" if ratio.n > 1 else rows


def cells(section: Section) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the table as text, for Markdown."""
    several, stages = section.several_gpus, section.stages
    gpu = ["GPU"] if several else []
    lines = [
        [line.memory, *([line.gpu] if several else []), str(line.rows)]
        + [shown(line.predicted_gib), shown(line.measured_gib)]
        + [f"{line.ratios[s].median:.3f}" if s in line.ratios else "–" for s in stages]
        for line in section.compared.lines
    ]
    return ["strategy", *gpu, "jobs", "predicted (GiB)", "measured (GiB)", *stages], lines


@matplotlib.rc_context(STYLE)
def draw_ratios(compared: Comparison, stages: Sequence[str]) -> Plot | None:
    """Measured ÷ predicted, a line a strategy, a mark a stage."""
    lines = compared.lines
    if not lines:
        return None
    figure, (axes,) = draw(7.2, 1.3 + 0.42 * len(lines))
    axes.axvspan(1 - GOAL, 1 + GOAL, color=FAINT, alpha=0.08, lw=0)
    axes.axvline(1, color=FAINT, alpha=0.5, lw=1)
    tips = {}
    for k, stage in enumerate(stages):
        look: dict[str, Any] = {"color": COLOURS[k], "marker": MARKERS[k]}
        for i, line in enumerate(lines):
            if (ratio := line.ratios.get(stage)) is None:
                continue
            place = i + (k - (len(stages) - 1) / 2) * 0.8 / len(stages)
            axes.plot([ratio.low, ratio.high], [place, place], color=look["color"], lw=1.2, alpha=0.6)
            axes.plot([ratio.median], [place], ls="", ms=6, gid=f"prediction-{k}-{i}", **look)
            tips[f"prediction-{k}-{i}"] = _tip(line, stage, ratio)
        axes.plot([], [], ls="", ms=6, label="whole run" if stage == "run" else stage, **look)
    several = len({line.gpu for line in lines}) > 1
    name_rows(axes, [f"{line.memory}\n{line.gpu}" if several else line.memory for line in lines])
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.08)
    axes.set_xlabel("measured ÷ predicted allocated peak")
    figure.legend(loc="outside upper left", ncols=5, fontsize=8)
    meaning = "right of 1 the run held more than was foreseen. The band is ±5 %."
    caption = f"Medians with the range of the jobs; {meaning}"
    return Plot("prediction", "Measured ÷ predicted", caption, figure, tips)


def _tip(line: Compared, stage: str, ratio: Ratio) -> str:
    return f"{line.memory}, {stage}: {ratio.median:.3f} ({range_words(ratio)}), {line.gpu}"
