"""argv → jobs: Hydra's override grammar, presets with a grid inside, the product, and every job checked."""

import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from svdsweep import images
from svdsweep.config import Config, Job, Runner
from svdsweep.config.keys import digest
from svdsweep.errors import UserError
from svdsweep.grid.doubts import Apart, doubts_of
from svdsweep.grid.jobs import Point, Points
from svdsweep.grid.overrides import EXPERIMENT, IMAGE, check, check_count, elements, names, texts, values_of
from svdsweep.grid.paths import as_typed
from svdsweep.grid.presets import Configs, configs, converted
from svdsweep.metrics import family
from svdsweep.store.labels import told_apart

SWEEP_SETTINGS = ("name", "tags", "note", "runs_dir", "runner")
"""Settings, and groups of them, that hold for the sweep as a whole; no job knows them."""
DEVICES = "runner.devices"
OF_WEIGHTS = ("model.source=", "model.unet=", "model.lora=", "model.lora_scale=")
"""Settings that change what weights are, and nothing of what they cost: a LoRA is part of them."""
NAME_AT_MOST = 200
"""File systems take 255 bytes."""


@dataclass(frozen=True)
class Grid:
    """A sweep as asked for: its jobs without duplicates, in the order of the product, and where it runs."""

    jobs: list[Job]
    axes: dict[str, list[str]]
    """What is swept: the values as typed, by key."""
    runner: Runner
    runs_dir: Path
    given_name: str | None = None
    tags: list[str] = field(default_factory=list)
    note: str = ""
    warnings: list[str] = field(default_factory=list)

    @cached_property
    def name(self) -> str:
        """The name given, else that of the presets, else `sweep-` and a hash of the jobs."""
        return self.given_name or f"sweep-{digest(sorted(job.key for job in self.jobs))[:8]}"

    @property
    def folder(self) -> Path:
        """Where all that the sweep makes is kept."""
        return self.runs_dir / self.name


def expand(arguments: Sequence[str], config_dir: str | None = None) -> Grid:
    """The grid of a command line in Hydra's grammar. Raises UserError when any part of it is wrong."""
    with configs(config_dir) as presets:
        asked = _asked(presets, arguments)
        config = _sweep_config(presets, asked)
        values = {o.key_or_group: values_of(o) for o in asked.of_jobs}
        jobs, same = _jobs(Points(presets, asked.experiments), values)
    jobs = told_apart(with_needed_baselines(jobs))
    axes = {key: several for key, several in values.items() if len(several) > 1}
    return Grid(
        jobs=jobs,
        axes=axes,
        runner=config.runner,
        runs_dir=Path(os.path.expanduser(config.runs_dir)),
        given_name=_checked_name(config.name) or "-".join(asked.experiment_names) or None,
        tags=config.tags,
        note=config.note,
        warnings=[*_left_out(asked.of_jobs), *doubts_of(jobs, list(axes), same)],
    )


@dataclass(frozen=True)
class _Asked:
    """A command line, checked: the experiments as typed and their names, and what is set for jobs and for the sweep."""

    experiments: list[str]
    experiment_names: list[str]
    of_jobs: list[Override]
    of_the_sweep: list[Override]


def _asked(presets: Configs, arguments: Sequence[str]) -> _Asked:
    """The command line with the grids of its experiments inside. Raises UserError."""
    typed = presets.parse([as_typed(argument) for argument in arguments])
    for override in typed:
        check(presets, override)
    experiments = [o for o in typed if o.key_or_group == EXPERIMENT]
    others = [o for o in typed if o.key_or_group != EXPERIMENT]
    lines = [o.input_line or "" for o in experiments]
    overrides = [*_grid_inside(presets, lines, typed), *others]
    of_the_sweep = [o for o in overrides if o.key_or_group.split(".")[0] in SWEEP_SETTINGS]
    of_jobs = [o for o in overrides if o not in of_the_sweep]
    return _Asked(lines, names(experiments), of_jobs, of_the_sweep)


def _jobs(points: Points, axes: Mapping[str, list[str]]) -> tuple[list[Job], Counter[Apart]]:
    """The jobs of the product of the axes, each key once, and how many points are the job of another. Raises UserError,
    also for metrics that do not exist."""
    jobs: dict[str, tuple[Job, Point]] = {}
    same: Counter[Apart] = Counter()
    check_count(math.prod(map(len, axes.values())))
    for point in _product(axes):
        job = points.job(point)
        _, first = jobs.setdefault(job.key, (job, point))
        if first is not point:
            same[tuple((key, value, first[key]) for key, value in point.items() if value != first[key])] += 1
    for name in {name for job, _ in jobs.values() for name in job.metrics.families}:
        family(name)
    return [job for job, _ in jobs.values()], same


def _left_out(overrides: Sequence[Override]) -> list[str]:
    """What folders and globs of pictures hold beside pictures."""
    values = (value for o in overrides if o.key_or_group == IMAGE for value in texts(o))
    return [told for value in values if (told := images.left_out(value))]


def expand_without_weights(settings: Sequence[str], config_dir: str | None = None) -> Grid:
    """The grid, no weights looked for: only the architecture matters. Raises UserError."""
    kept = [s for s in settings if not s.startswith(OF_WEIGHTS)]
    # of two values of a setting the last one counts
    return expand([*kept, "model.weights=random", "model.lora=none"], config_dir)


def with_needed_baselines(jobs: list[Job]) -> list[Job]:
    """Baselines on which no other job depends need not keep their frames for a comparison: they name none."""
    needed = {job.baseline for job in jobs if job.baseline != job.key}
    lonely = {job.key for job in jobs if job.baseline == job.key} - needed
    return [job.with_baseline("") if job.key in lonely else job for job in jobs]


def _grid_inside(presets: Configs, experiments: list[str], typed: Sequence[Override]) -> list[Override]:
    """What the experiments' `hydra.sweeper.params` ask for, unless the command line says otherwise."""
    if not experiments:
        return []
    cfg = presets.compose(experiments, with_hydra=True)
    params: Mapping[str, Any] = cfg.hydra.sweeper.params or {}
    taken = {o.key_or_group for o in typed}
    lines = [as_typed(f"{key}={value}") for key, value in params.items() if key not in taken]
    inside = presets.parse(lines)
    for override in inside:
        check(presets, override)
    return inside


def _sweep_config(presets: Configs, asked: _Asked) -> Config:
    """The configuration that says where the sweep runs; `runner.devices=0,1` is one value, not a sweep."""
    choices: list[str] = []
    plain: list[str] = []
    for override in asked.of_the_sweep:
        key = override.key_or_group
        values = texts(override) if key == DEVICES else elements(override)
        if len(values) > 1 and key != DEVICES:
            raise UserError(f"{override.input_line}: {key} holds for the whole sweep; give it one value.")
        value = f"'{','.join(values)}'" if key == DEVICES else values[0]
        (choices if key in presets.groups else plain).append(f"{key}={value}")
    cfg = presets.compose([*asked.experiments, *choices])
    if plain:
        cfg = cfg.copy()
    for override in presets.parse(plain):
        converted(cfg, override.key_or_group, override.value())
    config: Config = OmegaConf.to_object(cfg)  # type: ignore[assignment]
    return config


def _checked_name(name: str | None) -> str | None:
    if name is not None and not (re.fullmatch(r"\w[\w.+-]*", name) and len(name.encode()) <= NAME_AT_MOST):
        allowed = f"letters, digits and any of . _ + -, at most {NAME_AT_MOST} bytes"
        raise UserError(f"name={name}: a sweep's name is a folder's; allowed are {allowed}.")
    return name


def _product(axes: Mapping[str, list[str]]) -> Iterator[dict[str, str]]:
    """Every combination, the last axis fastest."""
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))
