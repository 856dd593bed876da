"""What each setting of memory=fastest and memory=smallest brings, one added at a time, and what did not help.

    python tests/performance/ablation.py [--model svd_xt] [--table ablation_fastest]
    python tests/performance/ablation.py --presets FOLDER [--device cpu]

Peaks, work and transfers of the full size are predicted; whether frames are kept is measured, with the embedded model
on the CPU. Needs no GPU. For what a step costs in time on one, the second form writes every row as a preset, which
`svdsweep --config-dir FOLDER memory=…` runs."""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import published

from svdsweep.config import Job, Memory
from svdsweep.grid.expand import expand
from svdsweep.predict.batch import predictions
from svdsweep.predict.gpus import eager_floor_s, floor_s, gpu_named
from svdsweep.predict.prediction import Prediction
from svdsweep.worker.contract import Slot

FRAMES = 10
ON_THE_CPU = {"offload_stream": False, "offload_record_stream": False, "cudnn_benchmark": False}
CAPTURED = {"compile_backend": "eager", "compile_mode": "default"}
"""On the CPU graphs are captured and not compiled: seconds, not minutes."""
GPU = "h200"
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
    Step("(channels-last without a compiler)", {"channels_last": True}, aside=True),
    Step("(and convolutions over time in 2-D)", {"channels_last": True, "temporal_conv2d": True}, aside=True),
    Step("(plain products for all attention)", {"fused_qkv": False, "attention": "eager"}, aside=True),
    Step("(products in fp8 without a compiler)", {"unet_weights": "fp8_products"}, aside=True),
    Step("+ UNet compiled", {"compile": "whole"}),
    Step("(its transformer blocks only)", {"compile": "regional"}, aside=True),
    Step("+ decoder compiled", {"compile_vae": True}),
    Step("+ channels-last", {"channels_last": True}),
    Step("+ convolutions over time in 2-D", {"temporal_conv2d": True}),
    Step("+ norms by channel", {"norms_by_channel": True}),
    Step("+ convolutions by trial", {"cudnn_benchmark": True}),
    Step("+ launching ahead", {"launch_ahead": True}),
    Step("(streamed decode, 8 GiB)", {"decode": "streamed", "compile_vae": False}, aside=True),
    Step("+ measured attention = fastest", {"attention": "measured"}),
    Step("(matrix products by trial)", {"compile_mode": "max-autotune-no-cudagraphs"}, aside=True),
    Step("(products in fp8)", {"unet_weights": "fp8_products"}, aside=True),
    Step("+ ten steps = fastest_aggressive", {"denoise_steps": 10, "sigmas": "ays"}),
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
    Step("+ no frame kept", {"decode_budget_gib": 0.0}),
    Step("+ launching ahead = smallest", {"launch_ahead": True}),
    Step(
        "(decode whole, 1 frame at a time)",
        {"decode": "whole", "decode_budget_gib": Memory().decode_budget_gib},
        chunk=1,
        aside=True,
    ),
)


ROADS = {"ablation": SMALLEST, "ablation_fastest": FASTEST}
"""By the name of the table."""
TITLES = {
    "ablation": "Towards memory=smallest, one setting at a time",
    "ablation_fastest": "Towards memory=fastest and memory=fastest_aggressive, one setting at a time",
}


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


def on_the_cpu(knobs: dict[str, object]) -> dict[str, object]:
    """Without streams, which there are none of, and without minutes of compiling."""
    compiled = knobs.get("compile", "none") != "none"
    return {**knobs, **ON_THE_CPU, **(CAPTURED if compiled else {})}


def write_presets(folder: Path, device: str) -> None:
    """Every step as `<folder>/memory/<table>_<number>.yaml`."""
    (folder / "memory").mkdir(parents=True, exist_ok=True)
    for table, steps in ROADS.items():
        for number, (step, knobs) in enumerate(settled(steps)):
            name = f"{table}_{number:02}"
            memory = {"name": f"{number:02} {step.name}", **(on_the_cpu(knobs) if device == "cpu" else knobs)}
            lines = ["# @package _global_", f"# {step.name}", f"memory: {json.dumps(memory)}"]
            text = "\n".join([*lines, f"decode_chunk_size: {step.chunk}", ""])
            (folder / "memory" / f"{name}.yaml").write_text(text, encoding="utf-8")


def equalities(steps: list[tuple[Step, dict[str, object]]]) -> list[tuple[str, object]]:
    """The class of each step's frames against the baseline's, and their PSNR (dB): the embedded model on the CPU."""
    from svdsweep.worker.worker import load

    (job,) = expand(
        ["memory=baseline", f"num_frames={FRAMES}", "num_inference_steps=25", "metrics=none"]
    ).jobs
    base = replace(job, baseline=job.key)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        work = load(Slot("cpu", Path(folder), 1))
        work(base, 1, lambda *_: None)
        for step, knobs in steps:
            row = work(under(base, step, on_the_cpu(knobs)), 1, lambda *_: None)
            if row.status == "rejected" and "a GPU" in row.error:
                found.append(("needs a GPU", None))
                continue
            assert row.status == "ok", f"{step.name}: {row.error}"
            found.append((str(row.values["equality"]), row.values.get("psnr_to_baseline_db")))
    return found


def row(step: Step, summary: Prediction | None, equality: tuple[str, object]) -> dict[str, object]:
    """Of the table."""
    assert summary, step.name
    stages, gpu = summary.stages, gpu_named(GPU)
    return {
        "step": step.name,
        "frames": equality[0],
        "PSNR, dB": equality[1],
        "peak, GiB": summary.peak_gib,
        "denoise": stages["denoise"].peak_gib,
        "decode": stages["vae_decode"].peak_gib,
        "encode": stages["vae_encode"].peak_gib,
        "TFLOP": summary.tflop,
        "floor, s": floor_s(summary, gpu),
        "eager floor, s": eager_floor_s(summary, gpu),
        "read and written, TiB": sum(s.moved_gib for s in stages.values()) / 1024,
        "to the device, GiB": sum(s.h2d_gib for s in stages.values()),
        "back, GiB": sum(s.d2h_gib for s in stages.values()),
        "host memory for frames, GiB": stages["vae_decode"].host_gib,
        "operations, thousand": sum(k.count for s in stages.values() for k in s.kernels) / 1000,
    }


def publish(out: Path, model: str, names: list[str]) -> None:
    """Print and publish the tables of these names."""
    (job,) = expand([f"model={model}", "model.weights=random", "memory=baseline"]).jobs
    for name in names:
        all_steps = list(settled(ROADS[name]))
        jobs = [under(job, *step) for step in all_steps]
        found = predictions(jobs, compute=True)
        equality = equalities(all_steps)
        published.publish(
            out,
            name,
            TITLES[name],
            f"{model}, {job.num_frames} frames of {job.height}×{job.width}, {job.num_inference_steps} steps, "
            f"{job.model.dtype}, guided: live tensors with cuDNN's copies, work and "
            "transfers as predicted, what is compiled as the eager "
            f"run. The floors are those of `svdsweep predict --gpu {GPU}`, by published rates. `frames` and PSNR: of "
            f"the embedded model on the CPU ({FRAMES} frames, 25 steps, float32) against its baseline, measured; "
            "streams left out, graphs captured but not compiled. A row in brackets was tried in that place and is not "
            "in the rows below it.",
            [row(s, found[j.key], e) for (s, _), j, e in zip(all_steps, jobs, equality, strict=True)],
        )


def main() -> None:
    """Publish the tables, or write the presets."""
    parser: argparse.ArgumentParser = published.options(__doc__)
    parser.add_argument("--model", default="svd_xt")
    parser.add_argument("--table", nargs="+", choices=list(ROADS), default=list(ROADS), help="only these")
    parser.add_argument("--presets", type=Path, help="write every row as a preset under this folder, and end")
    parser.add_argument("--device", default="0", help="what the presets are for: cpu, or a GPU")
    asked = parser.parse_args()
    if asked.presets:
        write_presets(asked.presets, asked.device)
    else:
        publish(asked.out, asked.model, asked.table)


if __name__ == "__main__":
    main()
