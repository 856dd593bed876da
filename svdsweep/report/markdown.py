"""`report.md`: the same answers for a pull request, with plots as PNG files beside it."""

from collections.abc import Sequence

from svdsweep.analysis.strategies import Choice
from svdsweep.report import pick
from svdsweep.report.drawing import Plot
from svdsweep.report.page import Page, settings_line
from svdsweep.report.prediction import cells
from svdsweep.report.words import change, difference, shown, verdict


def text(page: Page) -> str:
    """The document; text from configs cannot become markup."""
    parts = [
        f"# {cell(page.sweep.name)}",
        *filter(None, [cell(page.sweep.remark)]),
        " ".join(cell(f"{a.sentence} {a.least}") for a in page.answer),
        f"{', '.join(f'{n} {status}' for status, n in page.counts.items()) or 'no rows'}. Written {page.written_at} by "
        f"svdsweep {page.version}.",
    ]
    if page.said:
        parts.append("\n".join(f"* {cell(s)}" for s in page.said))
    parts += _pick(page)
    if page.strategies:
        parts += ["## Strategies", _strategies(page)]
    if page.budgets:
        parts += ["## Best for a card", *(_budgets(name, choices) for name, choices in page.budgets)]
    parts += ["## What the documentation says", _claims(page)]
    parts += [f"## {plot.title}\n\n{_picture(plot)}" for plot in page.plots]
    parts += _prediction(page)
    if section := page.over_time:
        parts += [f"## {section.plot.title}", _picture(section.plot), table(section.header, section.lines)]
    if page.failures:
        parts += ["## What did not end well", _failures(page)]
    parts += ["## Environment", table(["", ""], [[n, ", ".join(v)] for n, v in page.environment])]
    parts += ["## Again", f"```sh\n{settings_line(page.sweep)}\n```"]
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, every cell escaped."""
    rows = [[cell(c) for c in row] for row in (header, *lines)]
    rows.insert(1, ["---"] * len(header))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def cell(text: str) -> str:
    """Text on one line, without anything that Markdown or HTML would take for markup."""
    plain = " ".join(str(text).split())
    for sign in "\\|`*_[]":
        plain = plain.replace(sign, f"\\{sign}")
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _strategies(page: Page) -> str:
    several = len({(s.workload, s.machine) for s in page.strategies}) > 1
    metrics = [column.name for column in page.headline]
    header = ["strategy", "jobs", "latency (s)", "memory (GiB)", "latency ÷ baseline", ""]
    header += ["memory ÷ baseline", "frames"]
    lines = [
        [
            f"{s.name} ({s.workload}, {s.machine})" if several else s.name,
            ", ".join(f"{n} {status}" for status, n in s.statuses.items()),
            shown(s.total_s),
            shown(s.memory_gib),
            change(s.latency),
            verdict(s.latency),
            change(s.memory),
            s.equality or "–",
            *(difference(s.metrics[name]) if name in s.metrics else "–" for name in metrics),
            "front" if s in page.front else "",
        ]
        for s in page.strategies
    ]
    return table([*header, *(f"Δ {name}" for name in metrics), "best"], lines)


def _budgets(name: str, choices: Sequence[Choice]) -> str:
    lines = []
    for c in choices:
        best = [f"{s.name}, {shown(s.total_s)} s" if s else "none" for s in (c.fastest, c.faithful)]
        lines.append([f"{c.gib} GiB", *best])
    return f"{cell(name)}\n\n" + table(["card", "fastest", "fastest that keeps the frames"], lines)


def _prediction(page: Page) -> list[str]:
    section = page.prediction
    if section is None:
        return []
    parts = ["## Prediction against measurement", "\n".join(f"* {cell(s)}" for s in section.said)]
    if section.plot:
        parts.append(f"Measured ÷ predicted allocated peak, medians.\n\n{table(*cells(section))}")
        parts.append(_picture(section.plot))
    return parts


def _pick(page: Page) -> list[str]:
    section = page.pick
    if section is None:
        return []
    parts = [f"## Pick by {cell(section.pick.by)}", *map(cell, section.pick.answer)]
    parts += [table(*pick.cells(section))] if section.finalists else []
    return [*parts, *([_picture(section.plot)] if section.plot else [])]


def _picture(plot: Plot) -> str:
    return f"![{cell(plot.title)}](plots/{plot.name}.png)\n\n{cell(plot.caption)}"


def _claims(page: Page) -> str:
    lines = [[c.text, c.verdict, c.measured or "–", c.interval or "–", c.why] for c in page.claims]
    return table(["claim", "verdict", "measured", "interval", "rests on"], lines)


def _failures(page: Page) -> str:
    lines = [
        [f.status, f.phase, f.error[:300], ", ".join(f.keys[:4]) + (" …" if len(f.keys) > 4 else "")]
        for f in page.failures
    ]
    return table(["status", "in", "reason", "jobs"], lines)
