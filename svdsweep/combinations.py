"""The combinations of memory strategies that `fit` searches: what each keeps, needs and costs, by prediction."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any

from svdsweep.config import Job
from svdsweep.predict.command import grid_without_weights
from svdsweep.predict.fitting import ALLOWANCE, Allowance, allowance_for, needed_gib, verdict
from svdsweep.predict.gpus import Gpu, eager_floor_s
from svdsweep.predict.predictions import outcomes, processes_here, simulators
from svdsweep.predict.summary import Summary
from svdsweep.schema import UserError

OFFLOADS = ("baseline", "model_offload", "group_offload", "group_offload_blocks", "sequential_offload")
CHUNKS = (8, 2, 1)
PARTS = 4
"""Of the transformer blocks: at 25 frames, with more the peak is elsewhere."""
BUDGETS_GIB = (8.0, 0.0)
"""Of a streamed decode: all of 25 frames of 576×1024 fit the first."""
PLAIN_UNET: dict[str, Any] = {"transformer_parts": None, "split_guidance": False}
"""How the UNet runs makes no difference to a decode."""
FRAMES, LATENTS, OTHER = "the frames", "the latents", "nothing"
KEEPS = (FRAMES, LATENTS, OTHER)


@dataclass(frozen=True)
class Request:
    """A command line of `fit`."""

    vram_gib: float
    settings: list[str] = field(default_factory=list)
    gpu: Gpu | None = None
    show: int = 3
    measure: bool = False
    json: bool = False
    config_dir: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A combination, what it keeps, what it needs and how fast it can at best be."""

    job: Job
    settings: list[str]
    keeps: str
    summary: Summary
    floor_s: float
    allowance: Allowance = ALLOWANCE

    @property
    def needed_gib(self) -> float:
        """With the allowance for context and workspaces."""
        return needed_gib(self.summary, self.allowance)

    @property
    def command(self) -> str:
        """What one types to run it."""
        return " ".join(["svdsweep", *self.settings])


def search(request: Request, gpu: Gpu) -> list[Candidate]:
    """Combinations that keep the latents, predicted, one offload after the other from the fastest on, until something
    fits that a further one could not better; where nothing fits, also combinations that keep less. All frames are
    decoded together as a whole where that fits, and streamed where it does not."""
    with simulators(processes_here()) as pool:
        return _searched(request, gpu, pool)


def _searched(request: Request, gpu: Gpu, pool: Executor | None) -> list[Candidate]:
    found: list[Candidate] = []
    for exact in (True, False):
        for offload in OFFLOADS:
            fronts = _candidates(request, gpu, _space(request, offload, exact), pool)
            found += fronts
            best = fitting(found, request.vram_gib)
            if not best or best[0].keeps == LATENTS:
                possible = [c for c in fronts if _fits_until_decode(c, request.vram_gib)]
                found += _streamed(request, gpu, possible, pool)
                best = fitting(found, request.vram_gib)
            if best and (best[0].keeps != LATENTS or not _frames_possible(found, request.vram_gib)):
                return found
        if fitting(found, request.vram_gib):
            return found
    return found


def fitting(found: Sequence[Candidate], vram_gib: float) -> list[Candidate]:
    """Those that surely fit: what keeps most first, then the fastest, then the smallest."""
    fit = [c for c in found if verdict(c.summary, vram_gib, c.allowance) == "yes"]
    return sorted(fit, key=lambda c: (KEEPS.index(c.keeps), c.floor_s, c.needed_gib, c.command))


def _frames_possible(found: Sequence[Candidate], vram_gib: float) -> bool:
    """Whether a decode of all frames together could fit with every weight elsewhere: its activations are the same
    under any offload."""
    decodes = [c.summary.stages["vae_decode"] for c in found if c.keeps == FRAMES]
    return any(stage.peak_gib - stage.weights_gib <= vram_gib for stage in decodes)


def _fits_until_decode(c: Candidate, vram_gib: float) -> bool:
    others = {name: stage for name, stage in c.summary.stages.items() if name != "vae_decode"}
    return verdict(Summary(others), vram_gib, c.allowance) == "yes"


def _space(request: Request, offload: str, exact: bool) -> list[str]:
    """The grid that is searched under one offload, as settings."""
    (job, *others) = grid_without_weights(request.settings, request.config_dir).jobs
    if others:
        raise UserError("fit searches strategies for one job; give each setting one value.")
    chunks = ["all", *(str(n) for n in CHUNKS if n < job.num_frames)]
    guided = job.max_guidance_scale > 1
    space = [
        f"memory={offload}",
        f"memory.transformer_parts=null,{PARTS}",
        "memory.single_token_cross_attention=true",
        f"decode_chunk_size={','.join(chunks)}",
    ]
    if exact:
        return [*space, "memory.split_guidance=false,true"] if guided else space
    return [*space, *(["memory.guidance=false"] if guided else []), "memory.unet_weights=full,fp8"]


def _candidates(request: Request, gpu: Gpu, space: Sequence[str], pool: Executor | None) -> list[Candidate]:
    grid = grid_without_weights([*request.settings, *space], request.config_dir)
    found = outcomes(grid.jobs, pool=pool)
    allowance = allowance_for(request.gpu.title if request.gpu else None, grid.folder)
    return [
        Candidate(job, _settings(request, job), _keeps(job), summary, eager_floor_s(summary, gpu), allowance)
        for job in grid.jobs
        if isinstance(summary := found[job.key], Summary)
    ]


def _streamed(
    request: Request, gpu: Gpu, fronts: Sequence[Candidate], pool: Executor | None
) -> list[Candidate]:
    """Those that decode all frames together, with a streamed decode instead, which is simulated once for all."""
    whole = [c for c in fronts if c.job.frames_per_decode == c.job.num_frames]
    jobs = {
        (i, gib): replace(c.job, memory=replace(c.job.memory, decode="streamed", decode_budget_gib=gib))
        for gib in BUDGETS_GIB
        if gib < request.vram_gib
        for i, c in enumerate(whole)
    }
    alone = {at: replace(job, memory=replace(job.memory, **PLAIN_UNET)) for at, job in jobs.items()}
    found = outcomes({job.key: job for job in alone.values()}.values(), pool=pool)
    candidates = []
    for (i, gib), job in jobs.items():
        decode, front = found[alone[i, gib].key], whole[i]
        if isinstance(decode, Summary):
            stages = front.summary.stages | {"vae_decode": decode.stages["vae_decode"]}
            summary = Summary(stages, front.summary.notes)
            settings = _settings(request, job)
            floor = eager_floor_s(summary, gpu)
            candidates.append(Candidate(job, settings, _keeps(job), summary, floor, front.allowance))
    return candidates


def _keeps(job: Job) -> str:
    m = job.memory
    if m.unet_weights != "full" or not m.guidance:
        return OTHER
    return FRAMES if job.frames_per_decode == job.num_frames else LATENTS


def _settings(request: Request, job: Job) -> list[str]:
    """The settings that make this job of the search."""
    m = job.memory
    chosen = [request.settings, [f"memory={m.name.split('+')[0]}"]]
    chosen.append([f"memory.transformer_parts={m.transformer_parts}"] if m.transformer_parts else [])
    chosen.append(["memory.split_guidance=true"] if m.split_guidance else [])
    chosen.append(["memory.single_token_cross_attention=true"])
    chosen.append(["memory.guidance=false"] if not m.guidance else [])
    chosen.append([f"memory.unet_weights={m.unet_weights}"] if m.unet_weights != "full" else [])
    streamed = ["memory.decode=streamed", f"memory.decode_budget_gib={m.decode_budget_gib:g}"]
    chosen.append(streamed if m.decode == "streamed" else [])
    chosen.append([f"decode_chunk_size={job.decode_chunk_size}"])
    return [setting for part in chosen for setting in part]
