"""One thing that was looked at."""

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
