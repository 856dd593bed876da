"""What `tune` leaves in its sweep: presets, the table and its plot, and every trial."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

from svdsweep.analysis.pairs import Estimate
from svdsweep.config import Job
from svdsweep.config.keys import canonical_part
from svdsweep.config.rules import typed
from svdsweep.config.version import __version__
from svdsweep.report.drawing import STYLE
from svdsweep.report.svg import png
from svdsweep.search.tune_figures import TITLES, Costs, Figure
from svdsweep.search.tune_plot import plot
from svdsweep.search.tune_schedules import Trial
from svdsweep.search.tune_stages import TUNED, Outcome, Wish
from svdsweep.store.files import renamed_when_done
from svdsweep.terminal import table

PRESETS = "presets"
"""The folder in a sweep that `--config-dir` takes."""
LISTED = 12
"""Rejected trials in `tune.md`; all of them are in `trials.csv`."""


@dataclass(frozen=True)
class Found:
    """A search that is over, with where and when."""

    wish: Wish
    outcome: Outcome
    figures: Sequence[Figure]
    costs: Costs
    folder: Path
    date: str

    @property
    def better(self) -> list[Figure]:
        """The tuned schedules that are better than the published ones."""
        return [figure for figure in self.figures if figure.road == TUNED and figure.is_better]


def write(found: Found) -> list[Path]:
    """Write `tune.md`, `tune.json`, `tune.svg`, `tune.png` and `trials.csv`, and a preset for each schedule that is
    better; returns the presets. One of an earlier search that is no longer better goes."""
    folder = found.folder
    presets = {
        figure.steps: preset_path(folder, figure.steps) for figure in found.figures if figure.road == TUNED
    }
    for steps in presets.keys() - {figure.steps for figure in found.better}:
        presets[steps].unlink(missing_ok=True)
    for figure in found.better:
        _write(presets[figure.steps], preset(found, figure))
    drawn = plot(found.figures)
    with matplotlib.rc_context(STYLE), renamed_when_done(folder / "tune.svg") as part:
        drawn.figure.savefig(part, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    png(drawn, folder / "tune.png")
    _write(folder / "trials.csv", trials_csv(found.outcome))
    _write(folder / "tune.json", json.dumps(document(found), indent=1) + "\n")
    _write(folder / "tune.md", markdown(found))
    return [presets[figure.steps] for figure in found.better]


def preset_path(folder: Path, steps: int) -> Path:
    """Where the preset of a schedule lies, as `--config-dir` finds it."""
    return folder / PRESETS / "memory" / f"{TUNED}_{steps}.yaml"


def preset(found: Found, figure: Figure) -> str:
    """A schedule as a memory preset, with how it was found in its head."""
    cases, case = found.wish.cases, found.wish.cases.all[0]
    lines = [
        f"python -m svdsweep --config-dir {found.folder / PRESETS} model={case.model.name} "
        f"num_inference_steps={case.num_inference_steps} memory={TUNED}_{figure.steps}",
        f"{figure.steps} noise levels found by `svdsweep tune` (svdsweep {__version__}, {found.date}) for "
        f"{case.model.name} ({case.model.source}{_revision(case)}), nearest to its {case.num_inference_steps} steps.",
        f"Searched on {len(cases.searched)} cases by {len(found.outcome.trials[figure.steps])} trials; the figures are "
        f"those of {figure.latents.n} others, dB (95 % interval), above Align Your Steps at as many calls:",
        f"latents {interval(figure.latents)}, {interval(figure.latents_gain, sign=True)} above;",
        f"frames {interval(figure.frames)}, {interval(figure.frames_gain, sign=True)} above.",
        f"The whole search: {found.costs.jobs} runs, {found.costs.unet_calls} calls of the UNet, "
        f"{found.costs.seconds:.0f} s of runs.",
    ]
    lines += [f"searched: {told(case)}" for case in cases.searched]
    lines += [f"held out: {told(case)}" for case in cases.held_out]
    knobs = canonical_part(case.memory) | {"sigmas": figure.levels}
    settings = [
        f"name: {TUNED}_{figure.steps}",
        *(f"{name}: {typed(value)}" for name, value in knobs.items()),
    ]
    return "\n".join([*(f"# {line}" for line in lines), *settings, ""])


def _revision(job: Job) -> str:
    return f" at {job.model.revision}" if job.model.revision else ""


def told(case: Job) -> str:
    """A case in a few words."""
    return f"{case.image.name} seed={case.seed} motion_bucket_id={case.motion_bucket_id}"


def interval(estimate: Estimate, sign: bool = False) -> str:
    """`30.1 [29.0, 31.2]`."""
    form = "+.2f" if sign else ".2f"
    if estimate.value is None:
        return "unknown"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{form}} (too few for an interval)"
    return f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"


HEADER = ("steps", "schedule", "latents_db", "above_ays_db", "frames_db", "above_ays_db", "cases")


def lines(figures: Sequence[Figure]) -> list[list[str]]:
    """A line a schedule, as tables show it."""
    return [
        [
            str(f.steps),
            TITLES[f.road],
            interval(f.latents),
            interval(f.latents_gain, True) if f.road != "ays" else "-",
            interval(f.frames),
            interval(f.frames_gain, True) if f.road != "ays" else "-",
            str(f.latents.n),
        ]
        for f in figures
    ]


def text(found: Found) -> str:
    """For the terminal: the table, what it means, what was found and what it took."""
    cases = found.wish.cases
    shown = table(HEADER, lines(found.figures), [True, False, *(True,) * 5])
    meaning = (
        f"dB to the full run ({cases.all[0].num_inference_steps} steps), higher is nearer: mean and 95 % interval over "
        f"the {len(cases.held_out)} held-out cases; the {len(cases.searched)} searched ones are in no figure."
    )
    return "\n".join([shown, meaning, "", *verdicts(found), taken(found)])


def verdicts(found: Found) -> list[str]:
    """A sentence for each number of steps: the preset, or that there is none."""
    better = {figure.steps for figure in found.better}
    said = []
    for figure in (f for f in found.figures if f.road == TUNED):
        gain, levels = interval(figure.latents_gain, True), typed(figure.levels)
        if figure.steps in better:
            where = f"memory={TUNED}_{figure.steps} --config-dir {found.folder / PRESETS}"
            said.append(f"{figure.steps} steps: {levels}\n  {where}")
        else:
            said.append(
                f"{figure.steps} steps: no better than Align Your Steps on the held-out cases ({gain} dB in latents, "
                f"{interval(figure.frames_gain, True)} dB in frames), so no preset was written. {levels} was nearest "
                "on the searched cases. More cases (--searched) or trials (--trials) may find one."
            )
    return said


def taken(found: Found) -> str:
    """What the search cost, in a line."""
    costs = found.costs
    return f"{costs.jobs} runs, {costs.unet_calls} calls of the UNet, {costs.seconds:.0f} s of runs on all devices."


def markdown(found: Found) -> str:
    """`tune.md`: the table, the plot, what was tried and rejected, and the cases."""
    blocks = [
        "# Schedules",
        _table(HEADER, lines(found.figures)),
        "![held-out cases](tune.svg)",
        *verdicts(found),
    ]
    for steps, chosen in found.outcome.chosen.items():
        others = rejected(found.outcome.trials[steps], chosen)
        head = (
            f"## Tried and rejected at {steps} steps\n\nThe {min(LISTED, len(others))} nearest of {len(others)} on the "
            "searched cases, whose figures are no result; all are in trials.csv, and in study.db for optuna-dashboard."
        )
        tried = [
            [str(t.number), str(t.generation), _db(t.nearness_db), typed(t.levels)]
            for t in [chosen, *others[:LISTED]]
        ]
        tried[0][0] += " (chosen)"
        blocks += [head, _table(("trial", "generation", "searched_db", "noise levels"), tried)]
    cases = found.wish.cases
    named = [
        *(["searched", told(c)] for c in cases.searched),
        *(["held out", told(c)] for c in cases.held_out),
    ]
    blocks += ["## Cases", _table(("part", "case"), named), taken(found)]
    return "\n\n".join(blocks) + "\n"


def rejected(trials: Sequence[Trial], chosen: Trial) -> list[Trial]:
    """What was tried and not taken, the nearest first, then what failed."""
    others = [trial for trial in trials if trial.number != chosen.number]
    return sorted(others, key=lambda trial: -(trial.nearness_db or float("-inf")))


def _db(value: float | None) -> str:
    return "failed" if value is None else f"{value:.2f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *rows])


def trials_csv(outcome: Outcome) -> str:
    """Every trial of all searches, in their order."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("steps", "trial", "generation", "searched_db", "chosen", "sigmas", "jobs"))
    for steps, trials in outcome.trials.items():
        for t in trials:
            chosen = t.number == outcome.chosen[steps].number
            levels, keys = " ".join(map(typed, t.levels)), " ".join(job.key for job in t.jobs)
            writer.writerow((steps, t.number, t.generation, t.nearness_db, chosen, levels, keys))
    return out.getvalue()


def document(found: Found) -> dict[str, Any]:
    """All of it for JSON."""
    cases = found.wish.cases
    better = {figure.steps for figure in found.better}
    return {
        "folder": str(found.folder),
        "full_steps": cases.all[0].num_inference_steps,
        "searched": [_case(case) for case in cases.searched],
        "held_out": [_case(case) for case in cases.held_out],
        "schedules": [_plain(f, better, found.folder) for f in found.figures],
        "trials": {str(n): len(trials) for n, trials in found.outcome.trials.items()},
        "runs": found.costs.jobs,
        "unet_calls": found.costs.unet_calls,
        "seconds": found.costs.seconds,
    }


def _case(case: Job) -> Mapping[str, Any]:
    names = ("seed", "motion_bucket_id")
    return {"key": case.key, "image": case.image.name, **{name: getattr(case, name) for name in names}}


def _plain(figure: Figure, better: set[int], folder: Path) -> dict[str, Any]:
    is_better = figure.road == TUNED and figure.steps in better
    return {
        "steps": figure.steps,
        "schedule": figure.road,
        "sigmas": figure.levels,
        **{f"{name}_db": _estimate(getattr(figure, name)) for name in ("latents", "frames")},
        **{f"{name}_db": _estimate(getattr(figure, name)) for name in ("latents_gain", "frames_gain")},
        "preset": str(preset_path(folder, figure.steps)) if is_better else None,
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {name: getattr(estimate, name) for name in ("value", "low", "high", "n")}


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with renamed_when_done(path) as part:
        part.write_text(content, encoding="utf-8", newline="\n")
