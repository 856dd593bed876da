"""What ends a command: the user's errors, in words that say what to do, and exit codes."""

import difflib
from collections.abc import Iterable, Sequence

DONE, SOME_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes. Out of memory and an impossible combination are findings, not failures."""


class UserError(Exception):
    """Something the user asked for cannot be done; the message is one paragraph for the terminal."""

    exit_code = WRONG_INPUT


class Stopped(UserError):
    """A sweep ended before its time by no fault of what was asked for; the same command goes on."""

    exit_code = SOME_FAILED


def nearest(name: str, names: Iterable[str]) -> str:
    """` Did you mean x?` for the closest of `names`, or nothing."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""


def some(names: Sequence[str], at_most: int, separator: str = ",") -> str:
    """The first of many names in a sentence, and how many more there are: `a, b and 3 more`, `a; b; and 3 more`."""
    more = len(names) - at_most
    last = f"{separator.strip(',')} and {more} more" if more > 0 else ""
    return f"{separator} ".join(names[:at_most]) + last
