"""The one parser of flags: unknown ones are refused in a sentence with the nearest name; every verb has `--help`."""

import argparse
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from svdsweep.errors import UserError, nearest
from svdsweep.store.files import there

WIDTH = 78
"""Characters in a line of what `--help` says of a verb."""

HYDRAS = (
    *("--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc"),
    "--resolve",
)


def is_for_hydra(arguments: Sequence[str]) -> bool:
    """Whether a command line with a grid asks for one of `HYDRAS`."""
    return any(a.split("=")[0] in HYDRAS for a in arguments)


class Parser(argparse.ArgumentParser):
    """The flags of a verb. Wrong ones raise UserError."""

    def __init__(self, verb: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=f"svdsweep {verb}",
            description=textwrap.fill(description, WIDTH),
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,  # examples keep their lines
        )

    def add_flag(self, name: str, what: str) -> None:
        """A flag that is given or not."""
        self.add_argument(name, action="store_true", help=what)

    def add_json(self, what: str = "one JSON document on standard output, nothing else there") -> None:
        """`--json`, which every verb with a table has."""
        self.add_flag("--json", what)

    def add_in(self, what: str = "the folder of the sweeps") -> None:
        """`--in`, for verbs that look through many sweeps."""
        self.add_argument(
            "--in",
            dest="folder",
            type=Path,
            default=Path("runs"),
            metavar="DIR",
            help=f"{what} (default: runs)",
        )

    def add_grid(self) -> None:
        """Settings in Hydra's grammar, and where presets of one's own are: what every verb that takes a grid has."""
        self.add_argument(
            "settings", nargs="*", metavar="SETTING=VALUE", help="the grid, as `svdsweep --help` has it"
        )
        self.add_argument("--config-dir", "-cd", metavar="DIR", help="presets of your own, laid out as conf/")
        # lists sweep without --multirun
        self.add_argument("--multirun", "-m", action="store_true", help=argparse.SUPPRESS)

    def asked(self, arguments: Sequence[str]) -> argparse.Namespace:
        """What a command line says; settings and flags may stand in any order, and a file's name may begin as a flag
        does. Raises UserError."""
        flags = {flag for action in self._actions for flag in action.option_strings}
        arguments = [
            os.path.join(".", a) if a.startswith("-") and a.partition("=")[0] not in flags and there(a) else a
            for a in arguments
        ]
        of_any_number = any(action.nargs == "*" and not action.option_strings for action in self._actions)
        parse = self.parse_known_intermixed_args if of_any_number else self.parse_known_args
        asked, unknown = parse(arguments)
        if unknown:
            raise UserError(self._refusal(unknown[0]))
        return asked

    def _refusal(self, argument: str) -> str:
        """What is said to an argument that the verb does not take."""
        if not argument.startswith("-"):
            return f"{argument} is one argument too many for {self.prog}; `{self.prog} --help` tells what it takes."
        flag = argument.partition("=")[0]
        told = [action for action in self._actions if action.help != argparse.SUPPRESS]
        flags = [max(action.option_strings, key=len) for action in told if action.option_strings]
        return f"{flag} is no flag of {self.prog}.{nearest(flag, flags)} They are {', '.join(flags)}."

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found wrong as a UserError, not as an exit with the usage."""
        raise UserError(f"{self.prog}: {message}. `{self.prog} --help` tells what it takes.")
