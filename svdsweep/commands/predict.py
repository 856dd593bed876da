"""`svdsweep predict`: a grid in, a table of peaks, cards that fit and floors of latency out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from svdsweep.commands.request import Parser
from svdsweep.config import Job
from svdsweep.grid.expand import expand_without_weights
from svdsweep.predict.allowance import ALLOWANCE, CARDS_GB, Allowance, allowance_for, needed_gib, verdict
from svdsweep.predict.batch import Outcome, Unpredicted, outcomes, processes_here
from svdsweep.predict.gpus import Gpu, eager_floor_s, floor_s, known_gpus
from svdsweep.predict.here import gpu_asked
from svdsweep.predict.prediction import Prediction
from svdsweep.store.columns import STAGES, varying
from svdsweep.terminal import SHORT, cell, table

SIGNS = {"yes": "yes", "tight": "~", "no": "-"}
ABOUT = """\
Peak VRAM of every job of a grid, stage by stage, where it is, and which cards it fits; without a GPU, network or
weights. Settings are those of `svdsweep run`."""
EXAMPLES = """\
GPUs: {gpus}

examples
  svdsweep predict model=svd_xt "memory=glob(*)" decode_chunk_size=1,2,8
  svdsweep predict model=svd_xt memory=under_8gb --gpu rtx4090 --details
"""


def main(argv: Sequence[str]) -> int:
    """Answer `svdsweep predict …`; 0, or UserError."""
    asked = parser().asked(argv)
    grid = expand_without_weights(asked.settings, asked.config_dir)
    found = outcomes(grid.jobs, processes=processes_here())
    allowance = allowance_for(asked.gpu.title if asked.gpu else None, grid.folder)
    if asked.json:
        lines = [plain(job, found[job.key], asked.gpu, allowance) for job in grid.jobs]
        print(json.dumps(lines, indent=1))
    else:
        print(text(grid.jobs, found, asked.gpu, allowance, asked.details))
    return 0


def parser() -> Parser:
    """The flags of the verb."""
    p = Parser("predict", ABOUT, EXAMPLES.format(gpus=", ".join(known_gpus())))
    p.add_grid()
    p.add_argument(
        "--gpu",
        type=gpu_asked,
        metavar="NAME",
        help="add the floor of latency at that GPU's published rates, or, for `here`, at those that `svdsweep doctor` "
        "measured on this machine's; and take what measured sweeps in runs_dir say of it to tell which cards fit",
    )
    p.add_argument(
        "--details", action="store_true", help="list the largest tensors that are alive at each peak"
    )
    p.add_json()
    return p


def text(
    jobs: Sequence[Job],
    found: Mapping[str, Outcome],
    gpu: Gpu | None,
    allowance: Allowance = ALLOWANCE,
    details: bool = False,
) -> str:
    """The table, what it takes for granted, and on request the stages of each job."""
    asked = [name for name in varying(jobs) or ["memory"] if name != "baseline"]
    done = {job.key: s for job in jobs if isinstance(s := found[job.key], Prediction)}
    floors = ["floor_s", "eager_floor_s"] if gpu else []
    header = [
        *(SHORT.get(n, n) for n in asked),
        *STAGES,
        "peak_gib",
        "tflop",
        *floors,
        *(f"{c} GB" for c in CARDS_GB),
    ]
    lines = []
    for job in jobs:
        columns = asked_columns(job, asked)
        if job.key in done:
            lines.append([*columns, *_cells(done[job.key], gpu, allowance)])
    blocks = (
        [table(header, lines, [False] * len(asked) + [True] * (len(header) - len(asked)))] if lines else []
    )
    blocks += [f"not predicted: {reason}" for reason in _reasons(jobs, found, asked)]
    blocks += sorted({f"note: {note}" for summary in done.values() for note in summary.notes})
    if done:
        blocks.append(explanation(gpu, allowance))
    if details:
        blocks += [_details(job, done[job.key], asked) for job in jobs if job.key in done]
    return "\n".join(blocks)


def explanation(gpu: Gpu | None, allowance: Allowance) -> str:
    """What the columns mean and take for granted."""
    lines = [
        "GiB as max_memory_allocated counts them, at each stage's peak. A card fits (yes)"
        f" with {allowance.words}; ~ if {allowance.least_gib:.2g} GiB beside the tensors were enough."
    ]
    if gpu:
        lines.append(
            f"Seconds on {gpu.title} at {gpu.basis}: floor_s if only matrix work (or transfers) took time, "
            "eager_floor_s if each operation also read and wrote its tensors. "
            f"{'Hardly a' if gpu.measured_at else 'No'} run is faster than the first."
        )
    return "\n".join(lines)


def asked_columns(job: Job, names: Sequence[str]) -> list[str]:
    """What varies over a grid, of one job, as a table shows it."""
    from svdsweep.store.columns import asked_for

    columns = asked_for(job)
    return [cell(columns[name]) for name in names]


def plain(job: Job, outcome: Outcome, gpu: Gpu | None, allowance: Allowance) -> dict[str, Any]:
    """One job's prediction for JSON; units as in the names."""
    from svdsweep.store.columns import asked_for

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
        name: {
            "peak_gib": s.peak_gib,
            "weights_gib": s.weights_gib,
            "operation": s.operation,
            "module": s.module,
            "tflop": s.tflop,
            "moved_gib": s.moved_gib,
            "h2d_gib": s.h2d_gib,
            "d2h_gib": s.d2h_gib,
            "host_gib": s.host_gib,
            "largest": [asdict(alive) for alive in s.largest],
        }
        for name, s in outcome.stages.items()
    }
    return facts


def _cells(summary: Prediction, gpu: Gpu | None, allowance: Allowance) -> list[str]:
    floors = [f"{floor_s(summary, gpu):.1f}", f"{eager_floor_s(summary, gpu):.1f}"] if gpu else []
    return [
        *(f"{summary.stages[stage].peak_gib:.2f}" for stage in STAGES),
        f"{summary.peak_gib:.2f}",
        f"{summary.tflop:.0f}",
        *floors,
        *(SIGNS[verdict(summary, card, allowance)] for card in CARDS_GB),
    ]


def _reasons(jobs: Sequence[Job], found: Mapping[str, Outcome], asked: Sequence[str]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for job in jobs:
        outcome = found[job.key]
        if isinstance(outcome, Unpredicted):
            reasons.setdefault(outcome.reason, []).append(" ".join(asked_columns(job, asked)))
    return [
        f"{reason}  ({'; '.join(who[:3])}{' …' if len(who) > 3 else ''})" for reason, who in reasons.items()
    ]


def _details(job: Job, summary: Prediction, asked: Sequence[str]) -> str:
    lines = ["", " ".join(asked_columns(job, asked))]
    for name, stage in summary.stages.items():
        where = f"{stage.operation} in {stage.module}" if stage.module else "its beginning"
        lines.append(
            f"  {name}: {stage.peak_gib:.2f} GiB at {where}; weights {stage.weights_gib:.2f} GiB, "
            f"{stage.tflop:.1f} TFLOP, {stage.moved_gib:.0f} GiB read and written, "
            f"{stage.h2d_gib:.1f} GiB from the host, {stage.d2h_gib:.1f} GiB back"
            + (f", {stage.host_gib:.1f} GiB of host memory for frames" if stage.host_gib else "")
        )
        lines += [
            f"    {a.mib:8.1f} MiB  {'×'.join(map(str, a.shape))} {a.dtype}  {a.operation} in {a.module or 'pipeline'}"
            for a in stage.largest
        ]
    return "\n".join(lines)
