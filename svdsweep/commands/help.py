"""What Hydra answers by itself: the help page, one composed configuration, completion."""

import sys
from collections.abc import Sequence

from svdsweep.commands import VERBS
from svdsweep.errors import DONE, UserError
from svdsweep.grid import help
from svdsweep.grid.presets import CONF, configs, register_schema


def main(arguments: Sequence[str]) -> int:
    """Let Hydra answer, from our presets and schema. Raises UserError for `--cfg` of several configurations."""
    settings = [a for a in arguments if "=" in a and not a.startswith("-")]
    with configs() as presets:
        swept = [o.input_line for o in presets.parse(settings) if o.is_sweep_override()]
    if swept and {"--cfg", "-c"} & {*arguments}:
        several = f"{swept[0]} is several; `svdsweep plan` lists them."
        raise UserError(f"--cfg shows one configuration, and {several}")
    import hydra

    register_schema(help.page(VERBS))
    sys.argv = ["svdsweep", *arguments]
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(lambda _: None)()
    return DONE


def verbs() -> str:
    """The verbs as a Markdown table."""
    return "\n".join(["| verb | |", "|---|---|", *(f"| `{verb}` | {what} |" for verb, what in VERBS.items())])
