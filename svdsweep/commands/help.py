"""What Hydra answers by itself: the help page, one composed configuration, completion."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from svdsweep.commands import VERBS
from svdsweep.errors import DONE, UserError
from svdsweep.grid import help
from svdsweep.grid.expand import expand
from svdsweep.grid.paths import as_typed
from svdsweep.grid.presets import CONF, configs, reason_of, register_schema


def main(arguments: Sequence[str]) -> int:
    """Let Hydra answer, from our presets and schema. Raises UserError for `--cfg` of several configurations."""
    arguments = [as_typed(argument) for argument in arguments]
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    asked = parser.parse_args(arguments)
    with configs() as presets:
        swept = [o.input_line for o in presets.parse(asked.overrides) if o.is_sweep_override()]
    if swept and asked.cfg:
        several = f"{swept[0]} is several; `svdsweep plan` lists them."
        raise UserError(f"--cfg shows one configuration, and {several}")
    if asked.cfg:
        expand(asked.overrides, asked.config_dir)  # whose refusals are plainer than Hydra's
    import hydra

    register_schema(help.page(VERBS))
    sys.argv = ["svdsweep", *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else it prints tracebacks and ends the process
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(lambda _: None)()
    except Exception as e:  # whatever Hydra makes of flags that do not go together
        raise UserError(f"{' '.join(arguments)}: {reason_of(e)}") from e
    return DONE


def _refuse(message: str) -> NoReturn:
    raise UserError(f"{message}. `svdsweep --help` tells what there is.")


def verbs() -> str:
    """The verbs as a Markdown table."""
    return "\n".join(["| verb | |", "|---|---|", *(f"| `{verb}` | {what} |" for verb, what in VERBS.items())])
