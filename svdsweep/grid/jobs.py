"""From a point of the grid to its job: composed once a choice of groups, plain values set on copies."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from svdsweep import images
from svdsweep.config import Config, Image, Job
from svdsweep.config.job import AUTO
from svdsweep.config.rules import literal, rules
from svdsweep.errors import UserError
from svdsweep.grid.overrides import IMAGE, is_picture
from svdsweep.grid.pictures import auto_size
from svdsweep.grid.presets import Configs, converted, reason_of
from svdsweep.models.decoders.locate import TEMPORAL, with_decoder
from svdsweep.models.locate import resolve
from svdsweep.store.files import absolute

DECODER = "model.decoder"
NOT_IN_BASELINE = ("memory.", "gpu.", DECODER)
"""What a baseline does without: the strategy's knobs, a cap under which it might not run, and another decoder, which is
compared with the true decode of the same latents."""
PLAIN_INT = re.compile(r"-?(0|[1-9][0-9]*)")
"""What Hydra's grammar reads as a whole number; to read 10,000 seeds with its parser takes seconds."""
SETTINGS = rules(Config)
Point = Mapping[str, str]
"""One value for each axis, as typed; the image may be a file."""


@dataclass(frozen=True)
class Base:
    """A composition of config groups, into which plain values are set."""

    cfg: DictConfig
    job: Job | None
    """None where values depend on one another, or only some of the plain values make it valid."""
    values: dict[tuple[str, str], Any] = field(default_factory=dict)

    @cached_property
    def scratch(self) -> DictConfig:
        """A copy on which values are tried and converted; what is left there does not matter."""
        return self.cfg.copy()


class Points:
    """Turns points into jobs; equal to composing each by itself, a hundred times faster."""

    def __init__(self, presets: Configs, experiments: Sequence[str]) -> None:
        self._presets = presets
        self._experiments = list(experiments)
        self._groups = presets.groups
        self._bases: dict[tuple[tuple[str, str], ...], Base] = {}
        self._baselines: dict[tuple[tuple[str, str], ...], str] = {}
        self._images: dict[Image, Image] = {}
        """The pictures as configured, with where they lie and what is in them."""

    def job(self, point: Point) -> Job:
        """The job at a point: model pinned, image hashed, baseline named. Raises UserError."""
        partner = {k: v for k, v in point.items() if not k.startswith(NOT_IN_BASELINE)}
        partner |= {"memory": "baseline"} | ({DECODER: TEMPORAL} if DECODER in point else {})
        if partner == {"memory": self._choices["memory"], **point}:
            job = self._resolved(point, {})
            return job.with_baseline(job.key)
        at = tuple(partner.items())
        if at not in self._baselines:
            self._baselines[at] = self._resolved(partner, {}).key
        job = self._resolved(point, {"baseline": self._baselines[at]} | _name_of_strategy(point))
        if job.key == job.baseline and "memory.name" not in point:  # knobs at their defaults change nothing
            return dataclasses.replace(job, memory=dataclasses.replace(job.memory, name="baseline"))
        return job

    @cached_property
    def _choices(self) -> Mapping[str, str]:
        """The option of each group where a point names none."""
        choices: Mapping[str, str] = self._presets.compose(
            self._experiments, with_hydra=True
        ).hydra.runtime.choices
        return choices

    def composed(self, point: Point) -> Job:
        """The job at a point as Hydra would compose it: nothing resolved yet. Raises UserError."""
        return self._job(point, {})

    def _resolved(self, point: Point, more: Mapping[str, Any]) -> Job:
        job = self._job(point, more)
        if not (isinstance(job.height, int) and isinstance(job.width, int)):
            height, width = auto_size(job, self._own_size(point))
            job = self._job({**point, "height": str(height), "width": str(width)}, more)
        if job.image not in self._images:
            self._images[job.image] = _located(job.image)
        levels = job.model.sigmas  # a list says how many steps there are
        steps = len(levels) - 1 if isinstance(levels, tuple) else job.num_inference_steps
        model, image = with_decoder(resolve(job.model)), self._images[job.image]
        return dataclasses.replace(job, model=model, image=image, num_inference_steps=steps)

    def _own_size(self, point: Point) -> tuple[int, int]:
        """Height and width (px) as the model's preset has them. Raises UserError when those are no numbers."""
        model = point.get("model", self._choices["model"])
        own = self._presets.compose([f"model={model}"])
        if AUTO in (own.height, own.width):
            raise UserError(
                f"model={model}: its preset says height or width {AUTO}, but `auto` needs its numbers."
            )
        return own.height, own.width

    def _job(self, point: Point, more: Mapping[str, Any]) -> Job:
        groups = {k: v for k, v in point.items() if k in self._groups and not is_picture(k, v)}
        base = self._base(tuple(groups.items()))
        values = {k: self._value(base, k, v) for k, v in point.items() if k not in self._groups}
        if IMAGE in point and IMAGE not in groups:
            path = absolute(point[IMAGE])
            values |= {"image.path": literal(path), "image.name": literal(Path(path).stem)}
        values |= more
        if base.job is None or any("${" in str(value) for value in values.values()):
            return _set(base.cfg, values)
        job: Job = _replaced(base.job, values)
        return job

    def _base(self, groups: tuple[tuple[str, str], ...]) -> Base:
        if groups not in self._bases:
            cfg = self._presets.compose(
                [*self._experiments, *(f"{group}={option}" for group, option in groups)]
            )
            try:
                job = None if "${" in OmegaConf.to_yaml(cfg) else OmegaConf.to_object(cfg).job  # type: ignore[union-attr]
            except UserError:
                job = None
            self._bases[groups] = Base(cfg, job)
        return self._bases[groups]

    def _value(self, base: Base, key: str, text: str) -> Any:
        if (key, text) not in base.values:
            if PLAIN_INT.fullmatch(text):
                value: Any = int(text)
                if key in SETTINGS and SETTINGS[key][1].type is int:
                    return value  # as it is; `converted` takes a third of a millisecond
            else:
                value = self._presets.parse([f"{key}={text}"])[0].value()
            interpolated = isinstance(value, str) and "${" in value
            base.values[key, text] = value if interpolated else converted(base.scratch, key, value)
        return base.values[key, text]


def _located(image: Image) -> Image:
    """The image with its file's path from the root, unless it is a packaged one, and the hash of its content."""
    file = images.locate(image.path)
    path = image.path if file.parent == images.PACKAGED else absolute(image.path)
    return dataclasses.replace(image, path=path, sha256=images.identify(file))


def _name_of_strategy(point: Point) -> dict[str, str]:
    """A preset changed by hand is named after its changes, so that tables do not mistake it for the preset; so is one
    whose latents another decoder decodes."""
    changes = [f"{k.removeprefix('memory.')}={v}" for k, v in point.items() if k.startswith("memory.")]
    if point.get(DECODER, TEMPORAL) != TEMPORAL:
        changes += [f"{k.removeprefix('model.')}={v}" for k, v in point.items() if k.startswith(DECODER)]
    if not changes or "memory.name" in point:
        return {}
    return {"memory.name": "+".join([point.get("memory", "baseline"), *changes])}


def _replaced(part: Any, values: Mapping[str, Any]) -> Any:
    """A copy of nested dataclasses with values set by dotted key; checked once, when all are set."""
    own = {key: value for key, value in values.items() if "." not in key}
    nested: dict[str, dict[str, Any]] = {}
    for key in (key for key in values if key not in own):
        head, _, rest = key.partition(".")
        nested.setdefault(head, {})[rest] = values[key]
    inner = {head: _replaced(getattr(part, head), of_part) for head, of_part in nested.items()}
    return dataclasses.replace(part, **own, **inner)


def _set(base: DictConfig, values: Mapping[str, Any]) -> Job:
    """The slow road, by OmegaConf, which also resolves values that refer to one another. Raises UserError."""
    cfg = base.copy()
    try:
        for key, value in values.items():
            OmegaConf.update(cfg, key, value)
        config: Config = OmegaConf.to_object(cfg)  # type: ignore[assignment]
    except OmegaConfBaseException as e:
        raise UserError(reason_of(e)) from e
    return config.job
