"""Hydra behind one door: where configs are found, what keys and options exist, one composition at a time."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from hydra import compose
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from svdsweep.config import Config
from svdsweep.config.rules import rules
from svdsweep.errors import UserError, nearest

PACKAGE = Path(__file__).resolve().parents[1]
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"
"""In a wheel the presets lie inside the package, in a checkout beside it."""
MAIN = "config"
NUMBERS = {"int": "a whole number", "float": "a number", "bool": "true or false"}


@dataclasses.dataclass(frozen=True)
class Known:
    """What was asked of some presets: to compose them takes Hydra a tenth of a second."""

    composed: dict[tuple[str, ...], DictConfig] = dataclasses.field(default_factory=dict)
    listed: dict[str, list[str]] = dataclasses.field(default_factory=dict)


PACKAGED = Known()
"""Of the package's own presets, which stay what they are while a process lives."""


@contextmanager
def configs(config_dir: str | None = None) -> Iterator["Configs"]:
    """The presets of the package, and those of a user's `config_dir` before them. Raises UserError."""
    register_schema()
    path = create_config_search_path(str(CONF))
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise UserError(f"--config-dir {config_dir}: there is no such folder.")
        path.prepend("command-line", f"file://{Path(config_dir).resolve()}")
    GlobalHydra.instance().clear()
    Hydra.create_main_hydra2(task_name="svdsweep", config_search_path=path)
    try:
        yield Configs(GlobalHydra.instance().config_loader(), PACKAGED if config_dir is None else Known())
    finally:
        GlobalHydra.instance().clear()


@dataclasses.dataclass(frozen=True)
class Configs:
    """What can be composed."""

    loader: ConfigLoader
    known: Known

    @property
    def groups(self) -> list[str]:
        """Names of the config groups: image, memory, model …"""
        if "" not in self.known.listed:
            self.known.listed[""] = [g for g in self.loader.list_groups("") if g != "hydra"]
        return self.known.listed[""]

    def options(self, group: str) -> list[str]:
        """The options of a group, sorted; empty when there is no such group."""
        if group not in self.known.listed:
            self.known.listed[group] = sorted(self.loader.get_group_options(group))
        return self.known.listed[group]

    def parse(self, arguments: Sequence[str]) -> list[Override]:
        """Arguments in Hydra's grammar. Raises UserError naming the one that cannot be read."""
        overrides = []
        for argument in arguments:
            try:
                overrides += self._parser.parse_overrides([argument])
            except HydraException as e:
                reason = (
                    str(e).splitlines()[0].partition(" expecting ")[0]
                    if "=" in argument
                    else "that is no setting"
                )
                form = "Settings have the form key=value, lists are a=1,2,3"
                unlike = "values with blanks, brackets or umlauts stand in quotes, key=\"'a b'\""
                raise UserError(f"{argument}: {reason}. {form}; {unlike}.") from e
        return overrides

    @functools.cached_property
    def _parser(self) -> OverridesParser:
        return OverridesParser.create(config_loader=self.loader)

    def compose(self, arguments: Sequence[str], with_hydra: bool = False) -> DictConfig:
        """One composed configuration, of which others are given the same: who changes it copies it first. Raises
        UserError with Hydra's reason."""
        asked = (str(with_hydra), *arguments)
        try:
            if asked not in self.known.composed:
                self.known.composed[asked] = compose(MAIN, list(arguments), return_hydra_config=with_hydra)
        except (HydraException, OmegaConfBaseException) as e:
            raise UserError(reason_of(e)) from e
        return self.known.composed[asked]


@functools.cache
def register_schema(help_page: str = "") -> None:
    """Tell Hydra the schema, and what `--help` prints, which is wanted only where that is asked."""
    store = ConfigStore.instance()
    # Hydra copies all that it reads from before each composition, this too, which is the only one of its kind and hands
    # out copies itself: 12 of a composition's 100 ms, and 8 of the 10 ms that it takes to list a group
    store.__deepcopy__ = lambda _: store  # type: ignore[attr-defined]
    store.store(name="schema", node=_writable(OmegaConf.structured(Config)))
    store.store(group="hydra/help", name="svdsweep", node={"app_name": "svdsweep", "template": help_page})


def _writable(node: DictConfig) -> DictConfig:
    """Frozen dataclasses come as read-only nodes; presets must be able to write into the copies."""
    OmegaConf.set_readonly(node, None)
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            _writable(child)
    return node


def check_key(key: str, groups: Sequence[str]) -> None:
    """Raise UserError, with the nearest name, unless `key` is a setting or a config group."""
    settings = [*rules(Config), *groups]
    if key in settings or key.startswith("hydra."):
        return
    raise UserError(
        f"{key} is no setting of svdsweep.{nearest(key, settings)} The most used are motion_bucket_id, seed, "
        "noise_aug_strength, fps, num_frames, decode_chunk_size, memory, model and image; `svdsweep --help` lists all."
    )


def converted(cfg: DictConfig, key: str, value: Any) -> Any:
    """`value` as the schema's type at `key` has it. Raises UserError when it cannot be one."""
    try:
        OmegaConf.update(cfg, key, value)
        node = OmegaConf.select(cfg, key)
    except OmegaConfBaseException as e:
        if key not in (settings := rules(Config)):
            raise UserError(reason_of(e)) from e
        rule, field = settings[key]
        wanted = next((text for word, text in NUMBERS.items() if word in str(field.type)), "text")
        reason = f"allowed is {wanted}{f' ({rule.allowed})' if rule.allowed else ''}"
        raise UserError(f"{key}={value} is not possible: {reason}. {rule.help}") from e
    return OmegaConf.to_container(node) if OmegaConf.is_config(node) else cast(Any, node)


def reason_of(e: Exception) -> str:
    """Hydra's own words without what only its authors need."""
    lines = [line.strip() for line in str(e).splitlines() if line.strip()]
    inner = ("full_key", "object_type", "reference_type")
    return " ".join(line for line in lines if not line.startswith(inner))
