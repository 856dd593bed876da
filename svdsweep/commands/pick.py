"""`svdsweep pick`: the best few of many seeds by a metric, most judged at few steps, where a pilot allows it."""

import dataclasses
import json
import shlex
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from svdsweep import terminal
from svdsweep.commands.request import Parser
from svdsweep.commands.run import begin, execute, ready, say, warn, write_outcome, written_anyway
from svdsweep.config import Job
from svdsweep.config.keys import digest
from svdsweep.errors import DONE, SOME_FAILED, Stopped, UserError
from svdsweep.grid.expand import Grid, expand, expand_without_weights
from svdsweep.memory.conflicts import why_not
from svdsweep.metrics import CATALOGUE
from svdsweep.predict.forecast import kind_of
from svdsweep.predict.here import gpu_asked
from svdsweep.probes.devices import discover
from svdsweep.runner.pending import pending
from svdsweep.runner.progress import for_terminal
from svdsweep.search.answer import document, fates, record, sentences
from svdsweep.search.bounds import DIRECTIONS, aim_of, bound_of, value_of
from svdsweep.search.candidates import candidates_of
from svdsweep.search.ladder import ladder_of
from svdsweep.search.pick import Choice, Wish, pick, ranked
from svdsweep.search.plan import document_of_plan, text_of_plan
from svdsweep.store.pick import write_pick
from svdsweep.store.rows import Row, Store
from svdsweep.terminal import cell, table

ABOUT = """\
The best few of many seeds by a metric, for a part of what it costs to run them all: every seed at few steps, a pilot
that also runs in full and says whether few steps rank the seeds as all steps do, then the most promising in full. Where
they do not, nothing is pruned, and the command for the full sweep is told. Any metric bounds the choice: its name with
dashes, and LOW..HIGH, LOW.. or ..HIGH. The same command goes on where it ended."""
EXAMPLES = """\
examples
  svdsweep pick "seed=range(64)" --by adj_psnr_db --prefer higher
  svdsweep pick "seed=range(64)" num_inference_steps=25 image=me.jpg --by mc_flicker_255 --motion-px 1..3 --keep 4
  svdsweep pick "seed=range(32)" num_inference_steps=25 --by motion_px --prefer higher --adj-psnr-db 30..
  svdsweep pick "seed=range(64)" model=svd_xt model.weights=random --by mc_flicker_255 --plan
"""
KEEP, BUDGET_PCT = 4, 45.0
ANY_COLUMN = "--METRIC"
"""How help shows a bound."""


def main(argv: Sequence[str]) -> int:
    """Answer `svdsweep pick …`; the exit code. Raises UserError and KeyboardInterrupt."""
    p = parser()
    rest, bounds = bounds_in(argv, p)
    asked = p.asked(rest)
    grid = grid_of(asked)
    wish = wish_of(asked, bounds, grid)
    warn(grid)
    if asked.plan:
        plan = document_of_plan(wish, grid, asked.gpu)
        print(json.dumps(plan, indent=1) if asked.json else text_of_plan(plan))
        return DONE
    line = [a for a in argv if a != "--json"]
    again = shlex.join(["svdsweep", "pick", *(a for a in line if a != "--full"), "--full"])
    return answer(wish, grid, line, asked, again)


def parser() -> Parser:
    """The flags of the verb, but for bounds, whose names are those of columns."""
    p = Parser("pick", ABOUT, EXAMPLES)
    p.add_grid()
    p.add_argument("--by", metavar="METRIC", help="the column to pick by; needed")
    about_prefer = "which end of it is better, where the metric does not say"
    p.add_argument("--prefer", choices=DIRECTIONS, help=about_prefer)
    p.add_argument(
        "--keep",
        type=partial(_whole, "--keep", "finalists"),
        default=KEEP,
        metavar="N",
        help=f"finalists (default: {KEEP})",
    )
    about_budget = f"UNet calls in percent of the full sweep's (default: {BUDGET_PCT:g})"
    p.add_argument("--budget", type=_budget, default=BUDGET_PCT / 100, metavar="PERCENT", help=about_budget)
    about_few = "steps of the first stage (default: an eighth of all)"
    p.add_argument(
        "--few", type=partial(_whole, "--few", "steps of the first stage"), metavar="STEPS", help=about_few
    )
    p.add_argument(ANY_COLUMN, metavar="LOW..HIGH", help="a bound on another column, as in --motion-px 1..3")
    p.add_flag("--full", "run all of them in full, prune nothing; what ran already counts")
    p.add_flag("--plan", "tell the stages with their UNet calls, VRAM and floor of latency; run nothing")
    about_gpu = (
        "with --plan: the GPU of that floor, as in predict (default: a published one that is large enough)"
    )
    p.add_argument("--gpu", type=gpu_asked, metavar="NAME", help=about_gpu)
    p.add_json()
    return p


def bounds_in(argv: Sequence[str], p: Parser) -> tuple[list[str], list[tuple[str, str | None]]]:
    """The command line without its bounds, and those: what looks as a flag, is none of the
    parser's, and has a value or the name of a column."""
    flags = {flag for action in p._actions for flag in action.option_strings} - {ANY_COLUMN}
    rest: list[str] = []
    bounds: list[tuple[str, str | None]] = []
    arguments = list(argv)
    while arguments:
        flag, equals, value = (argument := arguments.pop(0)).partition("=")
        if not flag.startswith("--") or flag in flags:
            rest.append(argument)
        elif equals:
            bounds.append((flag, value))
        elif arguments and _may_bound(arguments[0]):
            bounds.append((flag, arguments.pop(0)))
        elif flag.removeprefix("--").replace("-", "_") in CATALOGUE:
            bounds.append((flag, None))
        else:
            rest.append(argument)
    return rest, bounds


def _may_bound(argument: str) -> bool:
    """Whether an argument may be what stands behind a bound's name: neither a flag nor a setting."""
    return "=" not in argument and not argument.startswith("--")


def _whole(flag: str, what: str, text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 10_000:
        raise UserError(f"{flag} {text} is not possible: it is the number of {what}, from 1.")
    return int(text)


def _budget(text: str) -> float:
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = 0.0
    if not 0 < percent <= 100:
        raise UserError(
            f"--budget {text} is not possible: it is a share of the full sweep's UNet calls, as in 45 (%)."
        )
    return percent / 100


def grid_of(asked: Namespace) -> Grid:
    """The candidates in full, in a folder named after them unless it has a name. Raises UserError."""
    if asked.by is None:
        raise UserError(
            'pick wants the metric to pick by: `svdsweep pick "seed=range(64)" --by mc_flicker_255`.'
        )
    grid = (expand_without_weights if asked.plan else expand)(asked.settings, asked.config_dir)
    name = f"pick-{digest(sorted(job.key for job in grid.jobs))[:8]}"
    return dataclasses.replace(grid, given_name=grid.given_name or name)


def wish_of(asked: Namespace, bounds: Sequence[tuple[str, str | None]], grid: Grid) -> Wish:
    """What is picked. Raises UserError for what cannot be, also for jobs that are impossible on this machine."""
    first = grid.jobs[0]
    aim = aim_of(asked.by, asked.prefer, first)
    limits = [bound_of(flag, text, first) for flag, text in bounds]
    candidates = candidates_of(grid.jobs, asked.keep)
    ladder = ladder_of(candidates, asked.keep, None if asked.full else asked.budget, asked.few)
    kind = "cuda" if asked.plan else kind_of(discover(grid.runner.devices))
    for steps in (candidates.steps, ladder.few):
        if reason := why_not(candidates.at(steps)[0], kind):
            raise UserError(f"At {steps} steps these jobs are not possible here: {reason}")
    return Wish(candidates, aim, limits, asked.keep, ladder)


def answer(wish: Wish, grid: Grid, line: Sequence[str], asked: Namespace, again: str) -> int:
    """Run the stages, write what came of them, print it; returns the exit code."""
    store = Store(grid.folder)
    run = stages(grid, store, ["pick", *line], asked.config_dir)
    with written_anyway(grid.folder, store):
        choice = pick(wish, run, asked.full)
        write_pick(grid.folder, record(choice, again))
    write_outcome(grid.folder, store)
    if asked.json:
        print(
            json.dumps({"name": grid.name, "folder": str(grid.folder), **document(choice, again)}, indent=1)
        )
    else:
        print(text(choice, grid, again))
    return DONE if all(row.final for row in ran_in(choice)) else SOME_FAILED


def ran_in(choice: Choice) -> list[Row]:
    """The rows that the choice rests on."""
    return [row for row in (*choice.few, *choice.full) if row]


def stages(
    grid: Grid, store: Store, settings: Sequence[str], config_dir: str | None
) -> Callable[[Sequence[Job]], Mapping[str, Row]]:
    """What runs the jobs of a stage: each once in this process, and none that has its row already."""
    so_far: dict[str, Job] = {}

    def run(jobs: Sequence[Job]) -> Mapping[str, Row]:
        rows = store.rows()
        terminal.warn(grid.folder, store.faults)
        todo = pending([job for job in jobs if job.key not in so_far], rows, grid.runner)
        so_far.update({job.key: job for job in jobs})
        if todo:
            whole = dataclasses.replace(grid, jobs=list(so_far.values()))
            begin(whole, store, settings, config_dir)
            say(f"{grid.folder}: {len(jobs)} jobs of this stage, {len(todo)} to do")
            execute(ready(todo, whole, store), whole, store, for_terminal())
            rows = store.rows()
        if missing := sum(job.key not in rows for job in jobs):
            raise Stopped(
                f"{missing} jobs of this stage were not run, for the runner stopped. The same command goes on."
            )
        return rows

    return run


def text(choice: Choice, grid: Grid, again: str) -> str:
    """The finalists, what the choice rests on, what was left out where, and where to look next."""
    wish, name = choice.wish, choice.wish.aim.column.name
    columns = [name, *(b.column for b in wish.bounds if b.column != name)]
    lines = []
    for place, i in enumerate(choice.finalists, 1):
        row = choice.full[i]
        assert row is not None
        values = [cell(value_of(row, column)) for column in columns]
        lines.append([str(place), wish.candidates.names[i], row.key, *values, _video(grid, row)])
    header = ["", "finalist", "job", *columns, "video"]
    blocks = (
        [table(header, lines, [True, False, False, *(True for _ in columns), False]), ""] if lines else []
    )
    blocks += sentences(choice, again)
    blocks += ["", _left_out(choice), terminal.counts(ran_in(choice))]
    if why := terminal.troubles(ran_in(choice)):
        blocks.append(why)
    blocks.append(f"report   {grid.folder / 'report.html'}")
    return "\n".join(blocks)


def _video(grid: Grid, row: Row) -> str:
    video = row.values.get("video")
    return str(grid.folder / str(video)) if video else "-"


def _left_out(choice: Choice) -> str:
    """What was left out in full, with why; of the rest, how many."""
    wish, told = choice.wish, fates(choice)
    in_full = [i for i in ranked(wish.aim, choice.full) if told[i]]
    rest = sum(1 for i, row in enumerate(choice.full) if row is None)
    few = f"{rest} left out at {wish.ladder.few} steps (all in pick.json and on the page)" if rest else ""
    if choice.refused:
        return f"{rest} have run at {wish.ladder.few} steps only."
    named = [f"{wish.candidates.names[i]} ({told[i]})" for i in in_full[:6]]
    more = [f"{len(in_full) - 6} more in full"] if len(in_full) > 6 else []
    return "Left out: " + "; ".join([*named, *more, *filter(None, [few])]) + "."
