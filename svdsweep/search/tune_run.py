"""A search of `tune` driven by a runner: its stages go out as jobs, and each generation is recorded and told."""

from collections.abc import Callable, Mapping, Sequence

from svdsweep.config import Job, Runner
from svdsweep.config.keys import digest
from svdsweep.errors import Stopped
from svdsweep.runner import run_jobs
from svdsweep.runner.contract import Watch
from svdsweep.search import tune_study
from svdsweep.search.tune_schedules import Search
from svdsweep.search.tune_stages import Outcome, Wish, stages
from svdsweep.store.rows import Row, Store
from svdsweep.worker.contract import Load


def search(
    wish: Wish,
    load: Load,
    options: Runner,
    store: Store,
    watch: Watch,
    begun: Callable[[Sequence[Job]], None],
) -> tuple[Outcome, dict[str, Row]]:
    """Run what is left of a search; returns what came of it with the rows of its jobs, by key. `begun` is told all jobs
    so far with each stage. Raises UserError, Stopped, and KeyboardInterrupt after a drain: the same call goes on."""
    searches, outcome = wish.searches(), Outcome()

    def told(outcome: Outcome) -> None:
        if trouble := tune_study.record(store.folder, outcome.trials):
            watch.told(trouble)
        for one in searches:
            watch.told(_progress(one, wish.generations, one.steps in outcome.chosen))

    road = stages(wish, outcome, searches, told)
    jobs: dict[str, Job] = {}

    def noted(stage: Sequence[Job]) -> Sequence[Job]:
        jobs.update((job.key, job) for job in stage)
        begun(list(jobs.values()))
        return stage

    def more(rows: Mapping[str, Row]) -> Sequence[Job]:
        try:
            return noted(road.send(rows))
        except StopIteration:
            return []

    for _ in run_jobs(noted(next(road)), load, options, store, watch, more):
        pass
    if not outcome.shown:
        raise Stopped(
            "The search has stopped before its end (runner.fail_fast?); the same command goes on from there."
        )
    return outcome, {key: row for key, row in store.rows().items() if key in jobs}


def folder_name(wish: Wish) -> str:
    """The name of a search's sweep: that of its cases, so that more trials or other steps go on in it."""
    return f"tune-{digest(sorted(case.key for case in wish.cases.all))[:8]}"


def _progress(one: Search, generations: int, is_over: bool) -> str:
    if is_over:
        return f"{one.steps} steps: the search is over, the held-out cases tell what it is worth"
    first, best = one.trials[0].nearness_db or 0.0, one.best.nearness_db or 0.0
    return (
        f"{one.steps} steps, generation {one.generation} of {generations}: {best:.2f} dB on the searched cases, Align "
        f"Your Steps {first:.2f}"
    )
