"""Picks among 64 seeds of 25 steps against the full sweep, over five pictures and two metrics.

    python tests/performance/pick.py [--sweeps FOLDER] [--pictures sprite_white rocket …]

The full sweep and all seeds at few steps are run once a picture (an hour on two cores; FOLDER keeps them, and it goes
on); each pick then asks for its runs as on any day and gets them from there, so that what it misses is known."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import published

from svdsweep.commands.run import finish
from svdsweep.grid.expand import Grid, expand
from svdsweep.runner.progress import for_terminal
from svdsweep.search.answer import chance_of, cost_of
from svdsweep.search.bounds import aim_of
from svdsweep.search.candidates import candidates_of
from svdsweep.search.ladder import ladder_of
from svdsweep.search.pick import Wish, pick, ranked
from svdsweep.store.rows import Row

PICTURES = ("sprite_white", "sprite_right", "sprite_pair", "rocket", "coffee")
METRICS = {"adj_psnr_db": "higher", "mc_flicker_255": "lower"}
KEEP, BUDGET, FEW = 4, 0.45, 3


def swept(picture: str, folder: Path) -> tuple[Grid, dict[str, Row]]:
    """All 64 seeds of a picture in full, and the rows of those and of the few steps."""
    line = [f"image={picture}", "seed=range(64)", f"runs_dir={folder}", f"name={picture}"]
    line += ["metrics.families=[temporal,motion]", "measure.noise_floor=false"]
    both = [*line, f"num_inference_steps={FEW},25"]
    rows = finish(expand(both), both, None, for_terminal())
    return expand([*line, "num_inference_steps=25"]), rows


def line_of(picture: str, by: str, grid: Grid, rows: dict[str, Row]) -> dict[str, object]:
    """A pick of a picture by a metric: what its pilot says, what it costs, how many of the best it holds."""
    candidates = candidates_of(grid.jobs, KEEP)
    aim = aim_of(by, METRICS[by], candidates.jobs[0])
    choice = pick(
        Wish(candidates, aim, [], KEEP, ladder_of(candidates, KEEP, BUDGET, FEW)), lambda jobs: rows
    )
    whole = pick(
        Wish(candidates, aim, [], KEEP, ladder_of(candidates, KEEP, None, FEW)), lambda jobs: rows, True
    )
    best, a, apart = set(ranked(aim, whole.full)[:KEEP]), choice.agreement, chance_of(choice)
    led = [i for i in ranked(aim, choice.few) if i not in choice.pilot][: choice.wish.ladder.survivors]
    reached = sum(i in best for i in (*choice.pilot, *led))
    return {
        "picture": picture,
        "by": by,
        "all 64: rank correlation": whole.agreement.correlation,
        "pilot of 12": f"{a.correlation:.2f} ({a.low:.2f} to {a.high:.2f})",
        "answer": "nothing pruned" if choice.refused else "picked",
        "of the best 4": None if choice.refused else len(best & set(choice.finalists)),
        "had it pruned": reached,
        "UNet calls, %": f"{100 * cost_of(choice).share:.0f}",
        "finalists' mean": apart.mean if apart else None,
        "random 4": f"{apart.drawn_mean:.4g} ± {apart.drawn_sd:.2g}" if apart else None,
        "best 4 of 28 random": apart.random_best if apart else None,
    }


def main(argv: Sequence[str]) -> None:
    """Print and publish the table."""
    parser: argparse.ArgumentParser = published.options(__doc__)
    parser.add_argument("--sweeps", type=Path, default=Path("runs"))
    parser.add_argument("--pictures", nargs="+", default=PICTURES)
    asked = parser.parse_args(argv)
    lines = []
    for picture in asked.pictures:
        grid, rows = swept(picture, asked.sweeps)
        lines += [line_of(picture, by, grid, rows) for by in METRICS]
    published.publish(
        asked.out,
        "pick",
        "Picks of 4 among 64 seeds",
        "`svdsweep pick` with 64 seeds and num_inference_steps=25 on the embedded model: all seeds at "
        f"{FEW} steps, a pilot of 12 in full, 9 more in full where it allows to prune. `of the best 4`: how many of "
        "the full sweep's best 4 are among the finalists; `had it pruned`: would have been, whatever the pilot says. "
        "Random 4: mean and standard deviation of four seeds drawn at random, as the pick tells them.",
        lines,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
