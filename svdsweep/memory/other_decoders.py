"""What becomes of the temporal decoder's knobs where another one decodes, frame by frame. No torch: `plan` asks too."""

import dataclasses
from collections.abc import Iterator

from svdsweep.config import Job, Memory
from svdsweep.config.keys import canonical

ITS_KNOBS = ("decode", "decode_budget_gib")
"""Knobs of `Memory` that say how the temporal decoder holds its frames; `decode_chunk_size` is the third of them."""
CUDA_GRAPHS = ("reduce-overhead", "max-autotune")


def applied(job: Job) -> Memory:
    """The strategy as it is applied: the temporal decoder's knobs are passed over where another one decodes."""
    if not job.decodes_by_frame:
        return job.memory
    plain = Memory()
    return dataclasses.replace(job.memory, **{name: getattr(plain, name) for name in ITS_KNOBS})


def passed_over(job: Job) -> list[str]:
    """A note on the settings of a job that are not applied, if there are any."""
    if not job.decodes_by_frame:
        return []
    asked = [f"memory.{name}" for name in ITS_KNOBS if name in canonical(job.memory)]
    asked += ["decode_chunk_size"] * (job.decode_chunk_size != "all")
    how = f"model.decoder={job.model.decoder} decodes frame by frame"
    return [f"{', '.join(asked)} passed over: {how}"] if asked else []


def conflicts(job: Job, device_kind: str) -> Iterator[str]:
    """Why a strategy does not go with another decoder, or would change nothing there."""
    m, name = job.memory, job.model.decoder
    if not job.decodes_by_frame:
        return
    if not canonical(m).keys() - {*ITS_KNOBS}:
        told = f"model.decoder={name} decodes frame by frame, at the memory of one"
        if m.decode == "streamed":
            yield f"{told}: decode=streamed would change nothing; it belongs to model.decoder=temporal."
        elif job.decode_chunk_size != "all":
            yield f"{told}: decode_chunk_size={job.decode_chunk_size} would save nothing; leave it at all."
    if m.norms_by_channel and m.compile != "whole" and name != "image":
        yield f"norms_by_channel without compile=whole: model.decoder={name} has no group norms."
    if name == "taesdv" and m.compile_vae and m.compile_mode in CUDA_GRAPHS:
        yield (
            f"compile_vae with compile_mode={m.compile_mode}: CUDA graphs write over what model.decoder=taesdv "
            "remembers of the frame before; leave compile_mode at default."
        )
