"""The front door: which verb, and what the process answers with. No torch here."""

import importlib
import io
import sys
from collections.abc import Callable, Sequence

from svdsweep.commands import VERBS
from svdsweep.commands.request import is_for_hydra
from svdsweep.errors import DONE, INTERRUPTED, WRONG_INPUT, UserError, nearest

GRID_VERBS = ("run", "plan")
"""Verbs whose `--help` is Hydra's page of all settings."""


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    print_what_the_terminal_can()
    try:
        verb, arguments = split_verb(arguments)
        if "--version" in arguments:
            print(versions())
            return DONE
        if verb in GRID_VERBS and is_for_hydra(arguments):
            verb = "help"
        return command(verb)(arguments)
    except UserError as e:
        print(f"svdsweep: {e}", file=sys.stderr)
        return WRONG_INPUT
    except BrokenPipeError:  # `svdsweep plan … | head`
        sys.stderr.close()
        return DONE
    except KeyboardInterrupt:
        print("svdsweep: interrupted; what is finished is kept, the same command goes on.", file=sys.stderr)
        return INTERRUPTED


def print_what_the_terminal_can() -> None:
    """From now on, print `?` for a character that the terminal's encoding lacks (`…` in Latin-1), and go on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def split_verb(arguments: list[str]) -> tuple[str, list[str]]:
    """The verb (`run` unless the first argument is a bare word) and the rest. Raises UserError for an unknown one."""
    if not arguments or arguments[0].startswith(("-", "+", "~")) or "=" in arguments[0]:
        return "run", arguments
    verb = arguments[0]
    if verb not in VERBS:
        raise UserError(
            f"{verb} is neither a verb nor a setting. Verbs are {', '.join(VERBS)}; settings have the form "
            f"key=value.{nearest(verb, VERBS)}"
        )
    return verb, arguments[1:]


def command(verb: str) -> Callable[[Sequence[str]], int]:
    """The `main` of the module that answers a verb; it parses its own arguments."""
    main: Callable[[Sequence[str]], int] = importlib.import_module(f"svdsweep.commands.{verb}").main
    return main


def versions() -> str:
    """svdsweep's version, and those of the libraries that decide what comes out."""
    import platform

    from svdsweep.config.version import __version__, version_of

    libraries = (f"{p} {version_of(p) or 'is not installed'}" for p in ("torch", "diffusers", "transformers"))
    return "\n".join([f"svdsweep {__version__}", f"python {platform.python_version()}", *libraries])
