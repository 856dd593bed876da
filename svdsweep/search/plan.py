"""What `svdsweep pick --plan` tells: the stages with their UNet calls, and by prediction VRAM and floors of latency."""

from collections.abc import Mapping
from typing import Any

from svdsweep.grid.expand import Grid
from svdsweep.predict.batch import Outcome, Unpredicted, outcomes
from svdsweep.predict.forecast import runs_on_gpu
from svdsweep.predict.gpus import Gpu, card_of, eager_floor_s, floor_s
from svdsweep.predict.prediction import Prediction
from svdsweep.probes.devices import discover
from svdsweep.search.pick import Wish
from svdsweep.terminal import cell, table

HOUR_S = 3600


def document_of_plan(wish: Wish, grid: Grid, gpu: Gpu | None) -> dict[str, Any]:
    """The plan as JSON has it: for each stage its runs, UNet calls, and where a GPU would run it the predicted VRAM
    (GiB) and the floors of latency (seconds for all its runs)."""
    ladder, c = wish.ladder, wish.candidates
    predicted = _predicted(wish, grid)
    found = {steps: p for steps, p in predicted.items() if isinstance(p, Prediction)}
    card = (gpu or card_of(max(p.peak_gib for p in found.values()))) if found else None
    rounds = [
        ("all at few steps", ladder.few, len(c.jobs)),
        ("pilot, in full", c.steps, ladder.pilot),
        ("survivors, in full", c.steps, ladder.survivors),
    ]
    stages = [
        {"stage": name, "steps": steps, "runs": runs, "unet_calls": runs * c.calls(steps)}
        | _foreseen(found.get(steps), card, runs)
        for name, steps, runs in rounds
    ]
    return {
        "by": wish.aim.column.name,
        "bounds": list(map(str, wish.bounds)),
        "keep": wish.keep,
        "stages": stages,
        "unet_calls": ladder.calls,
        "full_unet_calls": c.full_calls,
        "gpu": card.title if card else None,
        "rates": card.basis if card else None,
        "not_predicted": sorted({p.reason for p in predicted.values() if isinstance(p, Unpredicted)}),
    }


def text_of_plan(plan: Mapping[str, Any]) -> str:
    """The plan as a table and what it means."""
    facts = ["predicted_vram_gib", "floor_s", "eager_floor_s"] if plan["gpu"] else []
    header = ["stage", "steps", "runs", "unet_calls", *facts]
    lines = [[cell(stage.get(name)) for name in header] for stage in plan["stages"]]
    share = 100 * plan["unet_calls"] / plan["full_unet_calls"]
    blocks = [table(header, lines, [False, *(True for _ in header[1:])]), ""]
    blocks.append(
        f"{plan['unet_calls']} UNet calls, {share:.0f} % of the full sweep's {plan['full_unet_calls']}. The survivors "
        f"run only if the pilot allows it. Nothing was run; the same line without --plan does."
    )
    if plan["gpu"]:
        hours = sum(stage.get("eager_floor_s", 0.0) for stage in plan["stages"]) / HOUR_S
        blocks.append(
            f"Predicted on {plan['gpu']} at {plan['rates']}: seconds of all runs of a stage, as in `svdsweep predict`; "
            f"eagerly {hours:.2g} hours in all."
        )
    return "\n".join([*blocks, *(f"not predicted: {reason}" for reason in plan["not_predicted"])])


def _foreseen(prediction: Prediction | None, card: Gpu | None, runs: int) -> dict[str, float]:
    """What a stage of so many runs needs and takes; nothing where it is not predicted."""
    if prediction is None or card is None:
        return {}
    return {
        "predicted_vram_gib": prediction.peak_gib,
        "floor_s": runs * floor_s(prediction, card),
        "eager_floor_s": runs * eager_floor_s(prediction, card),
    }


def _predicted(wish: Wish, grid: Grid) -> dict[int, Outcome]:
    """What is foreseen of a run of each number of steps, simulated where it is not known yet; nothing of runs on a
    CPU."""
    devices, c = discover(grid.runner.devices), wish.candidates
    jobs = {steps: c.at(steps)[0] for steps in (wish.ladder.few, c.steps)}
    on_gpu = {steps: job for steps, job in jobs.items() if runs_on_gpu(job, devices)}
    by_key = outcomes(list(on_gpu.values()))
    return {steps: by_key[job.key] for steps, job in on_gpu.items()}
