"""argv → jobs: Hydra's override grammar, presets with a grid inside, the product, and every job checked."""

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from svdsweep import images
from svdsweep.config import Config, Job, Runner
from svdsweep.config.keys import digest
from svdsweep.errors import UserError, nearest
from svdsweep.grid.jobs import Point, Points
from svdsweep.grid.pictures import doubts_of_pictures, multiple_px
from svdsweep.grid.presets import Configs, check_key, configs, converted
from svdsweep.metrics import family
from svdsweep.models.locate import doubts_about
from svdsweep.store.labels import told_apart

EXPERIMENT = "experiment"
SWEEP_SETTINGS = ("name", "runs_dir", "runner")
"""Settings, and groups of them, that hold for the sweep as a whole; no job knows them."""
DEVICES = "runner.devices"
NAME_AT_MOST = 200
"""File systems take 255 bytes."""
JOBS_AT_MOST = 1_000_000
COLLAPSED_AT_MOST = 3
"""Examples of points that are one job."""


@dataclass(frozen=True)
class Grid:
    """A sweep as asked for: its jobs without duplicates, in the order of the product, and where it runs."""

    jobs: list[Job]
    axes: dict[str, list[str]]
    """What is swept: the values as typed, by key."""
    runner: Runner
    runs_dir: Path
    given_name: str | None = None
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
        axes = {o.key_or_group: _values(o) for o in asked.of_jobs}
        jobs, collapsed = _jobs(Points(presets, asked.experiments), axes)
    jobs = told_apart(with_needed_baselines(jobs))
    return Grid(
        jobs=jobs,
        axes={key: values for key, values in axes.items() if len(values) > 1},
        runner=config.runner,
        runs_dir=Path(config.runs_dir),
        given_name=_checked_name(config.name) or "-".join(asked.experiment_names) or None,
        warnings=[
            *_left_out(asked.of_jobs),
            *doubts_of_pictures(jobs),
            *sorted({warning for job in jobs for warning in doubts(job)}),
            *collapsed,
            *alike(jobs),
            *overruled(jobs, [key for key, values in axes.items() if len(values) > 1]),
        ],
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
    typed = presets.parse(arguments)
    for override in typed:
        _check(presets, override)
    experiments = [o for o in typed if o.key_or_group == EXPERIMENT]
    others = [o for o in typed if o.key_or_group != EXPERIMENT]
    lines = [o.input_line or "" for o in experiments]
    overrides = [*_grid_inside(presets, lines, typed), *others]
    of_the_sweep = [o for o in overrides if o.key_or_group.split(".")[0] in SWEEP_SETTINGS]
    of_jobs = [o for o in overrides if o not in of_the_sweep]
    return _Asked(lines, _names(experiments), of_jobs, of_the_sweep)


def _jobs(points: Points, axes: Mapping[str, list[str]]) -> tuple[list[Job], list[str]]:
    """The jobs of the product of the axes, each key once, and a sentence where points are one job. Raises UserError,
    also for metrics that do not exist."""
    jobs: dict[str, tuple[Job, Point]] = {}
    same: Counter[tuple[tuple[str, str, str], ...]] = Counter()
    _check_count(math.prod(map(len, axes.values())))
    for point in _product(axes):
        job = points.job(point)
        _, first = jobs.setdefault(job.key, (job, point))
        if first is not point:
            same[tuple((key, value, first[key]) for key, value in point.items() if value != first[key])] += 1
    for name in {name for job, _ in jobs.values() for name in job.metrics.families}:
        family(name)
    return [job for job, _ in jobs.values()], _collapsed(same)


def _collapsed(same: Counter[tuple[tuple[str, str, str], ...]]) -> list[str]:
    """How many points of the grid are the same job as another, and by which values, as typed: (setting, value, the
    first point's value), with how many points are so."""
    if not same:
        return []
    told = [
        f"{' '.join(f'{key}={value}' for key, value, _ in apart)} is {' '.join(f'{k}={v}' for k, _, v in apart)}"
        if apart
        else "a value stands twice"
        for apart in list(same)[:COLLAPSED_AT_MOST]
    ]
    more = ["…"] * (len(same) > COLLAPSED_AT_MOST)
    settings = {key.partition(".")[0] for apart in same for key, _, _ in apart}
    why = ["Pictures of equal content are one picture."] * ("image" in settings)
    why += ["What is typed replaces what a preset sets."] * bool(settings & {"memory", "model", "measure"})
    count = "1 combination is" if same.total() == 1 else f"{same.total()} combinations are"
    run = f"{count} the same job as another and run{'s' * (same.total() == 1)} once"
    return [f"{run}: {'; '.join([*told, *more])}. {' '.join(why)}".rstrip()]


def expand_without_weights(settings: Sequence[str], config_dir: str | None = None) -> Grid:
    """The grid, no weights looked for: only the architecture matters. Raises UserError."""
    kept = [s for s in settings if not s.startswith("model.source=")]
    # of two values of a setting the last one counts
    return expand([*kept, "model.weights=random"], config_dir)


def with_needed_baselines(jobs: list[Job]) -> list[Job]:
    """Baselines on which no other job depends need not keep their frames for a comparison: they name none."""
    needed = {job.baseline for job in jobs if job.baseline != job.key}
    lonely = {job.key for job in jobs if job.baseline == job.key} - needed
    return [replace(job, baseline="") if job.key in lonely else job for job in jobs]


def doubts(job: Job) -> list[str]:
    """What will run, but perhaps not as hoped."""
    warnings = []
    size, trained_for = f"{job.width}×{job.height}", job.model.max_num_frames
    step = multiple_px(job.model)
    if job.height % step or job.width % step:
        whose = "SVD's" if step == 64 else "The tiny model's"
        warnings.append(f"{size}: {whose} networks expect multiples of {step}; others run with odd borders.")
    if job.num_frames > trained_for:
        warnings.append(f"num_frames={job.num_frames}: {job.model.name} was trained for {trained_for}.")
    return [*warnings, *doubts_about(job.model)]


def alike(jobs: Sequence[Job]) -> list[str]:
    """A sentence where different seeds start from equal noise: PyTorch's CPU generator draws by the lowest 32 bits."""
    draws: dict[int, dict[int, None]] = {}
    for job in jobs:
        draws.setdefault(job.seed % 2**32, {})[job.seed] = None
    same = next((list(seeds) for seeds in draws.values() if len(seeds) > 1), None)
    cause = "PyTorch's generator draws by the lowest 32 bits of a seed"
    return [f"seed={same[0]} and seed={same[1]} start from equal noise: {cause}."] if same else []


def overruled(jobs: Sequence[Job], swept: Sequence[str]) -> list[str]:
    """The swept settings that strategies decide themselves: jobs that differ in them alone do the same work."""
    by: dict[str, dict[str, object]] = {
        "num_inference_steps": {
            j.memory.name: j.memory.denoise_steps for j in jobs if j.memory.denoise_steps
        },
        "max_guidance_scale": {j.memory.name: "off" for j in jobs if not j.memory.guidance},
    }
    return [
        f"{key} is swept, but memory={name} decides that itself ({decided}): its jobs along {key} are alike."
        for key, strategies in by.items()
        if key in swept
        for name, decided in strategies.items()
    ]


def _check(presets: Configs, override: Override) -> None:
    """Raise UserError unless the override names settings, groups and options that exist."""
    key = override.key_or_group
    if override.is_delete():
        raise UserError(f"{override.input_line}: settings cannot be removed; set them to another value.")
    if key == EXPERIMENT and override.is_sweep_override():
        names = ",".join(_elements(override))
        cure = f"to join the grids of presets, write +{EXPERIMENT}=[{names}]."
        raise UserError(f"{EXPERIMENT}={names} is not possible: {cure}")
    if key == EXPERIMENT:
        for name in _names([override]):
            _check_option(presets, EXPERIMENT, name)
        return
    if override.is_add():
        raise UserError(f"{override.input_line}: this setting exists already; leave out the `+`.")
    check_key(key, presets.groups)
    if key in presets.groups:
        for value in _elements(override):
            if not (key == "image" and images.is_file_name(value)):
                _check_option(presets, key, value)


def _check_option(presets: Configs, group: str, name: str) -> None:
    options = presets.options(group)
    if name not in options:
        allowed = ", ".join(options) + (". A path, folder or glob works too." if group == "image" else ".")
        raise UserError(f"{group}={name}: no such {group}. Allowed is {allowed}{nearest(name, options)}")


def _grid_inside(presets: Configs, experiments: list[str], typed: Sequence[Override]) -> list[Override]:
    """What the experiments' `hydra.sweeper.params` ask for, unless the command line says otherwise."""
    if not experiments:
        return []
    cfg = presets.compose(experiments, with_hydra=True)
    params: Mapping[str, Any] = cfg.hydra.sweeper.params or {}
    taken = {o.key_or_group for o in typed}
    inside = presets.parse([f"{key}={value}" for key, value in params.items() if key not in taken])
    for override in inside:
        _check(presets, override)
    return inside


def _names(experiments: Sequence[Override]) -> list[str]:
    """The names in `+experiment=a` and `+experiment=[a,b]`."""
    values = [o.value() for o in experiments]
    return [str(name) for value in values for name in (value if isinstance(value, list) else [value])]


def _sweep_config(presets: Configs, asked: _Asked) -> Config:
    """The configuration that says where the sweep runs; `runner.devices=0,1` is one value, not a sweep."""
    choices: list[str] = []
    plain: list[str] = []
    for override in asked.of_the_sweep:
        key, values = override.key_or_group, _elements(override)
        if len(values) > 1 and key != DEVICES:
            raise UserError(f"{override.input_line}: {key} holds for the whole sweep; give it one value.")
        value = f"'{','.join(values)}'" if key == DEVICES else values[0]
        (choices if key in presets.groups else plain).append(f"{key}={value}")
    cfg = presets.compose([*asked.experiments, *choices])
    for override in presets.parse(plain):
        converted(cfg, override.key_or_group, override.value())
    config: Config = OmegaConf.to_object(cfg)  # type: ignore[assignment]
    return config


def _checked_name(name: str | None) -> str | None:
    if name is not None and not (re.fullmatch(r"\w[\w.+-]*", name) and len(name.encode()) <= NAME_AT_MOST):
        allowed = f"letters, digits and any of . _ + -, at most {NAME_AT_MOST} bytes"
        raise UserError(f"name={name}: a sweep's name is a folder's; allowed are {allowed}.")
    return name


def _values(override: Override) -> list[str]:
    """The values of one axis as typed; a folder or glob of pictures becomes one value a file."""
    values = _elements(override)
    is_image = override.key_or_group == "image"
    return [file for value in values for file in images.expand(value)] if is_image else values


def _left_out(overrides: Sequence[Override]) -> list[str]:
    """What folders and globs of pictures hold beside pictures."""
    values = (value for o in overrides if o.key_or_group == "image" for value in _elements(o))
    return [told for value in values if (told := images.left_out(value))]


def _elements(override: Override) -> list[str]:
    """The values that a sweep stands for, or the only one."""
    if override.is_discrete_sweep():
        _check_count(_length(override))
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


def _check_count(jobs: int) -> None:
    if jobs > JOBS_AT_MOST:
        raise UserError(
            f"This grid has {jobs:,} jobs; a sweep may have {JOBS_AT_MOST:,}. Give it fewer values."
        )


def _product(axes: Mapping[str, list[str]]) -> Iterator[dict[str, str]]:
    """Every combination, the last axis fastest."""
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))
