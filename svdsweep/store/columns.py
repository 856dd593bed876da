"""The flat table's columns: one row a job, stable names, units in the names; without pandas, for the terminal."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from svdsweep.config import Job, Memory
from svdsweep.store.rows import Row, Scalar

STAGES = ("image_encode", "vae_encode", "denoise", "vae_decode")
"""The stages of a run, in their order."""
GENERATION = (
    *("model", "memory", "image", "seed", "motion_bucket_id", "noise_aug_strength", "fps"),
    *("num_frames", "height", "width", "num_inference_steps"),
    *("decode_chunk_size", "min_guidance_scale", "max_guidance_scale"),
)
MEASURED = (
    *("load_s", "compile_s", "image_encode_s", "vae_encode_s", "denoise_s", "step_s", "vae_decode_s"),
    *("total_s", "total_s_low", "total_s_high", "frames_per_s"),
    *("vram_allocated_peak_gib", "vram_reserved_peak_gib", "vram_process_peak_gib"),
    *(f"{stage}_vram_allocated_peak_gib" for stage in STAGES),
    *("host_ram_peak_gib", "energy_j", "predicted_vram_gib"),
)
LAST = ("video", "contact_sheet", "host", "device", "gpu", "torch", "diffusers", "started_at")


@dataclass(frozen=True)
class Column:
    """What a table and the report page have to know about a metric. `low` and `high` bound its values."""

    name: str
    unit: str
    low: float | None
    high: float | None
    better: str | None
    """`higher`, `lower`, or None: a description, not a merit."""
    help: str
    blind_to: str
    """What the number does not see, or mistakes for something else."""


def flat(row: Row) -> dict[str, Scalar]:
    """A row as one level of columns: identity, what was asked for, what was measured, where it ran."""
    values = {**row.provenance, **row.values}
    asked = asked_for(row.job)
    identity: dict[str, Scalar] = {
        "key": row.key,
        "status": row.status,
        "attempt": row.attempt,
        "error": row.error,
        "phase": row.phase,
    }
    middle = {name: values.get(name) for name in MEASURED}
    rest = {name: value for name, value in values.items() if name not in middle and name not in LAST}
    return {**identity, **asked, **middle, **rest, **{name: values.get(name) for name in LAST}}


def asked_for(job: Job) -> dict[str, Scalar]:
    """What the grid decides about a job, by column: the generation settings and every memory knob."""
    named = {"model": job.model.name, "memory": job.memory.name, "image": job.image.name}
    plain: dict[str, Scalar] = {n: named[n] if n in named else getattr(job, n) for n in GENERATION}
    knobs = {f.name: getattr(job.memory, f.name) for f in dataclasses.fields(Memory) if f.name != "name"}
    more: dict[str, Scalar] = {
        "model.dtype": job.model.dtype,
        "model.weights": job.model.weights,
        "measure": job.measure.name,
    }
    limit = {"gpu.memory_limit_gib": job.gpu.memory_limit_gib}
    return {
        **plain,
        **{f"memory.{k}": ",".join(v) if isinstance(v, list) else v for k, v in knobs.items()},
        **more,
        **limit,
    }


def union(tables: Iterable[Mapping[str, Scalar]]) -> list[str]:
    """All columns of some flat rows, in the order in which they first appear, those at the end kept there."""
    seen = {name: None for table in tables for name in table}
    return [name for name in seen if name not in LAST] + [name for name in LAST if name in seen]


def varying(jobs: Iterable[Job]) -> list[str]:
    """The columns in which jobs differ, as a short table shows them; a strategy's knobs stand behind its name."""
    asked = [asked_for(job) for job in jobs]
    names = {job["memory"] for job in asked}
    differing = [name for name in (asked[0] if asked else {}) if len({str(job[name]) for job in asked}) > 1]
    hidden = {"decode_chunk_size"} if _told_by_strategy(asked, "decode_chunk_size") else set()
    return [n for n in differing if n not in hidden and not (n.startswith("memory.") and len(names) > 1)]


def _told_by_strategy(asked: list[dict[str, Scalar]], column: str) -> bool:
    """Whether the strategy's name already says the column's value."""
    return len({(str(job["memory"]), str(job[column])) for job in asked}) == len(
        {str(job["memory"]) for job in asked}
    )
