"""The front door: which verb, which flags, and what the process answers with. No torch here."""

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import svdsweep
from svdsweep.help import VERBS
from svdsweep.schema import UserError, nearest

DONE, SOME_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes. Out of memory and an impossible combination are findings, not failures."""
GRID_VERBS = ("run", "plan")
HYDRAS = (
    "--help",
    "-h",
    "--hydra-help",
    "--cfg",
    "-c",
    "--info",
    "-i",
    "--shell-completion",
    "-sc",
    "--resolve",
)
"""Flags that Hydra answers by itself."""


@dataclass(frozen=True)
class Request:
    """A command line with a grid: settings in Hydra's grammar, and our few flags."""

    settings: list[str]
    json: bool = False
    config_dir: str | None = None
    predict: bool = False
    """`plan` only: simulate what was not predicted yet."""


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        verb, arguments = split_verb(arguments)
        if "--version" in arguments:
            print(f"svdsweep {svdsweep.__version__}")
            return DONE
        if verb not in GRID_VERBS:
            return command(verb)(arguments)
        if any(a.split("=")[0] in HYDRAS for a in arguments):
            return ask_hydra(arguments)
        return grid_command(verb)(request(arguments))
    except UserError as e:
        print(f"svdsweep: {e}", file=sys.stderr)
        return WRONG_INPUT
    except BrokenPipeError:  # `svdsweep plan … | head`
        sys.stderr.close()
        return DONE
    except KeyboardInterrupt:
        print("svdsweep: interrupted; what is finished is kept, the same command goes on.", file=sys.stderr)
        return INTERRUPTED


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
    module = importlib.import_module(f"svdsweep.{verb}")
    main: Callable[[Sequence[str]], int] = module.main
    return main


def grid_command(verb: str) -> Callable[[Request], int]:
    """`run` or `plan`."""
    if verb == "plan":
        from svdsweep.planning import plan

        return plan
    from svdsweep.sweep import run

    return run


def request(arguments: Sequence[str]) -> Request:
    """Our flags and the settings. Raises UserError for a flag that does not exist."""
    settings, json, predict, config_dir = [], False, False, None
    rest = iter(arguments)
    for argument in rest:
        flag, _, value = argument.partition("=")
        if flag == "--json":
            json = True
        elif flag == "--predict":
            predict = True
        elif flag in ("--config-dir", "-cd"):
            config_dir = value or next(rest, None)
            if config_dir is None:
                raise UserError("--config-dir wants a folder that is laid out as conf/.")
        elif flag in ("--multirun", "-m"):
            continue  # lists sweep without it
        elif flag.startswith("-"):
            flags = ("--json", "--config-dir", "--predict", "--help", "--version", *HYDRAS)
            raise UserError(
                f"{flag} is no flag of svdsweep.{nearest(flag, flags)} `svdsweep --help` lists them."
            )
        else:
            settings.append(argument)
    return Request(settings, json, config_dir, predict)


def ask_hydra(arguments: list[str]) -> int:
    """Let Hydra answer --help, --cfg, --info and the like, from our presets and schema."""
    import hydra

    from svdsweep.composition import CONF, configs, register_schema

    with configs() as known:
        swept = [o.input_line for o in known.parse(_settings(arguments)) if o.is_sweep_override()]
    if swept and any(a in ("--cfg", "-c") for a in arguments):
        raise UserError(
            f"--cfg shows one configuration, and {swept[0]} is several; `svdsweep plan` lists them."
        )
    register_schema()
    sys.argv = ["svdsweep", *arguments]
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(lambda _: None)()
    return DONE


def _settings(arguments: Sequence[str]) -> list[str]:
    """The arguments that are settings, without flags and their values."""
    return [a for a in arguments if "=" in a and not a.startswith("-")]
