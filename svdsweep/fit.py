"""The verb `fit`: the fastest strategies that are predicted to fit a card, exact ones first, as ready commands."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from svdsweep.config import Job
from svdsweep.predict.command import grid_without_weights
from svdsweep.predict.fitting import ALLOWANCE, Allowance, allowance_for, needed_gib, verdict
from svdsweep.predict.gpus import Gpu, eager_floor_s, known_gpus
from svdsweep.predict.here import gpu_asked
from svdsweep.predict.predictions import outcomes, processes_here
from svdsweep.predict.summary import Summary
from svdsweep.schema import UserError, nearest
from svdsweep.terminal import table

FLAGS = ("--vram", "--gpu", "--show", "--measure", "--json", "--config-dir", "--help")
CHOSEN = ("memory", "decode_chunk_size", "seed", "gpu.memory_limit_gib", "name")
"""What `fit` decides, or what makes no difference to it."""
OFFLOADS = ("baseline", "model_offload", "group_offload", "group_offload_blocks", "sequential_offload")
CHUNKS = (14, 8, 5, 4, 2, 1)
SHOWN = 3
FRAMES, LATENTS, OTHER = "the frames", "the latents", "nothing"
KEEPS = (FRAMES, LATENTS, OTHER)
MEANING = {
    FRAMES: "same frames as memory=baseline (differences of rounding)",
    LATENTS: "same latents; decoded in chunks, which leaves faint seams between them",
    OTHER: "other pictures: without guidance, or with weights in fp8",
}
USAGE = """\
svdsweep fit --vram GIB [SETTING=VALUE …] [--gpu NAME] [--show N] [--measure] [--json] [--config-dir DIR]

The fastest strategies that are predicted to fit a card, those that keep the frames first. model=svd_xt unless you say
otherwise; any setting of one job may be given, but memory and decode_chunk_size, which are searched. Ranked by the
floor of latency on --gpu (as in predict; `here` is the GPU of this machine, which doctor measures), or on a published
card of that size. --measure runs the best few and tells whether they fit.

  svdsweep fit --vram 8
  svdsweep fit --vram 12 model=svd num_frames=14 --gpu rtx4090
"""


@dataclass(frozen=True)
class Request:
    """A command line of `fit`."""

    vram_gib: float
    settings: list[str] = field(default_factory=list)
    gpu: Gpu | None = None
    show: int = SHOWN
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


def main(argv: Sequence[str]) -> int:
    """Answer `svdsweep fit …`; the exit code, or UserError."""
    if any(a in ("--help", "-h") for a in argv):
        print(USAGE)
        return 0
    request = parse(argv)
    gpu = request.gpu or card_of(request.vram_gib)
    found = search(request, gpu)
    best = fitting(found, request.vram_gib)[: request.show]
    if request.json:
        print(json.dumps(plain(request, gpu, best, found), indent=1))
    else:
        print(text(request, gpu, best, found))
    return measured(request, best) if request.measure and best else 0


def parse(argv: Sequence[str]) -> Request:
    """The flags and settings. Raises UserError."""
    facts: dict[str, Any] = {"settings": []}
    rest = iter(argv)
    for argument in rest:
        flag, _, value = argument.partition("=")
        if flag in ("--measure", "--json"):
            facts[flag.removeprefix("--")] = True
        elif flag in ("--vram", "--gpu", "--show", "--config-dir"):
            value = value or next(rest, "")
            facts |= _valued(flag, value)
        elif flag.startswith("-"):
            raise UserError(
                f"{flag} is no flag of svdsweep fit.{nearest(flag, FLAGS)} They are {', '.join(FLAGS)}."
            )
        elif flag.split(".")[0] in CHOSEN or flag in CHOSEN:
            raise UserError(
                f"{argument}: fit searches memory and decode_chunk_size by itself; leave {flag} out."
            )
        else:
            facts["settings"].append(argument)
    if "vram_gib" not in facts:
        raise UserError("fit wants the size of the card: `svdsweep fit --vram 8` (GiB).")
    if not any(s.split("=")[0] == "model" for s in facts["settings"]):
        facts["settings"].insert(0, "model=svd_xt")
    return Request(**facts)


def card_of(vram_gib: float) -> Gpu:
    """The smallest card of the published table with that much memory; the largest if none has."""
    cards = sorted(known_gpus().values(), key=lambda gpu: gpu.memory_gib)
    return next((gpu for gpu in cards if gpu.memory_gib >= vram_gib), cards[-1])


def search(request: Request, gpu: Gpu) -> list[Candidate]:
    """Combinations that keep the latents, predicted, one offload after the other from the fastest on, until something
    fits that a further one could not better; where nothing fits, also combinations that keep less."""
    found: list[Candidate] = []
    for exact in (True, False):
        for offload in OFFLOADS:
            found += _candidates(request, gpu, _space(request, offload, exact))
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


def text(request: Request, gpu: Gpu, best: Sequence[Candidate], found: Sequence[Candidate]) -> str:
    """The best as a table and as commands; or that there are none, and the nearest."""
    if not best:
        if not found:
            return "No combination could be predicted; `svdsweep predict` tells why."
        least = min(found, key=lambda c: c.needed_gib)
        return (
            f"None of {len(found)} combinations fits {request.vram_gib:g} GiB. The nearest needs "
            f"{least.needed_gib:.2f} GiB ({least.summary.peak_gib:.2f} GiB of live tensors in "
            f"{least.summary.peak_stage}, with {least.allowance.words}) and keeps {least.keeps}:\n  {least.command}"
        )
    header = ["keeps", "peak_gib", "needed_gib", "peak in", "tflop", "floor_s"]
    lines = [
        [
            c.keeps,
            f"{c.summary.peak_gib:.2f}",
            f"{c.needed_gib:.2f}",
            c.summary.peak_stage,
            f"{c.summary.tflop:.0f}",
            f"{c.floor_s:.1f}",
        ]
        for c in best
    ]
    blocks = [table(header, lines, [False, True, True, False, True, True]), ""]
    blocks += [c.command for c in best]
    blocks.append("")
    blocks += [f"keeps {kept}: {MEANING[kept]}." for kept in KEEPS if any(c.keeps == kept for c in best)]
    if best[0].keeps != FRAMES:
        whole = min((c for c in found if c.keeps == FRAMES), key=lambda c: c.needed_gib, default=None)
        blocks += [f"To keep the frames takes {whole.needed_gib:.2f} GiB: {whole.command}"] if whole else []
    blocks.append(f"Predicted, {len(found)} combinations. needed_gib: peak_gib with {best[0].allowance.words}.")
    blocks.append(f"floor_s on {gpu.title} at {gpu.basis}, for the order only.")
    return "\n".join(blocks)


def plain(
    request: Request, gpu: Gpu, best: Sequence[Candidate], found: Sequence[Candidate]
) -> dict[str, Any]:
    """For JSON."""
    least = min(found, key=lambda c: c.needed_gib, default=None)
    return {
        "vram_gib": request.vram_gib,
        "gpu": gpu.title,
        "searched": len(found),
        "best": [_facts(c) for c in best],
        "nearest": _facts(least) if least and not best else None,
    }


def measured(request: Request, best: Sequence[Candidate]) -> int:
    """Run the best under a cap of the card's size and say for each whether it fits. Raises UserError without a GPU."""
    from svdsweep import sweep
    from svdsweep.cli import Request as GridRequest
    from svdsweep.grid import expand
    from svdsweep.runner.devices import discover
    from svdsweep.store import Store

    if discover("auto") == ["cpu"]:
        raise UserError("--measure needs a GPU, and there is none here; without it, fit predicts.")
    code = 0
    for c in best:
        cap = [f"gpu.memory_limit_gib={request.vram_gib:g}", f"name=fit-{request.vram_gib:g}gb"]
        settings = [*c.settings, *cap]
        code = max(code, sweep.run(GridRequest(settings, False, request.config_dir)))
        grid = expand(settings, request.config_dir)
        row = Store(Path(grid.folder)).rows().get(grid.jobs[0].key)
        peak = row.values.get("vram_allocated_peak_gib") if row else None
        told = f"{peak:.2f} GiB measured" if isinstance(peak, float) else "no peak measured"
        print(
            f"{row.status if row else 'no row'}: {told}, {c.summary.peak_gib:.2f} GiB predicted: {c.command}"
        )
    return code


def _valued(flag: str, value: str) -> dict[str, Any]:
    if not value:
        raise UserError(f"{flag} wants a value.")
    if flag == "--gpu":
        return {"gpu": gpu_asked(value)}
    if flag == "--config-dir":
        return {"config_dir": value}
    try:
        number = float(value)
        if not 0 < number < 10_000 or (flag == "--show" and number != int(number)):
            raise ValueError
    except ValueError as e:
        wanted = (
            "how many to show, a whole number"
            if flag == "--show"
            else "the card's memory in GiB, as in 8 or 7.8"
        )
        raise UserError(f"{flag} {value} is not possible: it is {wanted}.") from e
    return {"show": int(number)} if flag == "--show" else {"vram_gib": number}


def _frames_possible(found: Sequence[Candidate], vram_gib: float) -> bool:
    """Whether a decode of all frames together could fit with every weight elsewhere: its activations are the same
    under any offload."""
    decodes = [c.summary.stages["vae_decode"] for c in found if c.keeps == FRAMES]
    return any(stage.peak_gib - stage.weights_gib <= vram_gib for stage in decodes)


def _space(request: Request, offload: str, exact: bool) -> list[str]:
    """The grid that is searched under one offload, as settings."""
    (job, *others) = grid_without_weights(request.settings, request.config_dir).jobs
    if others:
        raise UserError("fit searches strategies for one job; give each setting one value.")
    halves = [n for n in range(2, job.num_frames) if job.num_frames % n == 0][-2:] or [1]
    chunks = ["all", *(str(n) for n in CHUNKS if n < job.num_frames)]
    guided = job.max_guidance_scale > 1
    space = [
        f"memory={offload}",
        f"memory.forward_chunk_size=null,{','.join(map(str, halves))}",
        "memory.single_token_cross_attention=true",
        f"decode_chunk_size={','.join(chunks)}",
    ]
    if exact:
        return [*space, "memory.split_guidance=false,true"] if guided else space
    return [*space, *(["memory.guidance=false"] if guided else []), "memory.unet_weights=full,fp8"]


def _candidates(request: Request, gpu: Gpu, space: Sequence[str]) -> list[Candidate]:
    grid = grid_without_weights([*request.settings, *space], request.config_dir)
    found: Mapping[str, Any] = outcomes(grid.jobs, processes=processes_here())
    allowance = allowance_for(request.gpu.title if request.gpu else None, grid.folder)
    return [
        Candidate(job, _settings(request, job), _keeps(job), summary, eager_floor_s(summary, gpu), allowance)
        for job in grid.jobs
        if isinstance(summary := found[job.key], Summary)
    ]


def _keeps(job: Job) -> str:
    m = job.memory
    if m.unet_weights != "full" or not m.guidance:
        return OTHER
    return FRAMES if job.frames_per_decode == job.num_frames else LATENTS


def _settings(request: Request, job: Job) -> list[str]:
    """The settings that make this job of the search."""
    m = job.memory
    chosen = [request.settings, [f"memory={m.name.split('+')[0]}"]]
    chosen.append([f"memory.forward_chunk_size={m.forward_chunk_size}"] if m.forward_chunk_size else [])
    chosen.append(["memory.split_guidance=true"] if m.split_guidance else [])
    chosen.append(["memory.single_token_cross_attention=true"])
    chosen.append(["memory.guidance=false"] if not m.guidance else [])
    chosen.append([f"memory.unet_weights={m.unet_weights}"] if m.unet_weights != "full" else [])
    chosen.append([f"decode_chunk_size={job.decode_chunk_size}"])
    return [setting for part in chosen for setting in part]


def _facts(c: Candidate) -> dict[str, Any]:
    return {
        "command": c.command,
        "keeps": c.keeps,
        "predicted_vram_gib": c.summary.peak_gib,
        "needed_vram_gib": c.needed_gib,
        "allowance": c.allowance.words,
        "peak_stage": c.summary.peak_stage,
        "tflop": c.summary.tflop,
        "eager_floor_s": c.floor_s,
    }
