"""`svdsweep compare`: one sweep against another, regressions first, or many by their dates; a gate for CI."""

import dataclasses
import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from svdsweep.commands.request import Parser
from svdsweep.errors import DONE, SOME_FAILED, UserError, some
from svdsweep.store.files import write_asked
from svdsweep.terminal import visible, warn

if TYPE_CHECKING:
    from svdsweep.analysis.sweep import Sweep
    from svdsweep.analysis.versus import Change, Comparison

HEADER = ("strategy", "workload", "pairs", "latency", "verdict", "VRAM", "metrics", "lost", "regressed")


def main(argv: Sequence[str]) -> int:
    """Answer the verb; returns 1 when something got worse by more than `--fail-above`, else 0. Raises UserError."""
    about = (
        "Compare two sweeps job by job: two GPUs, two versions, two commits. Ratios are second ÷ first. "
        "--trend: many sweeps by their dates, each against the one before on the same machine."
    )
    parser = Parser("compare", about)
    add = parser.add_argument
    add("first", type=Path, metavar="runs/OLD", help="what is compared with")
    add("second", type=Path, metavar="runs/NEW", help="what is compared")
    add("more", type=Path, metavar="runs/NEWER", nargs="*", help="more sweeps, with --trend")
    parser.add_flag("--trend", "each strategy over all these sweeps, as table, plot and page; in any order")
    add("--strategy", metavar="A,B", help="these strategies only")
    gate = "exit with 1 if latency or VRAM grew by more, in the newest sweep of a trend: 10%%"
    add("--fail-above", type=share, metavar="SHARE", help=gate)
    add("--markdown", type=Path, metavar="FILE", help="write the table as Markdown")
    add("--page", type=Path, metavar="FILE", help="write the comparison as a page")
    parser.add_json()
    asked = parser.asked(argv)
    if asked.more and not asked.trend:
        raise UserError(
            f"{asked.more[0]} is one argument too many for svdsweep compare, which sets one sweep against another; "
            "with --trend it takes many."
        )

    from svdsweep.analysis.sweep import open_sweep

    sweeps = [open_sweep(folder) for folder in (asked.first, asked.second, *asked.more)]
    for sweep in sweeps:
        warn(sweep.folder, sweep.faults)
    strategies = asked.strategy.split(",") if asked.strategy else []
    return (_trend if asked.trend else _pair)(asked, sweeps, strategies)


def _pair(asked: Namespace, sweeps: Sequence["Sweep"], strategies: Sequence[str]) -> int:
    """One sweep against another."""
    from svdsweep.analysis.versus import compare_sweeps

    above = asked.fail_above
    result = compare_sweeps(sweeps[0], sweeps[1], strategies)
    if not result.changes:
        raise UserError(
            f"{asked.first} and {asked.second} have no job in common, also when a setting that differs throughout is "
            "left out. Compare sweeps of the same grid."
        )
    title = f"{asked.second} against {asked.first}"
    if asked.markdown:
        write_asked(asked.markdown, markdown(title, result, above or 0.0))
    if asked.page:
        write_asked(asked.page, page(title, result, above))
    print(document(result, above or 0.0) if asked.json else visible(text(title, result, above or 0.0)))
    failed = above is not None and any(change.regressed(above) for change in result.changes)
    return SOME_FAILED if failed else DONE


def _trend(asked: Namespace, sweeps: Sequence["Sweep"], strategies: Sequence[str]) -> int:
    """Many sweeps by their dates."""
    from svdsweep.analysis.trend import trends
    from svdsweep.report import trend

    above = asked.fail_above
    found = trends(sweeps, strategies)
    if not found:
        raise UserError(f"There is no row in {', '.join(str(sweep.folder) for sweep in sweeps)}.")
    if asked.markdown:
        write_asked(asked.markdown, trend.markdown(found))
    if asked.page:
        write_asked(asked.page, trend.page(found, above))
    plain = {"strategies": [dataclasses.asdict(one) for one in found]}
    print(json.dumps(plain, indent=1) if asked.json else visible(trend.text(found)))
    if above is None:
        return DONE
    newest = max(found, key=lambda one: one.points[-1].started_at).points[-1].sweep
    last = [one.points[-1] for one in found if one.points[-1].sweep == newest]
    regressed = any(point.change and point.change.regressed(above) for point in last)
    return SOME_FAILED if regressed else DONE


def share(words: str) -> float:
    """`10%` or `0.1` as 0.1. Raises UserError for what is neither."""
    try:
        value = float(words.removesuffix("%")) / (100 if words.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 100:
        raise UserError(f"--fail-above={words} is no share: write 10% or 0.1.")
    return value


def cells(change: "Change", above: float) -> list[str]:
    """A line of the table; regressions are told from a share `above` on."""
    from svdsweep.report import words

    told = [
        f"{name} {words.difference(e)} {e.verdict}"
        for name, e in change.metrics.items()
        if e.verdict in ("better", "worse", "higher", "lower")
    ]
    return [
        change.strategy,
        change.workload,
        str(change.pairs),
        words.change(change.latency),
        words.verdict(change.latency),
        words.change(change.memory),
        some(told, 4, ";") or "no difference seen",
        f"{change.lost} lost, {change.won} won" if change.lost or change.won else "",
        "; ".join(change.regressed(above)),
    ]


def text(title: str, result: "Comparison", above: float) -> str:
    """The comparison as the terminal shows it: the table, what differs, what has no partner."""
    from svdsweep.terminal import table

    parts = [title, table(HEADER, [cells(c, above) for c in result.changes], [False] * len(HEADER))]
    parts += [f"{name}: {one} → {two}" for name, (one, two) in result.differing.items()]
    if result.only_first or result.only_second:
        parts.append(
            f"without a partner: {result.only_first} of the first, {result.only_second} of the second"
        )
    return "\n".join(parts)


def markdown(title: str, result: "Comparison", above: float) -> str:
    """The comparison as Markdown, which a pull request can show."""
    from svdsweep.report.markdown import cell, table

    parts = [f"# {cell(title)}", table(HEADER, [cells(c, above) for c in result.changes])]
    if result.differing:
        lines = [[name, one, two] for name, (one, two) in result.differing.items()]
        parts.append(table(["differs", "first", "second"], lines))
    parts.append(f"Without a partner: {result.only_first} of the first, {result.only_second} of the second.")
    return "\n\n".join(parts) + "\n"


def page(title: str, result: "Comparison", above: float | None) -> str:
    """The comparison as one HTML file; it tells the gate where there is one."""
    from svdsweep.report.render import document as render

    lines = [(cells(c, above or 0.0), bool(c.regressed(above or 0.0))) for c in result.changes]
    return render("compare.html.jinja", title=title, header=HEADER, lines=lines, result=result, above=above)


def document(result: "Comparison", above: float) -> str:
    """The comparison as JSON; units are those of the columns."""
    facts = dataclasses.asdict(result)
    for plain, change in zip(facts["changes"], result.changes, strict=True):
        plain["regressed"] = change.regressed(above)
    return json.dumps(facts, indent=1)
