"""`svdsweep compare`: one sweep against another, regressions first; a gate for CI with `--fail-above`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from svdsweep.commands.request import Parser
from svdsweep.errors import UserError

if TYPE_CHECKING:
    from svdsweep.analysis.versus import Change, Comparison

HEADER = ("strategy", "workload", "pairs", "latency", "verdict", "VRAM", "metrics", "lost", "regressed")


def main(argv: Sequence[str]) -> int:
    """Compare; returns 1 when something got worse by more than `--fail-above`, else 0. Raises UserError."""
    parser = Parser(
        "compare",
        "Compare two sweeps job by job: two GPUs, two versions, two commits. Ratios are second ÷ first.",
    )
    parser.add_argument("first", type=Path, metavar="runs/OLD")
    parser.add_argument("second", type=Path, metavar="runs/NEW")
    parser.add_argument(
        "--fail-above", metavar="10%%", help="exit with 1 when a latency or VRAM peak grew by more"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the comparison as a page")
    parser.add_json()
    asked = parser.asked(argv)
    above = share(asked.fail_above) if asked.fail_above else None

    from svdsweep.analysis.sweep import open_sweep
    from svdsweep.analysis.versus import compare_sweeps

    result = compare_sweeps(open_sweep(asked.first), open_sweep(asked.second))
    if not result.changes:
        raise UserError(
            f"{asked.first} and {asked.second} have no job in common, also when a setting that differs throughout is "
            "left out. Compare sweeps of the same grid."
        )
    failed = [c for c in result.changes if above is not None and c.regressed(above)]
    title = f"{asked.second} against {asked.first}"
    if asked.markdown:
        _write(asked.markdown, markdown(title, result, above))
    if asked.page:
        _write(asked.page, page(title, result, above))
    print(document(result, above) if asked.json else text(title, result, above))
    return 1 if failed else 0


def share(words: str) -> float:
    """`10%` or `0.1` as 0.1. Raises UserError for what is neither."""
    try:
        value = float(words.removesuffix("%")) / (100 if words.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 100:
        raise UserError(f"--fail-above={words} is no share: write 10% or 0.1.")
    return value


def cells(change: "Change", above: float | None) -> list[str]:
    """A line of the table."""
    from svdsweep.report.words import change as ratio
    from svdsweep.report.words import difference, verdict

    told = [
        f"{name} {difference(e)} {e.verdict}"
        for name, e in change.metrics.items()
        if e.verdict in ("better", "worse", "higher", "lower")
    ]
    return [
        change.strategy,
        change.workload,
        str(change.pairs),
        ratio(change.latency),
        verdict(change.latency),
        ratio(change.memory),
        "; ".join(told[:4]) + (f"; {len(told) - 4} more" if len(told) > 4 else "") or "no difference seen",
        f"{change.lost} lost, {change.won} won" if change.lost or change.won else "",
        "; ".join(change.regressed(above if above is not None else 0.0)),
    ]


def text(title: str, result: "Comparison", above: float | None) -> str:
    """For the terminal."""
    from svdsweep.terminal import table

    parts = [title, table(HEADER, [cells(c, above) for c in result.changes], [False] * len(HEADER))]
    parts += [f"{name}: {one} → {two}" for name, (one, two) in result.differing.items()]
    if result.only_first or result.only_second:
        parts.append(
            f"without a partner: {result.only_first} of the first, {result.only_second} of the second"
        )
    return "\n".join(parts)


def markdown(title: str, result: "Comparison", above: float | None) -> str:
    """For a pull request."""
    from svdsweep.report.markdown import cell, table

    parts = [f"# {cell(title)}", table(HEADER, [cells(c, above) for c in result.changes])]
    if result.differing:
        lines = [[name, one, two] for name, (one, two) in result.differing.items()]
        parts.append(table(["differs", "first", "second"], lines))
    parts.append(f"Without a partner: {result.only_first} of the first, {result.only_second} of the second.")
    return "\n\n".join(parts) + "\n"


def page(title: str, result: "Comparison", above: float | None) -> str:
    """As HTML, self-contained."""
    from svdsweep.report.render import document as render

    return render(
        "compare.html.jinja",
        title=title,
        header=HEADER,
        lines=[(cells(c, above), bool(c.regressed(above or 0.0))) for c in result.changes],
        result=result,
        above=above,
    )


def document(result: "Comparison", above: float | None) -> str:
    """As JSON."""
    import dataclasses

    lines = [
        {**dataclasses.asdict(c), "regressed": c.regressed(above if above is not None else 0.0)}
        for c in result.changes
    ]
    return json.dumps(
        {
            "changes": lines,
            "differing": result.differing,
            "only_first": result.only_first,
            "only_second": result.only_second,
        },
        indent=1,
    )


def _write(path: Path, content: str) -> None:
    from svdsweep.store.files import renamed_when_done

    try:
        with renamed_when_done(path) as part:
            part.write_text(content, encoding="utf-8")
    except OSError as e:
        raise UserError(f"{path} cannot be written ({e.strerror}).") from e
