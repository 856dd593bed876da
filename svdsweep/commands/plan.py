"""`svdsweep plan`: the jobs of a grid, the pipelines they share, what is done and what will fit; it runs nothing."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from svdsweep import terminal
from svdsweep.commands.request import Parser
from svdsweep.commands.run import rows_of, warn
from svdsweep.config import Job
from svdsweep.errors import DONE
from svdsweep.grid.expand import Grid, expand
from svdsweep.memory.conflicts import KINDS, why_not
from svdsweep.memory.per_run import unet_calls_of
from svdsweep.predict.batch import predictions
from svdsweep.predict.forecast import Card, card_here, fit_of, kind_of, runs_on_gpu
from svdsweep.predict.prediction import Prediction
from svdsweep.probes.devices import discover
from svdsweep.runner.pending import pending
from svdsweep.store.columns import asked_for, varying
from svdsweep.store.rows import Row, Store
from svdsweep.terminal import LINES, SHORT, cell, counts, is_number, table

TO_DO, IMPOSSIBLE = "to do", "impossible"


@dataclass(frozen=True)
class Plan:
    """What is known of a grid's jobs before they run; everything by key."""

    grid: Grid
    rows: Mapping[str, Row]
    state: Mapping[str, str]
    """`to do`, `impossible`, or the status of the job's row."""
    refused: Mapping[str, str]
    """Why a job is impossible on this machine."""
    predicted: Mapping[str, Prediction]
    fits: Mapping[str, str]
    """`yes`, `tight`, `no`, or empty; for jobs that would run on a GPU."""
    card: Card
    kind: str = "cpu"
    """Of the devices, as `KINDS` has it."""


def main(argv: Sequence[str]) -> int:
    """Show the plan, as a table or as one JSON document. Returns the exit code; raises UserError."""
    parser = Parser("plan", "Show the jobs of a grid and what is done; run nothing.")
    parser.add_grid()
    parser.add_json()
    parser.add_flag("--predict", "simulate the peak VRAM of what was not predicted yet")
    asked = parser.asked(argv)
    plan = made(expand(asked.settings, asked.config_dir), asked.predict)
    warn(plan.grid)
    print(json.dumps(document(plan), indent=1) if asked.json else text(plan))
    return DONE


def made(grid: Grid, simulate: bool) -> Plan:
    """The plan of a grid; with `simulate`, peaks of VRAM that were not predicted yet are (torch is imported)."""
    store = Store(grid.folder)
    rows = store.rows()
    terminal.warn(grid.folder, store.faults)
    devices = discover(grid.runner.devices)
    todo = pending(grid.jobs, rows, grid.runner)
    kind = kind_of(devices)
    refused = {job.key: reason for job in todo if (reason := why_not(job, kind))}
    waiting = {job.key: IMPOSSIBLE if job.key in refused else TO_DO for job in todo}
    state = {job.key: waiting.get(job.key) or rows[job.key].status for job in grid.jobs}
    on_gpu = [job for job in grid.jobs if runs_on_gpu(job, devices)]
    predicted = {key: p for key, p in predictions(on_gpu, compute=simulate).items() if p}
    card = card_here(devices, grid.folder)
    fits = {job.key: fit_of(job, predicted.get(job.key), card) for job in on_gpu}
    return Plan(grid, rows, state, refused, predicted, fits, card, kind)


def text(plan: Plan) -> str:
    """For the terminal: the table of jobs, the pipelines, what is impossible, and how many of each there are."""
    jobs = plan.grid.jobs
    reasons = sorted({f"impossible here: {reason}" for reason in plan.refused.values()})
    states = Counter(plan.state.values())
    settled = [row for row in rows_of(plan.grid, plan.rows) if plan.state[row.key] not in (TO_DO, IMPOSSIBLE)]
    numbers = counts(settled, states[TO_DO], states[IMPOSSIBLE])
    blocks = [table_of_jobs(plan), "", *pipelines(jobs)[:LINES], *reasons, ""]
    blocks.append(f"{plan.grid.folder}: {len(jobs)} jobs, {numbers}. Nothing was run.")
    if any(plan.fits.values()):
        limit = f"{plan.card.name} ({plan.card.gib:.1f} GiB)" if plan.card.gib else "gpu.memory_limit_gib"
        blocks.append(f"fits: {limit}, with {plan.card.allowance.words}.")
        if plan.kind not in ("cpu", "cuda"):
            blocks.append(
                f"VRAM is predicted for NVIDIA's kernels; those of {KINDS[plan.kind]} may hold more."
            )
    if missing := len(plan.fits.keys() - plan.predicted.keys() - plan.refused.keys()):
        blocks.append(
            f"The VRAM of {missing} jobs is not predicted yet: `svdsweep plan --predict …` does, in seconds a strategy."
        )
    return "\n".join(blocks)


def table_of_jobs(plan: Plan) -> str:
    """A line a job: what varies, the number of its pipeline, predicted VRAM where known, and where it stands."""
    jobs = plan.grid.jobs
    asked = varying(jobs) or ["motion_bucket_id", "seed"]
    numbers = {key: i for i, key in enumerate(dict.fromkeys(job.pipeline_key for job in jobs), 1)}
    shown = jobs[:LINES]
    columns = [asked_for(job) for job in shown]
    calls = _calls(jobs)
    more = ["unet_calls"] * bool(calls)
    more += ["predicted_gib"] * bool(plan.predicted) + ["fits"] * any(plan.fits.values())
    lines = []
    for job, settings in zip(shown, columns, strict=True):
        prediction = plan.predicted.get(job.key)
        peak = cell(prediction.peak_gib if prediction else None)
        facts = {
            "unet_calls": calls.get(job.key, ""),
            "predicted_gib": peak,
            "fits": plan.fits.get(job.key) or "-",
        }
        line = [job.key, *(cell(settings[n]) for n in asked), str(numbers[job.pipeline_key])]
        lines.append([*line, *(facts[name] for name in more), plan.state[job.key]])
    header = ["job", *(SHORT.get(n, n) for n in asked), "pipeline", *more, "state"]
    right = [False, *(is_number(columns, n) for n in asked), True, *(True for _ in more), False]
    return table(header, lines, right, len(jobs) - len(shown))


def _calls(jobs: Sequence[Job]) -> dict[str, str]:
    """By key, how often a job calls its UNet; nothing where all do so num_inference_steps times."""
    calls = {job.key: unet_calls_of(job) for job in jobs}
    as_asked = all(calls[job.key] == job.num_inference_steps for job in jobs)
    return {} if as_asked else {key: str(n) for key, n in calls.items()}


def pipelines(jobs: Sequence[Job]) -> list[str]:
    """A sentence for each pipeline, in the order of the jobs: its model, its strategy, and how many jobs share it."""
    first = {job.pipeline_key: job for job in reversed(jobs)}
    members = Counter(job.pipeline_key for job in jobs)
    return [
        f"pipeline {number}: {first[key].model.name}, {first[key].model.dtype}, memory={first[key].memory.name}"
        f" ({count} jobs)"
        for number, (key, count) in enumerate(members.items(), 1)
    ]


def document(plan: Plan) -> dict[str, Any]:
    """The plan as JSON has it."""
    jobs = [
        {
            "key": job.key,
            "state": plan.state[job.key],
            "why": plan.refused.get(job.key),
            "pipeline": job.pipeline_key,
            "unet_calls": unet_calls_of(job),
            "predicted_vram_gib": plan.predicted[job.key].peak_gib if job.key in plan.predicted else None,
            "fits": plan.fits.get(job.key) or None,
            **asked_for(job),
        }
        for job in plan.grid.jobs
    ]
    return {
        "name": plan.grid.name,
        "folder": str(plan.grid.folder),
        "axes": plan.grid.axes,
        "gpu": plan.card.name,
        "gpu_gib": plan.card.gib,
        "allowance": plan.card.allowance.words,
        "jobs": jobs,
    }
