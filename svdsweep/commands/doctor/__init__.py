"""`svdsweep doctor`: what this machine has and lacks for sweeps, each trouble with its cure."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from svdsweep.commands.doctor.finding import Finding
from svdsweep.commands.request import Parser

SIGNS = {"ok": "ok     ", "note": "note   ", "trouble": "TROUBLE"}


def main(argv: Sequence[str]) -> int:
    """Answer the verb; returns 1 when there is a trouble, else 0."""
    parser = Parser("doctor", "What this machine has and lacks, each trouble with its cure.")
    add = parser.add_argument
    parser.add_flag("--quick", "leave out what takes seconds: the compiler and the device's rates")
    parser.add_flag("--models", "only which models would run now, from which file; at once, without torch")
    add("--runs-dir", type=Path, default=Path("runs"), metavar="DIR", help="where sweeps go (default: runs)")
    parser.add_json()
    asked = parser.asked(argv)
    findings = models() if asked.models else examine(asked.runs_dir, measured=not asked.quick)
    print(json.dumps([*map(dataclasses.asdict, findings)], indent=1) if asked.json else text(findings))
    return 1 if any(f.state == "trouble" for f in findings) else 0


def models() -> list[Finding]:
    """Whether each preset of `conf/model/` would run now, and from which file."""
    from svdsweep.commands.doctor import host

    return host.weights()


def examine(runs_dir: Path, measured: bool = True) -> list[Finding]:
    """Every finding: what a real machine has confirmed, the host's, then each device's."""
    from svdsweep.commands.doctor import confirmed, device, host
    from svdsweep.predict.forecast import kind_of
    from svdsweep.probes.devices import discover

    return [confirmed.here(kind_of(discover("auto"))), *host.examine(runs_dir), *device.examine(measured)]


def text(findings: Sequence[Finding]) -> str:
    """The findings as the terminal shows them: a line each, the cure under its trouble."""
    width = max(len(f.name) for f in findings)
    lines = []
    for f in findings:
        lines.append(f"{SIGNS[f.state]}  {f.name:<{width}}  {f.found}")
        if f.cure:
            lines.append(f"{'':9}{'':<{width}}  → {f.cure}")
    troubles = sum(f.state == "trouble" for f in findings)
    lines += ["", f"{troubles} troubles" if troubles != 1 else "1 trouble"]
    return "\n".join(lines)
