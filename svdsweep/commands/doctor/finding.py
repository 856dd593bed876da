"""One thing that was looked at, in three states."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`state`: ok; note (something is not there, and that is no fault); trouble (it will go wrong)."""

    name: str
    state: str
    found: str
    cure: str = ""
    value: float | None = None
    """What was measured, in the unit that `found` names."""


def ok(name: str, found: str, value: float | None = None) -> Finding:
    """What is as it should be."""
    return Finding(name, "ok", found, value=value)


def note(name: str, found: str, cure: str = "", value: float | None = None) -> Finding:
    """What is not there, and need not be; `cure` says what it would be good for."""
    return Finding(name, "note", found, cure, value)


def trouble(name: str, found: str, cure: str, value: float | None = None) -> Finding:
    """What will go wrong, and how it is mended."""
    return Finding(name, "trouble", found, cure, value)
