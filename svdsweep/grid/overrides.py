"""Overrides as Hydra's grammar reads them: whether they are possible, and which values they stand for."""

import math
from collections.abc import Sequence

from hydra.core.override_parser.types import ChoiceSweep, Override, QuotedString, RangeSweep
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from svdsweep import images
from svdsweep.config.rules import unescaped
from svdsweep.errors import UserError, nearest
from svdsweep.grid.presets import Configs, check_key

EXPERIMENT = "experiment"
IMAGE = "image"
JOBS_AT_MOST = 1_000_000


def check(presets: Configs, override: Override) -> None:
    """Raise UserError unless the override names settings, groups and options that exist."""
    key = override.key_or_group
    if override.is_delete():
        raise UserError(f"{override.input_line}: settings cannot be removed; set them to another value.")
    if key == EXPERIMENT and override.is_sweep_override():
        listed = ",".join(elements(override))
        cure = f"to join the grids of presets, write +{EXPERIMENT}=[{listed}]."
        raise UserError(f"{EXPERIMENT}={listed} is not possible: {cure}")
    if key == EXPERIMENT:
        for name in names([override]):
            _check_option(presets.options(EXPERIMENT), EXPERIMENT, name)
        return
    if override.is_add():
        raise UserError(f"{override.input_line}: this setting exists already; leave out the `+`.")
    check_key(key, presets.groups)
    if key in presets.groups:
        options = presets.options(key)
        for value in texts(override):
            if not is_picture(key, value):
                _check_option(options, key, value)


def is_picture(key: str, value: str) -> bool:
    """Whether a choice of a group is a picture's file and no preset."""
    return key == IMAGE and images.is_file_name(value)


def _check_option(options: Sequence[str], group: str, name: str) -> None:
    if name not in options:
        allowed = ", ".join(options) + (". A path, folder or glob works too." if group == IMAGE else ".")
        raise UserError(f"{group}={name}: no such {group}. Allowed is {allowed}{nearest(name, options)}")


def names(experiments: Sequence[Override]) -> list[str]:
    """The names in `+experiment=a` and `+experiment=[a,b]`."""
    values = [o.value() for o in experiments]
    return [str(name) for value in values for name in (value if isinstance(value, list) else [value])]


def elements(override: Override) -> list[str]:
    """The values that a sweep stands for, or the only one."""
    if override.is_discrete_sweep():
        check_count(_length(override))
        try:
            values = list(override.sweep_string_iterator())
        except (HydraException, OmegaConfBaseException, ValueError) as e:
            cure = "A range has a step other than 0 and stands alone, not in a list."
            raise UserError(f"{override.input_line}: that is no list of values. {cure}") from e
        if not values:
            raise UserError(f"{override.input_line}: that holds no value.")
        return values
    if override.is_sweep_override():
        cure = "use range(start,stop,step)."
        raise UserError(f"{override.input_line}: an interval has no list of values; {cure}")
    return [override.get_value_element_as_str()]


def _length(override: Override) -> int:
    """How many values a range has, before they are made; 1 for anything else."""
    value = override.value()
    if not isinstance(value, RangeSweep) or not value.step:
        return 1
    return max(0, math.ceil(((value.stop or 0) - (value.start or 0)) / value.step))


def check_count(jobs: int) -> None:
    """Raise UserError for more jobs than can be listed."""
    if jobs > JOBS_AT_MOST:
        raise UserError(
            f"This grid has {jobs:,} jobs; a sweep may have {JOBS_AT_MOST:,}. Give it fewer values."
        )


def values_of(override: Override) -> list[str]:
    """The values of one axis as typed; of pictures the names of presets and files, a folder's or glob's one by one."""
    if override.key_or_group != IMAGE:
        return elements(override)
    return [file for value in texts(override) for file in images.expand(value)]


def texts(override: Override) -> list[str]:
    """The values as text, without what Hydra's grammar and OmegaConf need around it."""
    typed, value = elements(override), override.value()
    if override.is_sweep_override() and not isinstance(value, ChoiceSweep):
        return typed
    values = value.list if isinstance(value, ChoiceSweep) else [value]
    plain = [v.text if isinstance(v, QuotedString) else v for v in values]
    return [unescaped(v) if isinstance(v, str) else t for v, t in zip(plain, typed, strict=True)]
