"""`svdsweep plan`: the jobs of a grid, the pipelines they share, what is done and what will fit; it runs nothing."""

import json
from collections.abc import Mapping

from svdsweep import terminal
from svdsweep.analysis.columns import asked_for
from svdsweep.cli import DONE, Request
from svdsweep.forecast import Card, card_here, fit_of, kind_of, runs_on_gpu
from svdsweep.grid import Grid, expand
from svdsweep.memory.conflicts import why_not
from svdsweep.predict import Summary, summaries
from svdsweep.runner import pending
from svdsweep.runner.devices import discover
from svdsweep.store import Store
from svdsweep.sweep import of, warn


def plan(request: Request) -> int:
    """Show the plan, as a table or as one JSON document. Returns the exit code; raises UserError."""
    grid = expand(request.settings, request.config_dir)
    warn(grid)
    rows = Store(grid.folder).rows()
    todo = pending(grid.jobs, rows, grid.runner)
    devices = discover(grid.runner.devices)
    waiting = {job.key for job in todo}
    refused = {job.key: reason for job in todo if (reason := why_not(job, kind_of(devices)))}
    state = {job.key: "to do" if job.key in waiting else rows[job.key].status for job in grid.jobs}
    state |= dict.fromkeys(refused, "impossible")
    on_gpu = [job for job in grid.jobs if runs_on_gpu(job, devices)]
    predicted = {k: s for k, s in summaries(on_gpu, compute=request.predict).items() if s}
    card = card_here(devices, grid.folder)
    fit = {job.key: fit_of(job, predicted.get(job.key), card) for job in on_gpu}
    if request.json:
        print(document(grid, state, refused, predicted, fit, card))
        return DONE
    print(terminal.plan(grid.jobs, state, refused, {k: s.peak_gib for k, s in predicted.items()}, fit))
    print(
        f"\n{grid.folder}: {len(grid.jobs)} jobs, {terminal.counts(of(grid, rows), len(todo))}. Nothing was run."
    )
    if any(fit.values()):
        print(fits_words(card))
    if missing := len([job for job in on_gpu if job.key not in predicted and job.key not in refused]):
        print(
            f"The VRAM of {missing} jobs is not predicted yet: `svdsweep plan --predict …` does, in seconds a strategy."
        )
    return DONE


def fits_words(card: Card) -> str:
    """What `fits` is held against."""
    limit = f"{card.name} ({card.gib:.1f} GiB)" if card.gib else "gpu.memory_limit_gib"
    return f"fits: {limit}, with {card.allowance.words}."


def document(
    grid: Grid,
    state: Mapping[str, str],
    refused: Mapping[str, str],
    predicted: Mapping[str, Summary],
    fit: Mapping[str, str],
    card: Card,
) -> str:
    """The plan as JSON."""
    jobs = [
        {
            "key": job.key,
            "state": state[job.key],
            "why": refused.get(job.key),
            "pipeline": job.settings_key,
            "predicted_vram_gib": predicted[job.key].peak_gib if job.key in predicted else None,
            "fits": fit.get(job.key) or None,
            **asked_for(job),
        }
        for job in grid.jobs
    ]
    facts = {"name": grid.name, "folder": str(grid.folder), "axes": grid.axes}
    gpu = {"gpu": card.name, "gpu_gib": card.gib, "allowance": card.allowance.words}
    return json.dumps(facts | gpu | {"jobs": jobs}, indent=1)
