"""The combinations of memory strategies and steps that `fit` searches: what each keeps, needs and costs, by
prediction."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from svdsweep.config import Job, Memory
from svdsweep.config.rules import typed
from svdsweep.errors import UserError
from svdsweep.memory.conflicts import why_not
from svdsweep.memory.per_run import steps_of, turns_of, unet_calls_of
from svdsweep.predict.allowance import Allowance, fits, needed_gib
from svdsweep.predict.batch import outcomes, processes_here, simulators
from svdsweep.predict.gpus import Gpu, eager_floor_s
from svdsweep.predict.prediction import Prediction
from svdsweep.predict.steps import most_steps, with_steps

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
    *("decode", "denoise_steps", "sigmas"),
)
"""Knobs that the search decides beside the offload."""
LEAST_CALLS = 4
"""Of the UNet: with fewer, nothing here was ever tried."""
SCHEDULES = ("ays", "model")
"""Noise levels of fewer steps, the nearer to the frames of all steps first; the second where the job asks for the
first itself. A step cache at as many calls drifts more (svdsweep/memory/README.md)."""
OF_STEPS = ("denoise_steps", "sigmas", "step_cache")
"""Knobs that a preset of one's own may have to be a way to fewer steps under any strategy."""
FRAMES, LATENTS, LIKENESS, OTHER = "the frames", "the latents", "a likeness", "nothing"
KEEPS = (FRAMES, LATENTS, LIKENESS, OTHER)


@dataclass(frozen=True)
class Wish:
    """What is searched for: strategies under which a job fits `vram_gib`, ranked by their floor of latency on `gpu`;
    with `seconds`, and as few steps as that floor needs to be no more."""

    vram_gib: float
    settings: Sequence[str]
    gpu: Gpu
    allowance: Allowance
    jobs_of: Callable[[Sequence[str]], list[Job]]
    """Gives the jobs of a grid from its settings, in the grammar of the command line."""
    seconds: float | None = None
    presets: Sequence[Memory] = ()
    """Presets of one's own with fewer steps."""
    config_dir: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A combination, what it keeps, what it needs and how fast it can at best be."""

    wish: Wish
    job: Job
    prediction: Prediction
    preset: Memory | None = None
    """The preset of one's own that it takes its steps from."""

    @property
    def keeps(self) -> str:
        """What it shares with memory=baseline: the frames, the latents, a likeness (fewer steps), or nothing."""
        memory = self.job.memory
        if memory.unet_weights != "full" or not memory.guidance:
            return OTHER
        if _steps_of(memory) != _steps_of(Memory()):
            return LIKENESS
        return FRAMES if self.decodes_together else LATENTS

    @property
    def decodes_together(self) -> bool:
        """Whether all frames are decoded at once, which leaves no seams."""
        return self.job.frames_per_decode == self.job.num_frames and not self.job.decodes_by_frame

    @property
    def calls(self) -> int:
        """Calls of the UNet in a run."""
        return unet_calls_of(self.job)

    @property
    def in_time(self) -> bool:
        """Whether its floor of latency is no more than the seconds that are wished for, if any are."""
        return self.wish.seconds is None or self.floor_s <= self.wish.seconds

    @property
    def in_memory(self) -> bool:
        """Whether it surely fits the memory that is wished for."""
        return fits(self.prediction, self.wish.vram_gib, self.wish.allowance)

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
        memory, usual = self.job.memory, self.preset or Memory()
        searched = [f.name for f in fields(Memory) if f.name != "name"] if self.preset else KNOBS
        knobs = [name for name in searched if getattr(memory, name) != getattr(usual, name)]
        if memory.decode == "streamed" and "decode_budget_gib" not in knobs:
            knobs.append("decode_budget_gib")
        chosen = [f"memory={memory.name.split('+')[0]}"]
        chosen += [f"memory.{name}={typed(getattr(memory, name))}" for name in knobs]
        return [*self.wish.settings, *chosen, f"decode_chunk_size={self.job.decode_chunk_size}"]

    @property
    def command(self) -> str:
        """What one types to run it."""
        presets = ["--config-dir", shlex.quote(self.wish.config_dir)] if self.wish.config_dir else []
        return " ".join(["svdsweep", *presets, *self.settings])


def search(wish: Wish) -> list[Candidate]:
    """Combinations that keep the latents, predicted, one offload after the other from the fastest on, until something
    fits that a further one could not better; where nothing fits, also combinations that keep less. All frames are
    decoded together as a whole where that fits, and streamed where it does not. What fits the memory and not the time
    that is wished for is there in fewer steps, too."""
    candidates: list[Candidate] = []
    with simulators(processes_here()) as pool:
        for exact in (True, False):
            before = len(candidates)
            for offload in OFFLOADS:
                candidates += _under(wish, offload, exact, candidates, pool)
                best = fitting(candidates, wish.vram_gib)
                if best and (best[0].keeps != LATENTS or not _frames_possible(candidates, wish.vram_gib)):
                    return candidates
                if not best and any(c.in_memory for c in candidates[before:]):
                    break  # too slow already, and what is offloaded more is slower
            if fitting(candidates, wish.vram_gib):
                return candidates
    return candidates


def _under(
    wish: Wish, offload: str, exact: bool, before: Sequence[Candidate], pool: Executor | None
) -> list[Candidate]:
    """The candidates of one offload, with a streamed decode too where nothing fits yet, or only with seams."""
    fronts = _candidates(wish, _space(wish, offload, exact), pool)
    candidates = _with_fewer_steps(fronts)
    best = fitting([*before, *candidates], wish.vram_gib)
    if not best or (best[0].keeps in (LATENTS, LIKENESS) and not best[0].decodes_together):
        possible = [c for c in fronts if _fits_until_decode(c, wish.vram_gib)]
        candidates += _with_fewer_steps(_streamed(wish, possible, pool))
    return candidates


def fitting(candidates: Sequence[Candidate], vram_gib: float) -> list[Candidate]:
    """The candidates that surely fit, in the seconds that are wished for if any are: what keeps most first, of fewer
    steps the most, on noise levels of one's own before the published ones; then the fastest, then the smallest."""
    fit = [c for c in candidates if fits(c.prediction, vram_gib, c.wish.allowance) and c.in_time]
    return sorted(fit, key=lambda c: (KEEPS.index(c.keeps), *_drift(c), c.floor_s, c.needed_gib, c.command))


def _drift(c: Candidate) -> tuple[bool, int, bool]:
    """How far from the frames of all steps it is among those that keep as much: by the seams of a decode in chunks, by
    calls, then by levels."""
    fewer = _steps_of(c.job.memory) != _steps_of(Memory())
    return fewer and not c.decodes_together, -c.calls, c.preset is None


def nearest(candidates: Sequence[Candidate]) -> tuple[Candidate | None, Candidate | None]:
    """Of candidates none of which fits both: the fastest that fits the memory, and the one of the least memory that is
    in time; None for a side on which there is none."""
    small = min((c for c in candidates if c.in_memory), key=lambda c: c.floor_s, default=None)
    fast = min((c for c in candidates if c.in_time), key=lambda c: c.needed_gib, default=None)
    return small, fast


def _with_fewer_steps(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates, and behind each that is too slow itself in fewer steps."""
    return [each for c in candidates for each in (c, *([] if c.in_time else _fewer_steps(c)))]


def _fewer_steps(c: Candidate) -> Iterator[Candidate]:
    """A candidate in as many steps as the wished seconds have room for, or in the least, and by each preset of one's
    own; what is impossible of the job is left out."""
    calls = most_steps(c.prediction, c.job, c.wish.gpu, c.wish.seconds or 0.0)
    steps = max(LEAST_CALLS, calls * steps_of(c.job) // turns_of(c.job))
    levels = ({"denoise_steps": steps, "sigmas": schedule} for schedule in SCHEDULES)
    possible = next(filter(None, (_stepping(c, knobs, None) for knobs in levels)), None)
    presets = [_stepping(c, _steps_of(p) | {"name": p.name}, p) for p in c.wish.presets]
    yield from filter(None, [possible, *presets])


def _stepping(c: Candidate, knobs: dict[str, Any], preset: Memory | None) -> Candidate | None:
    """A candidate with other knobs of its steps; None where that is impossible, or spares no call of the UNet."""
    job = replace(c.job, memory=replace(c.job.memory, **knobs))
    calls = unet_calls_of(job)
    if calls >= c.calls or any(why_not(job, kind) for kind in {c.wish.gpu.kind, "cuda"}):
        return None
    return Candidate(c.wish, job, with_steps(c.prediction, c.job, calls), preset)


def _steps_of(memory: Memory) -> dict[str, Any]:
    return {name: getattr(memory, name) for name in OF_STEPS}


def saves_steps_only(preset: Memory) -> bool:
    """Whether a preset changes nothing but steps, and so goes with any strategy."""
    usual = Memory()
    changed = {f.name for f in fields(Memory) if getattr(preset, f.name) != getattr(usual, f.name)}
    return bool(changed & set(OF_STEPS)) and changed <= {"name", *OF_STEPS}


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
