"""`svdsweep compare`: one sweep against another, regressions first; a gate for CI with `--fail-above`."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from svdsweep.commands.request import Parser
from svdsweep.errors import DONE, SOME_FAILED, UserError, some
from svdsweep.store.files import write_asked
from svdsweep.terminal import visible, warn

if TYPE_CHECKING:
    from svdsweep.analysis.versus import Change, Comparison

HEADER = ("strategy", "workload", "pairs", "latency", "verdict", "VRAM", "metrics", "lost", "regressed")


def main(argv: Sequence[str]) -> int:
    """Answer the verb; returns 1 when something got worse by more than `--fail-above`, else 0. Raises UserError."""
    about = "Compare two sweeps job by job: two GPUs, two versions, two commits. Ratios are second ÷ first."
    parser = Parser("compare", about)
    add = parser.add_argument
    add("first", type=Path, metavar="runs/OLD", help="what is compared with")
    add("second", type=Path, metavar="runs/NEW", help="what is compared")
    add("--fail-above", type=share, metavar="SHARE", help="exit with 1 if latency or VRAM grew by more: 10%%")
    add("--markdown", type=Path, metavar="FILE", help="write the table as Markdown")
    add("--page", type=Path, metavar="FILE", help="write the comparison as a page")
    parser.add_json()
    asked = parser.asked(argv)
    above = asked.fail_above

    from svdsweep.analysis.sweep import open_sweep
    from svdsweep.analysis.versus import compare_sweeps

    sweeps = open_sweep(asked.first), open_sweep(asked.second)
    for sweep in sweeps:
        warn(sweep.folder, sweep.faults)
    result = compare_sweeps(*sweeps)
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
