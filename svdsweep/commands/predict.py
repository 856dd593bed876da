"""`svdsweep predict`: a grid in, a table of peaks, cards that fit and floors of latency out."""

import json
from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from svdsweep.commands.request import Parser
from svdsweep.config import Job
from svdsweep.errors import some
from svdsweep.grid.expand import expand_without_weights
from svdsweep.memory.conflicts import KINDS
from svdsweep.predict.allowance import CARDS_GB, Allowance, allowance_for, needed_gib, verdict
from svdsweep.predict.batch import Outcome, Unpredicted, outcomes, processes_here
from svdsweep.predict.gpus import Gpu, eager_floor_s, floor_s, known_gpus
from svdsweep.predict.here import gpu_asked
from svdsweep.predict.prediction import Prediction, Stretch
from svdsweep.store.columns import STAGES, asked_for, varying
from svdsweep.terminal import SHORT, cell, table, visible

STAGE_FACTS = (
    *("peak_gib", "weights_gib", "operation", "module", "tflop", "moved_gib"),
    *("h2d_gib", "d2h_gib", "host_gib"),
)
"""What JSON tells of a stage, beside its largest tensors."""
PICTURES = (".html", ".svg", ".png")
SIGNS = {"yes": "yes", "tight": "~", "no": "-"}
ABOUT = """\
Peak VRAM of every job of a grid, stage by stage, where it is, and which cards it fits; without a GPU, network or
weights. Settings are those of `svdsweep run`."""
EXAMPLES = """\
GPUs: {gpus}

examples
  svdsweep predict model=svd_xt "memory=glob(*)" decode_chunk_size=1,2,8
  svdsweep predict model=svd_xt memory=under_8gb --gpu rtx4090 --details
  svdsweep predict model=svd_xt memory=baseline,smallest --over-time memory.html
"""


def main(argv: Sequence[str]) -> int:
    """Answer `svdsweep predict …`; 0, or UserError."""
    asked = parser().asked(argv)
    grid = expand_without_weights(asked.settings, asked.config_dir)
    predicted = outcomes(grid.jobs, processes=processes_here(), kind=asked.gpu.kind if asked.gpu else "cuda")
    allowance = allowance_for(asked.gpu.title if asked.gpu else None, grid.folder)
    if asked.json:
        lines = [
            plain(job, predicted[job.key], asked.gpu, allowance, bool(asked.over_time)) for job in grid.jobs
        ]
        print(json.dumps(lines, indent=1))
    else:
        print(text(grid.jobs, predicted, asked.gpu, allowance, asked.details))
    if asked.over_time:
        told = _over_time(asked.over_time, grid.jobs, predicted, asked.gpu)
        if not asked.json:
            print(visible(f"\n{told}\nover time  {asked.over_time}"))
    return 0


def parser() -> Parser:
    """The flags of the verb."""
    p = Parser("predict", ABOUT, EXAMPLES.format(gpus=", ".join(known_gpus())))
    p.add_grid()
    about_gpu = (
        "add the floor of latency at that GPU's published rates, or, for `here`, at those that `svdsweep doctor` "
        "measured on this machine's; and take what measured sweeps in runs_dir say of it to tell which cards fit"
    )
    p.add_argument("--gpu", type=gpu_asked, metavar="NAME", help=about_gpu)
    p.add_flag("--details", "list the largest tensors that are alive at each peak")
    about_picture = (
        "draw the live bytes of each strategy over its run, stacked by what they are, into a file (.html, .svg, .png), "
        "and tell what each peak is made of; --json then has every point"
    )
    p.add_argument("--over-time", type=_picture, metavar="FILE", help=about_picture)
    p.add_json()
    return p


def _picture(name: str) -> Path:
    path = Path(name)
    if path.suffix.lower() not in PICTURES:
        raise ArgumentTypeError(f"{name} ends in none of {', '.join(PICTURES)}")
    if not path.parent.is_dir():
        raise ArgumentTypeError(f"there is no folder {path.parent}")
    return path


def _over_time(path: Path, jobs: Sequence[Job], predicted: Mapping[str, Outcome], gpu: Gpu | None) -> str:
    """Write the picture; the table of what the peaks are made of."""
    from svdsweep.report import over_time, over_time_file
    from svdsweep.report.memory_plot import Panel

    names = _settings_that_vary(jobs)
    panels = [
        Panel(" ".join(cell(asked_for(job)[name]) for name in names), outcome)
        for job in jobs
        if isinstance(outcome := predicted[job.key], Prediction)
    ]
    over_time_file.write(path, panels, (gpu.title, gpu.memory_gib) if gpu else None)
    lines = [over_time.cells(panel.title, panel.prediction) for panel in panels if panel.is_told]
    return table(over_time.HEADER, lines, over_time.RIGHT)


def _settings_that_vary(jobs: Sequence[Job]) -> list[str]:
    return [name for name in varying(jobs) or ["memory"] if name != "baseline"]


def text(
    jobs: Sequence[Job],
    predicted: Mapping[str, Outcome],
    gpu: Gpu | None,
    allowance: Allowance,
    details: bool,
) -> str:
    """The table, what it takes for granted, and on request the stages of each job."""
    names = _settings_that_vary(jobs)
    lines: list[tuple[list[str], Prediction]] = []
    reasons: dict[str, list[str]] = {}
    for job in jobs:
        outcome, settings = predicted[job.key], asked_for(job)
        asked = [cell(settings[name]) for name in names]
        if isinstance(outcome, Prediction):
            lines.append((asked, outcome))
        else:
            reasons.setdefault(outcome.reason, []).append(" ".join(asked))
    blocks = [_table(names, lines, gpu, allowance)] if lines else []
    blocks += [f"not predicted: {reason}  ({some(who, 3, ';')})" for reason, who in reasons.items()]
    blocks += _notes([prediction for _, prediction in lines])
    if lines:
        blocks.append(explanation(gpu, allowance))
    if details:
        blocks += [_details(" ".join(asked), prediction) for asked, prediction in lines]
    return "\n".join(blocks)


def _table(
    names: Sequence[str], lines: Sequence[tuple[list[str], Prediction]], gpu: Gpu | None, allowance: Allowance
) -> str:
    """A line a predicted job: what varies, peaks in GiB, work, floors of latency, cards."""
    floors = ["floor_s", "eager_floor_s"] if gpu else []
    numbers = [*STAGES, "peak_gib", "tflop", *floors, *(f"{card} GB" for card in CARDS_GB)]
    return table(
        [*(SHORT.get(name, name) for name in names), *numbers],
        [[*asked, *_cells(prediction, gpu, allowance)] for asked, prediction in lines],
        [False] * len(names) + [True] * len(numbers),
    )


def _notes(predictions: Sequence[Prediction]) -> list[str]:
    return sorted({f"note: {note}" for prediction in predictions for note in prediction.notes})


def explanation(gpu: Gpu | None, allowance: Allowance) -> str:
    """What the columns mean and take for granted."""
    lines = [
        "GiB as max_memory_allocated counts them, at each stage's peak. A card fits (yes)"
        f" with {allowance.words}; ~ if {allowance.least_gib:.2g} GiB beside the tensors were enough."
    ]
    if gpu and gpu.kind != "cuda":
        lines.append(
            f"Counted for NVIDIA's kernels: those of {KINDS[gpu.kind]} may hold more, and no run has confirmed it."
        )
    if gpu:
        lines.append(
            f"Seconds on {gpu.title} at {gpu.basis}: floor_s if only matrix work (or transfers) took time, "
            "eager_floor_s if each operation also read and wrote its tensors. "
            f"{'Hardly a' if gpu.measured_at else 'No'} run is faster than the first."
        )
    return "\n".join(lines)


def plain(
    job: Job, outcome: Outcome, gpu: Gpu | None, allowance: Allowance, over_time: bool = False
) -> dict[str, Any]:
    """One job's prediction for JSON, with its memory `over_time` on request; units as in the names."""
    facts: dict[str, Any] = {"key": job.key, **asked_for(job)}
    if isinstance(outcome, Unpredicted):
        return facts | {"predicted_vram_gib": None, "reason": outcome.reason}
    facts |= {
        "predicted_vram_gib": outcome.peak_gib,
        "needed_vram_gib": needed_gib(outcome, allowance),
        "allowance": allowance.words,
        "peak_stage": outcome.peak_stage,
        "tflop": outcome.tflop,
        "fits": {f"{card} GB": verdict(outcome, card, allowance) for card in CARDS_GB},
        "notes": outcome.notes,
    }
    if gpu:
        facts |= {
            "gpu": gpu.title,
            "floor_s": floor_s(outcome, gpu),
            "eager_floor_s": eager_floor_s(outcome, gpu),
        }
    facts["stages"] = {
        name: {fact: getattr(stage, fact) for fact in STAGE_FACTS}
        | {"largest": [asdict(tensor) for tensor in stage.largest]}
        | {"at_peak_gib": stage.composition_gib}
        | ({"over_time": [_curve(stretch) for stretch in stage.over_time]} if over_time else {})
        for name, stage in outcome.stages.items()
    }
    return facts


def _curve(stretch: Stretch) -> dict[str, Any]:
    """A stretch for JSON."""
    facts = {name: getattr(stretch, name) for name in ("turn", "times", "operation", "module")}
    return facts | {"mib": stretch.by_kind_mib}


def _cells(prediction: Prediction, gpu: Gpu | None, allowance: Allowance) -> list[str]:
    floors = [f"{floor_s(prediction, gpu):.1f}", f"{eager_floor_s(prediction, gpu):.1f}"] if gpu else []
    return [
        *(f"{prediction.stages[stage].peak_gib:.2f}" for stage in STAGES),
        f"{prediction.peak_gib:.2f}",
        f"{prediction.tflop:.0f}",
        *floors,
        *(SIGNS[verdict(prediction, card, allowance)] for card in CARDS_GB),
    ]


def _details(title: str, prediction: Prediction) -> str:
    lines = ["", title]
    for name, stage in prediction.stages.items():
        where = f"{stage.operation} in {stage.module}" if stage.module else "its beginning"
        made_of = " + ".join(f"{k} {gib:.2f}" for k, gib in stage.composition_gib.items() if gib >= 0.005)
        lines.append(
            f"  {name}: {stage.peak_gib:.2f} GiB at {where}; weights {stage.weights_gib:.2f} GiB"
            f"{f' ({made_of})' if made_of else ''}, "
            f"{stage.tflop:.1f} TFLOP, {stage.moved_gib:.0f} GiB read and written, "
            f"{stage.h2d_gib:.1f} GiB from the host, {stage.d2h_gib:.1f} GiB back"
            + (f", {stage.host_gib:.1f} GiB of host memory for frames" if stage.host_gib else "")
        )
        lines += [
            f"    {a.mib:8.1f} MiB  {'×'.join(map(str, a.shape))} {a.dtype}  {a.operation} in {a.module or 'pipeline'}"
            for a in stage.largest
        ]
    return "\n".join(lines)
