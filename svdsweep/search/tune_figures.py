"""What `tune` shows: each schedule on the held-out cases alone, with intervals, and whether the tuned one is better."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from svdsweep.analysis.pairs import Estimate, mean_difference
from svdsweep.config import Job
from svdsweep.search.tune_schedules import Levels, nearness_db
from svdsweep.search.tune_stages import AYS, TUNED, Outcome
from svdsweep.store.rows import Row

FRAMES = "psnr_to_baseline_db"
Db = tuple[list[float], list[float]]
"""Nearness of latents and of frames, a value a case."""
TITLES = {"tuned": "tuned", "ays": "Align Your Steps, interpolated", "euler": "plain Euler"}


@dataclass(frozen=True)
class Figure:
    """A schedule on the held-out cases: how near to the full run its latents and frames are (dB, mean with a 95 %
    interval), and by how much nearer than Align Your Steps at as many calls."""

    steps: int
    road: str
    levels: Levels | None
    latents: Estimate
    frames: Estimate
    latents_gain: Estimate
    frames_gain: Estimate
    latents_of_cases: list[float]
    frames_of_cases: list[float]

    @property
    def is_better(self) -> bool:
        """Whether its latents are surely nearer than those of Align Your Steps, and its frames not surely farther."""
        low, high = self.latents_gain.low, self.frames_gain.high
        return low is not None and low > 0 and (high is None or high > 0)


def figures(outcome: Outcome, rows: Mapping[str, Row]) -> list[Figure]:
    """Every schedule that was run on the held-out cases; cases in which one of them failed are left out of all."""
    found = []
    for steps, jobs in outcome.shown.items():
        whole = _common(jobs, rows)
        db = {road: _of(cases, rows) for road, cases in whole.items()}
        levels = {TUNED: outcome.chosen[steps].levels}
        found += [_figure(steps, road, levels.get(road), db[road], db[AYS]) for road in whole]
    return found


def _figure(steps: int, road: str, levels: Levels | None, db: Db, published: Db) -> Figure:
    gains = [[a - b for a, b in zip(*both, strict=True)] for both in zip(db, published, strict=True)]
    latents, frames, nearer, clearer = (mean_difference(values, "higher") for values in (*db, *gains))
    return Figure(steps, road, levels, latents, frames, nearer, clearer, *db)


def _common(jobs: Mapping[str, Sequence[Job]], rows: Mapping[str, Row]) -> dict[str, list[Job]]:
    """The jobs of the cases that can be compared under all schedules."""
    whole = [
        case for case in zip(*jobs.values(), strict=True) if all(_both_db(rows.get(job.key)) for job in case)
    ]
    return {road: [case[i] for case in whole] for i, road in enumerate(jobs)}


def _of(jobs: Sequence[Job], rows: Mapping[str, Row]) -> Db:
    both = [db for job in jobs if (db := _both_db(rows[job.key]))]
    return [latents for latents, _ in both], [frames for _, frames in both]


def _both_db(row: Row | None) -> tuple[float, float] | None:
    """Nearness of latents and frames; None where one of them is not known."""
    latents = nearness_db(row)
    frames = row.values.get(FRAMES) if row else None
    return (latents, float(frames)) if latents is not None and isinstance(frames, int | float) else None


@dataclass(frozen=True)
class Costs:
    """What the runs of a search took in all."""

    jobs: int
    unet_calls: int
    seconds: float


def costs(rows: Mapping[str, Row]) -> Costs:
    """The jobs of a sweep's rows, their calls of the UNet, and the seconds of their runs, on all devices together."""
    calls = [row.values.get("unet_calls") for row in rows.values()]
    seconds = [row.values.get("total_s") for row in rows.values()]
    return Costs(
        len(rows),
        sum(n for n in calls if isinstance(n, int)),
        sum(s for s in seconds if isinstance(s, float)),
    )
