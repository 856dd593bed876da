"""What each setting of memory=fastest and memory=smallest brings, one added at a time, and what did not help.

    python tests/performance/ablation.py [--model svd_xt]

Peaks, work and transfers of the full size are predicted; whether frames are kept is measured, with the embedded model
on the CPU. Needs no GPU; what a step costs in time on one is not told here."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import published

from svdsweep.config import Job, Memory
from svdsweep.grid import expand
from svdsweep.predict import summaries
from svdsweep.predict.summary import Summary
from svdsweep.runner.contract import Place

FRAMES = 10
ON_THE_CPU = {"offload_stream": False, "offload_record_stream": False}
STREAM = {"offload_stream": True, "offload_record_stream": True}


@dataclass(frozen=True)
class Step:
    """A row of the table: knobs that are added to those of the row before, or set in place of its own in `aside` rows,
    which the row after does not inherit."""

    name: str
    knobs: dict[str, object]
    chunk: int | str = "all"
    aside: bool = False


FASTEST = (
    Step("baseline", {}),
    Step("+ single token", {"single_token_cross_attention": True}),
    Step("+ fused QKV", {"fused_qkv": True}),
    Step("+ channels-last", {"channels_last": True}),
    Step("(streamed decode instead of whole, 8 GiB)", {"decode": "streamed"}, aside=True),
)
SMALLEST = (
    Step("baseline", {}),
    Step("(8 frames a decode)", {}, chunk=8, aside=True),
    Step("+ single token", {"single_token_cross_attention": True}),
    Step("+ offload by components", {"offload": "model"}),
    Step("+ decode streamed, 8 GiB of frames kept", {"decode": "streamed"}),
    Step("+ split guidance", {"split_guidance": True}),
    Step("(feed-forward chunks of 5 frames)", {"forward_chunk_size": 5}, aside=True),
    Step("(feed-forward chunks of 1 frame)", {"forward_chunk_size": 1}, aside=True),
    Step("(transformer blocks in 2 parts)", {"transformer_parts": 2}, aside=True),
    Step("+ transformer blocks in 4 parts", {"transformer_parts": 4}),
    Step("(transformer blocks in 8 parts)", {"transformer_parts": 8}, aside=True),
    Step("(offload by layers, blocking)", {"offload": "sequential"}, aside=True),
    Step("+ offload by layers on a stream", {"offload": "group_leaf", **STREAM}),
    Step("+ no frame kept = smallest", {"decode_budget_gib": 0.0}),
    Step(
        "(decode whole, 1 frame at a time)",
        {"decode": "whole", "decode_budget_gib": Memory().decode_budget_gib},
        chunk=1,
        aside=True,
    ),
)


def settled(steps: tuple[Step, ...]) -> Iterator[tuple[Step, dict[str, object]]]:
    """Each step with all its knobs."""
    kept: dict[str, object] = {}
    for step in steps:
        yield step, {**kept, **step.knobs}
        if not step.aside:
            kept |= step.knobs


def under(job: Job, step: Step, knobs: dict[str, object]) -> Job:
    """A job under a step's strategy."""
    memory = Memory(name=step.name, **knobs)  # type: ignore[arg-type]
    return replace(job, memory=memory, decode_chunk_size=step.chunk)


def equalities(steps: list[tuple[Step, dict[str, object]]]) -> list[str]:
    """The class of each step's frames against the baseline's, with the embedded model on the CPU; streams, which there
    are none of, left out."""
    from svdsweep.worker import load

    (job,) = expand(["memory=baseline", f"num_frames={FRAMES}", "num_inference_steps=3", "metrics=none"]).jobs
    base = replace(job, baseline=job.key)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        work = load(Place("cpu", Path(folder), 1))
        work(base, 1, lambda *_: None)
        for step, knobs in steps:
            if knobs.get("offload") == "sequential":
                found.append("needs a GPU")
                continue
            row = work(under(base, step, {**knobs, **ON_THE_CPU}), 1, lambda *_: None)
            assert row.status == "ok", f"{step.name}: {row.error}"
            found.append(str(row.values["equality"]))
    return found


def row(step: Step, summary: Summary | None, equality: str) -> dict[str, object]:
    """Of the table."""
    assert summary, step.name
    stages = summary.stages
    return {
        "step": step.name,
        "frames": equality,
        "peak, GiB": summary.peak_gib,
        "denoise": stages["denoise"].peak_gib,
        "decode": stages["vae_decode"].peak_gib,
        "encode": stages["vae_encode"].peak_gib,
        "TFLOP": summary.tflop,
        "read and written, TiB": sum(s.moved_gib for s in stages.values()) / 1024,
        "to the device, GiB": sum(s.h2d_gib for s in stages.values()),
        "back, GiB": sum(s.d2h_gib for s in stages.values()),
        "host memory for frames, GiB": stages["vae_decode"].host_gib,
        "operations, thousand": sum(k.count for s in stages.values() for k in s.kernels) / 1000,
    }


def main() -> None:
    """Print and publish both tables."""
    parser = published.options(__doc__)
    parser.add_argument("--model", default="svd_xt")
    asked = parser.parse_args()
    (job,) = expand([f"model={asked.model}", "model.weights=random", "memory=baseline"]).jobs
    for name, title, steps in (
        ("ablation", "Towards memory=smallest, one setting at a time", SMALLEST),
        ("ablation_fastest", "Towards memory=fastest, one setting at a time, without compilation", FASTEST),
    ):
        all_steps = list(settled(steps))
        jobs = [under(job, *step) for step in all_steps]
        found = summaries(jobs, compute=True)
        equality = equalities(all_steps)
        published.publish(
            asked.out,
            name,
            title,
            f"{asked.model}, {job.num_frames} frames of {job.height}×{job.width}, {job.num_inference_steps} steps, "
            f"{job.model.dtype}, guided: live tensors, work and transfers as predicted. `frames`: those of the "
            f"embedded model on the CPU ({FRAMES} frames, float32) against its baseline, measured; streams left out. A "
            "row in brackets was tried in that place and is not in the rows below it.",
            [row(s, found[j.key], e) for (s, _), j, e in zip(all_steps, jobs, equality, strict=True)],
        )


if __name__ == "__main__":
    main()
