"""The combinations of memory strategies that `fit` searches: what each keeps, needs and costs, by prediction."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from svdsweep.config import Job, Memory
from svdsweep.config.rules import typed
from svdsweep.errors import UserError
from svdsweep.predict.allowance import Allowance, fits, needed_gib
from svdsweep.predict.batch import outcomes, processes_here, simulators
from svdsweep.predict.gpus import Gpu, eager_floor_s
from svdsweep.predict.prediction import Prediction

OFFLOADS = ("baseline", "model_offload", "group_offload", "group_offload_blocks", "sequential_offload")
CHUNKS = (8, 2, 1)
PARTS = 4
"""How many parts transformer blocks run in: at 25 frames, with more the peak is elsewhere."""
BUDGETS_GIB = (8.0, 0.0)
"""What a streamed decode may hold of its frames: all of 25 frames of 576×1024 fit the first."""
PLAIN_UNET: dict[str, Any] = {"transformer_parts": None, "split_guidance": False}
"""Knobs that make no difference to a decode, at the values that are simulated for all."""
KNOBS = (
    *("transformer_parts", "split_guidance", "single_token_cross_attention", "guidance", "unet_weights"),
    "decode",
)
"""Knobs that the search decides beside the offload."""
FRAMES, LATENTS, OTHER = "the frames", "the latents", "nothing"
KEEPS = (FRAMES, LATENTS, OTHER)


@dataclass(frozen=True)
class Wish:
    """What is searched for: strategies under which a job fits `vram_gib`, ranked by their floor of latency on `gpu`."""

    vram_gib: float
    settings: Sequence[str]
    gpu: Gpu
    allowance: Allowance
    jobs_of: Callable[[Sequence[str]], list[Job]]
    """Gives the jobs of a grid from its settings, in the grammar of the command line."""


@dataclass(frozen=True)
class Candidate:
    """A combination, what it keeps, what it needs and how fast it can at best be."""

    wish: Wish
    job: Job
    prediction: Prediction

    @property
    def keeps(self) -> str:
        """What it shares with memory=baseline: the frames, the latents, or nothing."""
        if self.job.memory.unet_weights != "full" or not self.job.memory.guidance:
            return OTHER
        together = self.job.frames_per_decode == self.job.num_frames and not self.job.decodes_by_frame
        return FRAMES if together else LATENTS

    @property
    def needed_gib(self) -> float:
        """Device memory with the allowance for context and workspaces."""
        return needed_gib(self.prediction, self.wish.allowance)

    @cached_property
    def floor_s(self) -> float:
        """The floor of latency of the eager run on the wished GPU."""
        return eager_floor_s(self.prediction, self.wish.gpu)

    @property
    def settings(self) -> list[str]:
        """The settings that make this job of the search."""
        memory, usual = self.job.memory, Memory()
        knobs = [name for name in KNOBS if getattr(memory, name) != getattr(usual, name)]
        if memory.decode == "streamed":
            knobs.append("decode_budget_gib")
        chosen = [f"memory={memory.name.split('+')[0]}"]
        chosen += [f"memory.{name}={typed(getattr(memory, name))}" for name in knobs]
        return [*self.wish.settings, *chosen, f"decode_chunk_size={self.job.decode_chunk_size}"]

    @property
    def command(self) -> str:
        """What one types to run it."""
        return " ".join(["svdsweep", *self.settings])


def search(wish: Wish) -> list[Candidate]:
    """Combinations that keep the latents, predicted, one offload after the other from the fastest on, until something
    fits that a further one could not better; where nothing fits, also combinations that keep less. All frames are
    decoded together as a whole where that fits, and streamed where it does not."""
    candidates: list[Candidate] = []
    with simulators(processes_here()) as pool:
        for exact in (True, False):
            for offload in OFFLOADS:
                fronts = _candidates(wish, _space(wish, offload, exact), pool)
                candidates += fronts
                best = fitting(candidates, wish.vram_gib)
                if not best or best[0].keeps == LATENTS:
                    possible = [c for c in fronts if _fits_until_decode(c, wish.vram_gib)]
                    candidates += _streamed(wish, possible, pool)
                    best = fitting(candidates, wish.vram_gib)
                if best and (best[0].keeps != LATENTS or not _frames_possible(candidates, wish.vram_gib)):
                    return candidates
            if fitting(candidates, wish.vram_gib):
                return candidates
    return candidates


def fitting(candidates: Sequence[Candidate], vram_gib: float) -> list[Candidate]:
    """The candidates that surely fit: what keeps most first, then the fastest, then the smallest."""
    fit = [c for c in candidates if fits(c.prediction, vram_gib, c.wish.allowance)]
    return sorted(fit, key=lambda c: (KEEPS.index(c.keeps), c.floor_s, c.needed_gib, c.command))


def _frames_possible(candidates: Sequence[Candidate], vram_gib: float) -> bool:
    """Whether a decode of all frames together could fit with every weight elsewhere: its activations are the same
    under any offload."""
    decodes = [c.prediction.stages["vae_decode"] for c in candidates if c.keeps == FRAMES]
    return any(stage.peak_gib - stage.weights_gib <= vram_gib for stage in decodes)


def _fits_until_decode(c: Candidate, vram_gib: float) -> bool:
    others = {name: stage for name, stage in c.prediction.stages.items() if name != "vae_decode"}
    return fits(Prediction(others), vram_gib, c.wish.allowance)


def _space(wish: Wish, offload: str, exact: bool) -> list[str]:
    """The grid that is searched under one offload, as settings."""
    (job, *others) = wish.jobs_of(wish.settings)
    if others:
        raise UserError("fit searches strategies for one job; give each setting one value.")
    chunks = ["all", *(str(n) for n in CHUNKS if n < job.num_frames and not job.decodes_by_frame)]
    guided = job.max_guidance_scale > 1
    space = [f"memory={offload}", f"memory.transformer_parts=null,{PARTS}"]
    space += ["memory.single_token_cross_attention=true", f"decode_chunk_size={','.join(chunks)}"]
    if exact:
        return [*space, "memory.split_guidance=false,true"] if guided else space
    return [*space, *(["memory.guidance=false"] if guided else []), "memory.unet_weights=full,fp8"]


def _candidates(wish: Wish, space: Sequence[str], pool: Executor | None) -> list[Candidate]:
    jobs = wish.jobs_of([*wish.settings, *space])
    predicted = outcomes(jobs, pool=pool, kind=wish.gpu.kind)
    pairs = [(job, predicted[job.key]) for job in jobs]
    return [Candidate(wish, job, p) for job, p in pairs if isinstance(p, Prediction)]


def _streamed(wish: Wish, fronts: Sequence[Candidate], pool: Executor | None) -> list[Candidate]:
    """The candidates that decode all frames together, with a streamed decode instead, simulated once for all."""
    whole = [c for c in fronts if c.job.frames_per_decode == c.job.num_frames and not c.job.decodes_by_frame]
    jobs = [
        (c, replace(c.job, memory=replace(c.job.memory, decode="streamed", decode_budget_gib=gib)))
        for gib in BUDGETS_GIB
        if gib < wish.vram_gib
        for c in whole
    ]
    decodes = [replace(job, memory=replace(job.memory, **PLAIN_UNET)) for _, job in jobs]
    predicted = outcomes({job.key: job for job in decodes}.values(), pool=pool, kind=wish.gpu.kind)
    candidates = []
    for (front, job), alone in zip(jobs, decodes, strict=True):
        if isinstance(decode := predicted[alone.key], Prediction):
            stages = front.prediction.stages | {"vae_decode": decode.stages["vae_decode"]}
            candidates.append(Candidate(wish, job, Prediction(stages, front.prediction.notes)))
    return candidates
