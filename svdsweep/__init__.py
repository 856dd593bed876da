"""svdsweep: batch experiments and sweeps for Stable Video Diffusion.

The public face: `open`, `run`, `predict`, `score`, and what they give. Importing it imports neither torch nor pandas;
each function imports what it needs when it is called. Everything else may move between versions."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import svdsweep.predict  # noqa: F401 (a folder that is imported later would take the place of the function of its name)
from svdsweep.config.version import __version__
from svdsweep.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from svdsweep.analysis.documentation import Claim
    from svdsweep.analysis.pairs import Estimate
    from svdsweep.analysis.strategies import Choice, Strategy
    from svdsweep.report.drawing import Plot
    from svdsweep.store.measurements import Measurements
    from svdsweep.store.rows import Row

__all__ = ["Sweep", "UserError", "__version__", "open", "predict", "run", "score"]


class Sweep:
    """A sweep's folder, read once when it is opened; `open` and `run` give it."""

    def __init__(self, folder: Path) -> None:
        from svdsweep.analysis.sweep import open_sweep

        self._sweep = open_sweep(folder)

    def __repr__(self) -> str:
        return f"Sweep({self.name!r}, {len(self.table)} jobs)"

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self._sweep.name

    @property
    def folder(self) -> Path:
        """Where its rows, videos and reports are."""
        return self._sweep.folder

    @property
    def problems(self) -> list[str]:
        """Sentences about what could not be read or is missing."""
        return self._sweep.problems

    @property
    def table(self) -> "pd.DataFrame":
        """One line a job: the columns of results.csv, and some that are derived from them."""
        return self._sweep.table

    @property
    def repeats(self) -> Mapping[str, list[float]]:
        """The raw `total_s` (seconds) of each timed run, by the job's key."""
        return self._sweep.repeats

    @cached_property
    def rows(self) -> "dict[str, Row]":
        """The whole row that counts of each job, by key: with series for each step and frame, and notes."""
        from svdsweep.store.labels import rows_told_apart
        from svdsweep.store.rows import Store

        return {row.key: row for row in rows_told_apart(Store(self.folder).rows().values())}

    @cached_property
    def strategies(self) -> "list[Strategy]":
        """Each memory strategy against its baseline, on each workload and machine."""
        from svdsweep.analysis.strategies import strategies

        return strategies(self._sweep)

    @property
    def front(self) -> "list[Strategy]":
        """The strategies that no other beats in memory, latency and likeness to the baseline's frames."""
        from svdsweep.analysis.strategies import front

        return front(self.strategies)

    def best_for(self, *gib: int) -> "list[Choice]":
        """The fastest strategies that fit cards of so many GiB (those that are sold, without any); none are given where
        no GPU counted its memory."""
        from svdsweep.analysis.strategies import BUDGETS_GIB, best_for

        return best_for(self.strategies, gib or BUDGETS_GIB)

    def strategy_table(self) -> "pd.DataFrame":
        """`strategies` with every ratio, interval and verdict, one line each, as in strategies.csv."""
        from svdsweep.analysis.strategy_table import strategy_table

        return strategy_table(self.strategies)

    def latex(self) -> str:
        """The columns of `strategy_table` that go into a paper, as LaTeX."""
        from svdsweep.analysis.strategy_table import PRINTED, latex

        return latex(self.strategy_table(), PRINTED)

    @property
    def claims(self) -> "list[Claim]":
        """What the documentation of Stable Video Diffusion says, and what these rows say to it."""
        from svdsweep.analysis.documentation import claims

        return claims(self._sweep)

    @property
    def axes(self) -> list[str]:
        """The settings with numbers that were swept."""
        from svdsweep.analysis.responses import swept

        return swept(self._sweep.ok)

    def response(self, axis: str, metric: str) -> "pd.DataFrame":
        """Mean of a metric at each value of an axis, by strategy, with 95 % intervals over images and seeds."""
        from svdsweep.analysis.responses import response

        return response(self._sweep.ok, axis, metric)

    def rises(self, axis: str, metric: str) -> "Estimate":
        """Change of a metric from the lowest to the highest value of an axis under the baseline strategy."""
        from svdsweep.analysis.responses import rises

        return rises(self._sweep, axis, metric)

    @property
    def plots(self) -> "list[Plot]":
        """The plots of the report; `plot.figure` is a matplotlib figure."""
        from svdsweep.report.plots import draw_all

        return draw_all(self._sweep, self.strategies)

    def command(self, key: str) -> str:
        """The command line that makes a job again, whatever the presets say then."""
        from svdsweep.analysis.reproduce import command

        return command(self._sweep.jobs[key])


def open(folder: str | Path) -> Sweep:
    """Open a sweep's folder (`runs/NAME`), also while it runs. Raises UserError when there is none."""
    return Sweep(Path(folder))


def run(settings: Sequence[str], config_dir: str | None = None) -> Sweep:
    """Run a grid, as `svdsweep run` does, and open it: `svdsweep.run(["motion_bucket_id=60,120"])`. What is done is not
    run again. Progress goes to standard error.

    Raises UserError for settings that are wrong or impossible; a job that fails is a row of the sweep."""
    from svdsweep.commands.run import finish
    from svdsweep.grid.expand import expand
    from svdsweep.runner.progress import for_terminal

    grid = expand(settings, config_dir)
    finish(grid, settings, config_dir, for_terminal())
    return Sweep(grid.folder)


def predict(settings: Sequence[str], gpu: str | None = None, config_dir: str | None = None) -> "pd.DataFrame":
    """Peak VRAM of each job of a grid without a GPU or weights, as `svdsweep predict` has it: one line a job with its
    settings, `predicted_vram_gib`, `needed_vram_gib`, `<stage>_peak_gib`, `tflop`, whether it fits cards (`fits 8 GB`:
    yes, tight, no), and with a `gpu` (a name such as `rtx4090`, or `here`) the floors of latency in seconds; `reason`
    where there is no prediction. Seconds a strategy. Raises UserError."""
    import pandas as pd

    from svdsweep.commands.predict import plain
    from svdsweep.grid.expand import expand_without_weights
    from svdsweep.predict.allowance import allowance_for
    from svdsweep.predict.batch import outcomes
    from svdsweep.predict.here import gpu_asked

    card = gpu_asked(gpu) if gpu else None
    grid = expand_without_weights(settings, config_dir)
    predicted = outcomes(grid.jobs)
    allowance = allowance_for(card.title if card else None, grid.folder)
    return pd.DataFrame(
        [_line_of_prediction(plain(job, predicted[job.key], card, allowance)) for job in grid.jobs]
    )


def score(
    frames: "NDArray[np.uint8] | str | Path",
    image: str | Path | None = None,
    metrics: str = "fast",
    decode_chunk_size: int | None = None,
    device: str = "cpu",
    weights_dir: str | Path | None = None,
    at_most: int = 128,
) -> "Measurements":
    """The frame metrics of a clip: `frames` (F, H, W, 3) uint8 RGB, or a video, or a folder of pictures. `image` is the
    picture it was made from, `metrics` is `fast`, `full` (with LPIPS) or `perceptual` (with ST-LPIPS),
    `decode_chunk_size` (frames) looks for seams; of a video the first `at_most` frames are read.

    The result has `values` by column, `series` a frame, and `notes`. Raises UserError for what is no clip."""
    from svdsweep.commands.score import scores_of
    from svdsweep.metrics.shared.files import read

    clip = read(Path(frames), at_most).frames if isinstance(frames, str | Path) else frames
    return scores_of(clip, image, metrics, decode_chunk_size, device, weights_dir)


def _line_of_prediction(facts: dict[str, Any]) -> dict[str, Any]:
    """A job's prediction on one level: the stages' peaks and the cards as columns, without the lists."""
    stages, cards = facts.pop("stages", {}), facts.pop("fits", {})
    peaks = {f"{name}_peak_gib": stage["peak_gib"] for name, stage in stages.items()}
    notes = {"notes": "; ".join(facts.pop("notes", []))}
    return {**facts, **peaks, **{f"fits {card}": word for card, word in cards.items()}, **notes}
