"""What a grid's jobs will do, but perhaps not as hoped: a sentence each, told before anything runs."""

from collections import Counter
from collections.abc import Sequence

from svdsweep.config import Job
from svdsweep.config.adapters import NONE
from svdsweep.config.parts import OWN
from svdsweep.grid.pictures import doubts_of_pictures, multiple_px
from svdsweep.models.locate import doubts_about

COLLAPSED_AT_MOST = 3
"""Examples of points that are one job."""
Apart = tuple[tuple[str, str, str], ...]
"""In what two points of a grid differ: (setting, value, the first point's value), as typed."""


def doubts_of(jobs: Sequence[Job], swept: Sequence[str], same: Counter[Apart]) -> list[str]:
    """Every doubt about a grid's jobs; `swept` are its axes, `same` counts the points that are another's job."""
    of_jobs = sorted({doubt for job in jobs for doubt in doubts(job)})
    return [*doubts_of_pictures(jobs), *of_jobs, *collapsed(same), *alike(jobs), *overruled(jobs, swept)]


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
    plain = (job.model.unet, job.model.lora, job.model.weights) == (OWN, NONE, "pretrained")
    if job.model.scheduler == "animatelcm" and plain:
        whose = f"{job.model.name} has its own UNet (model=animatelcm_svd_xt brings one)"
        warnings.append(f"model.scheduler=animatelcm is for weights distilled to a few steps; {whose}.")
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


def collapsed(same: Counter[Apart]) -> list[str]:
    """How many points of the grid are the same job as another, and by which values."""
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
