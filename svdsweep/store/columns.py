"""The flat table's columns: one row a job, stable names, units in the names; without pandas, for the terminal."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from svdsweep.config import Job
from svdsweep.config.rules import rule_of
from svdsweep.store.kinds import PARTS, Scalar
from svdsweep.store.rows import Row

STAGES = ("image_encode", "vae_encode", "denoise", "vae_decode")
"""The stages of a run, in their order."""
OVER_TIME = {stage: f"{stage}_over_time_gib" for stage in STAGES}
"""The series of a stage's memory over time: one list for each stretch that is told apart."""
GENERATION = (
    *("model", "memory", "image", "seed", "motion_bucket_id", "noise_aug_strength", "fps"),
    *("num_frames", "height", "width", "num_inference_steps"),
    *("decode_chunk_size", "min_guidance_scale", "max_guidance_scale"),
)
NAMED = ("model", "memory", "image", "measure", "metrics")
"""The parts of a job that have a name, which is a column."""
DETAILS = {
    part: [
        (f"{part}.{f.name}", f.name)
        for f in dataclasses.fields(kind)
        if not ((rule := rule_of(f)) and rule.label)
    ]
    for part, kind in sorted(PARTS.items(), key=lambda item: item[0] != "memory")
}
"""Column and name of every setting of a job's parts that is no label, the strategy's first."""
LIMITS = {
    "throttled_power_s": ("power cap", "power cap"),
    "throttled_thermal_s": ("thermal", "temperature"),
    "throttled_reliability_s": ("reliability", "limit of voltage for reliability"),
    "throttled_board_limit_s": ("board limit", "board's limit"),
}
"""What slows a GPU down, by the column of its seconds: in a word, as rows tell it, and as its column is described."""
OF_THEIR_OWN = (
    *("model.dtype", "model.weights", "model.scheduler", "model.sigmas", "model.final_sigma"),
    "image.fit",
)
"""Settings that stand beside the name of their part, not behind it."""
TOLD_BY_THE_STRATEGY = (
    "decode_chunk_size",
    "model.decoder",
    "model.decoder_source",
    "model.decoder_revision",
)
"""Settings beside the strategy's own that its name also tells, wherever it does."""
_COLUMNS = "_columns"
LAST = ("video", "contact_sheet", "host", "device", "gpu", "torch", "diffusers", "started_at")


@dataclass(frozen=True)
class Column:
    """What tables, plots and the page have to know about a column of numbers."""

    name: str
    unit: str
    help: str
    blind_to: str = ""
    """What the number does not see, or mistakes for something else."""
    better: str | None = field(default=None, kw_only=True)
    """`higher`, `lower`, or None: a description, not a merit."""
    low: float | None = field(default=None, kw_only=True)
    high: float | None = field(default=None, kw_only=True)
    """`low` and `high` bound the values."""
    headline: int = field(default=0, kw_only=True)
    """Where it is shown: 0 in the files only; 1 also where `score` compares clips; 2 also in a sweep's table on the
    terminal; 3 also on the page's plots and among its strategies."""


MEASURED = (
    Column("load_s", "s", "Loading of the pipeline.", headline=2),
    Column("compile_s", "s", "What the first run of a compiled shape took beyond a steady one."),
    Column("image_encode_s", "s", "Stage: the picture's embedding by CLIP."),
    Column("vae_encode_s", "s", "Stage: the picture's latents."),
    Column("denoise_s", "s", "Stage: all steps of the UNet.", headline=2),
    Column("step_s", "s", "One step of the UNet."),
    Column(
        "unet_calls",
        "calls",
        "Calls of the UNet in one video that computed all of it, counted.",
        "the halves of guidance count as one call, what DeepCache computes between whole calls as none",
    ),
    Column("vae_decode_s", "s", "Stage: from latents to frames.", headline=2),
    Column("total_s", "s", "Latency of one video, median over the repeats.", better="lower", headline=2),
    Column("total_s_low", "s", "Lower end of the 95 % interval of total_s."),
    Column("total_s_high", "s", "Upper end of the 95 % interval of total_s."),
    Column("frames_per_s", "frames/s", "Frames over total_s."),
    Column("vram_allocated_peak_gib", "GiB", "VRAM in tensors, the peak.", better="lower", headline=2),
    Column("vram_reserved_peak_gib", "GiB", "VRAM that PyTorch's allocator held, the peak."),
    Column("vram_process_peak_gib", "GiB", "VRAM of the process as the driver counts it."),
    *(Column(f"{s}_vram_allocated_peak_gib", "GiB", f"VRAM in tensors, the peak of {s}.") for s in STAGES),
    Column("host_ram_peak_gib", "GiB", "Host memory of the worker, the peak.", better="lower", headline=2),
    Column("energy_j", "J", "Energy of one video as the GPU counts it."),
    Column("sm_clock_mean_mhz", "MHz", "Clock of the GPU's cores, the mean over the timed runs."),
    Column("memory_clock_mean_mhz", "MHz", "Clock of the GPU's memory, the mean over the timed runs."),
    Column("throttled_pct", "%", "Share of the timed runs in which the GPU was slowed down.", headline=2),
    Column("throttled_s", "s", "Seconds of one run in which the GPU was slowed down."),
    *(
        Column(name, "s", f"Those by its {words}, as the driver counts.")
        for name, (_, words) in LIMITS.items()
    ),
    Column("predicted_vram_gib", "GiB", "VRAM in tensors, the peak that was predicted."),
)
"""What every job measures beside the metrics of its frames. Only the whole has a better end: its parts describe."""


_PLACED = frozenset([*(column.name for column in MEASURED), *LAST])


def flat(row: Row) -> dict[str, Scalar]:
    """A row as one level of columns: identity, what was asked for, what was measured, where it ran."""
    values = {**row.provenance, **row.values}
    middle = {column.name: values.get(column.name) for column in MEASURED}
    rest = {name: value for name, value in values.items() if name not in _PLACED}
    last = {name: values.get(name) for name in LAST}
    return {**identity(row), **asked_for(row.job), **middle, **rest, **last}


def identity(row: Row) -> dict[str, Scalar]:
    """Which job a row tells of, and how that ended."""
    return {"key": row.key, **{n: getattr(row, n) for n in ("status", "attempt", "error", "phase")}}


def asked_for(job: Job) -> dict[str, Scalar]:
    """What the grid decides about a job, by column: the generation settings, the names of its parts, and each of their
    settings as `part.setting`."""
    names = {name: getattr(job, name).name for name in NAMED}
    asked: dict[str, Scalar] = {n: names[n] if n in names else getattr(job, n) for n in GENERATION}
    for part in DETAILS:
        asked |= _details(part, getattr(job, part))
    return asked | names


def _details(part: str, settings: Any) -> dict[str, Scalar]:
    """The columns of a part of a job, kept with it: thousands of jobs share a part."""
    kept: dict[str, Any] = settings.__dict__
    if _COLUMNS not in kept:
        values = {column: getattr(settings, name) for column, name in DETAILS[part]}
        kept[_COLUMNS] = {
            n: ",".join(map(str, v)) if isinstance(v, list | tuple) else v for n, v in values.items()
        }
    columns: dict[str, Scalar] = kept[_COLUMNS]
    return columns


def union(rows: Iterable[Iterable[str]]) -> list[str]:
    """All columns of some flat rows, in the order in which they first appear, those at the end kept there."""
    seen = {name: None for row in rows for name in row}
    return [name for name in seen if name not in LAST] + [name for name in LAST if name in seen]


def varying(jobs: Iterable[Job]) -> list[str]:
    """The columns in which jobs differ, as a short table shows them."""
    jobs, columns = list(jobs), list(asked_for(Job()))
    fields = {name: [getattr(job, name) for job in jobs] for name in {c.partition(".")[0] for c in columns}}
    several = {name for name, values in fields.items() if len(set(map(id, values))) > 1}
    return differing(
        {c: _column(c, fields[name]) for c in columns if (name := c.partition(".")[0]) in several}
    )


def _column(column: str, values: Sequence[Any]) -> Sequence[Scalar]:
    """A column of `asked_for`, from what some jobs have in its field."""
    part, _, setting = column.partition(".")
    if part not in PARTS:
        return values
    return [_details(part, value)[column] if setting else value.name for value in values]


def differing(columns: Mapping[str, Sequence[object]]) -> list[str]:
    """The names of the columns that hold several values. Settings of a strategy, a model or another part that has a
    name stand behind that name wherever it tells them; a strategy's also tells those of `TOLD_BY_THE_STRATEGY`."""
    objects = {name: len(set(map(id, values))) for name, values in columns.items()}
    words = {name: [str(value) for value in columns[name]] for name, count in objects.items() if count > 1}
    several = {name: count for name, values in words.items() if (count := len(set(values))) > 1}
    behind = {name: "memory" if name in TOLD_BY_THE_STRATEGY else _named(name) for name in several}
    return [
        name
        for name, part in behind.items()
        if part not in several or len(set(zip(words[part], words[name], strict=True))) != several[part]
    ]


def _named(column: str) -> str:
    """The column with the name that a setting of a part stands behind; empty for one that stands for itself."""
    part, _, setting = column.partition(".")
    return part if setting and column not in OF_THEIR_OWN else ""
