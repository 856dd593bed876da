"""The front door: which verb, and what the process answers with. No torch here."""

import codecs
import errno
import importlib
import io
import sys
from collections.abc import Callable, Sequence

from svdsweep.commands import VERBS
from svdsweep.commands.request import is_for_hydra
from svdsweep.errors import DONE, INTERRUPTED, SOME_FAILED, UserError, nearest
from svdsweep.store.secrets import masked
from svdsweep.terminal import visible

INSTEAD = {
    "≥": ">=", "≤": "<=", "×": "x", "…": "...", "→": "->", "–": "-", "−": "-", "·": "*", "÷": "/", "²": "^2", "µ": "u",
}  # fmt: skip
"""What is printed for characters of ours that an encoding lacks."""
AGAIN = "What is finished is kept; the same command goes on."
CURES = {
    errno.ENOSPC: f"The disk is full: make room, or give another place with runs_dir=FOLDER. {AGAIN}",
    errno.EDQUOT: f"Your quota is used up: make room, or give another place with runs_dir=FOLDER. {AGAIN}",
    errno.EFBIG: f"A limit on the size of files was met (`ulimit -f`). {AGAIN}",
    errno.EROFS: f"It cannot be written to now: mend that, or give another place with runs_dir=FOLDER. {AGAIN}",
    errno.EACCES: "You may not read or write it: change its rights, or give another place.",
    errno.EPERM: "You may not read or write it: change its rights, or give another place.",
    errno.EIO: f"The disk, or the network to it, does not answer as it should. {AGAIN}",
    errno.ENOENT: "It is not there, or no longer.",
    errno.ENAMETOOLONG: "A name of a file or folder has at most 255 bytes, a path some thousand.",
    errno.EMFILE: "Too many files are open (`ulimit -n` tells and raises the limit).",
}
"""What to do about what an operating system refuses, by `errno`."""
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
        say(str(e), *notes_of(e))
        return e.exit_code
    except BrokenPipeError:  # `svdsweep plan … | head`
        sys.stderr.close()
        return DONE
    except OSError as e:
        say(in_words(e))
        return SOME_FAILED
    except KeyboardInterrupt as e:
        say("interrupted; what is finished is kept, the same command goes on.", *notes_of(e))
        return INTERRUPTED


def say(*sentences: str) -> None:
    """Print what ends a command, on standard error."""
    print(visible(masked(" ".join(["svdsweep:", *sentences]))), file=sys.stderr)


def print_what_the_terminal_can() -> None:
    """From now on, print what stands for a character that the terminal's encoding lacks (`>=` for `≥` in Windows'
    cp1252), `?` where nothing does."""
    codecs.register_error("svdsweep", _instead)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="svdsweep")


def _instead(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    missing = error.object[error.start : error.end]
    return "".join(INSTEAD.get(sign, "?") for sign in missing), error.end


def in_words(e: OSError) -> str:
    """What the operating system refused, on what, and what to do."""
    what = f"{e.filename}: {e.strerror}" if e.filename is not None else e.strerror or str(e)
    cure = CURES.get(e.errno or 0, "")
    return " ".join([f"{what}.", *filter(None, [cure]), *notes_of(e)])


def notes_of(e: BaseException) -> list[str]:
    """Sentences that were added to an error on its way."""
    return [str(note) for note in getattr(e, "__notes__", [])]


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
