"""The flat table: which columns a row has, in which order, and which of them tell a sweep's jobs apart."""

import dataclasses

import pytest

from svdsweep.config import Gpu, Image, Job, Measure, Memory, Model
from svdsweep.store.columns import GENERATION, LAST, MEASURED, asked_for, flat, identity, union, varying
from svdsweep.store.measurements import Measurements
from svdsweep.store.rows import Row

JOB = Job(
    model=Model(name="svd_xt", dtype="float16", weights="random", architecture="svd_xt"),
    image=Image(name="rocket"),
    memory=Memory(name="mine", offload="model", extra=["a.b", "c.d"]),
    measure=Measure(name="careful"),
    gpu=Gpu(memory_limit_gib=8.0),
    seed=3,
    motion_bucket_id=60,
    noise_aug_strength=0.5,
    fps=8,
    num_frames=6,
    height=64,
    width=96,
    num_inference_steps=4,
    decode_chunk_size=2,
    min_guidance_scale=1.5,
    max_guidance_scale=2.5,
)
ROW = Row(
    JOB,
    "failed",
    attempt=2,
    error="boom",
    phase="denoise",
    values={"motion_px": 1.0, "total_s": 2.5, "video": "a.mp4", "new": None},
    provenance={"gpu": "X", "cpu": "Y", "torch": "2.9"},
)


def test_what_was_asked_for_is_every_setting_of_the_grid_and_every_knob_of_the_strategy():
    asked = asked_for(JOB)
    assert {name: asked[name] for name in GENERATION} == {
        "model": "svd_xt",
        "memory": "mine",
        "image": "rocket",
        "seed": 3,
        "motion_bucket_id": 60,
        "noise_aug_strength": 0.5,
        "fps": 8,
        "num_frames": 6,
        "height": 64,
        "width": 96,
        "num_inference_steps": 4,
        "decode_chunk_size": 2,
        "min_guidance_scale": 1.5,
        "max_guidance_scale": 2.5,
    }
    knobs = {f"memory.{name}": value for name, value in dataclasses.asdict(JOB.memory).items()}
    del knobs["memory.name"]
    assert {name: asked[name] for name in knobs} == knobs | {"memory.extra": "a.b,c.d"}
    plain = dataclasses.asdict(JOB)
    others = [
        f"{part}.{name}"
        for part in ("model", "image", "measure", "metrics", "gpu")
        for name in plain[part]
        if name not in ("name", "path", "weights_dir")  # labels, by which no job differs from another
    ]
    assert list(asked) == [*GENERATION, *knobs, *others, "measure", "metrics"]
    values = {name: plain[name.partition(".")[0]][name.partition(".")[2]] for name in others}
    values["metrics.families"] = "temporal,motion,fidelity,seams,defects,baseline"
    assert {name: asked[name] for name in others} == values
    assert (asked["measure"], asked["metrics"]) == ("careful", "fast")


def test_a_flat_row_says_which_job_what_was_asked_what_was_measured_and_where_it_ran():
    line = flat(ROW)
    head = {"key": JOB.key, "status": "failed", "attempt": 2, "error": "boom", "phase": "denoise"}
    assert identity(ROW) == head
    middle = {column.name: None for column in MEASURED} | {"total_s": 2.5}
    last = dict.fromkeys(LAST) | {"video": "a.mp4", "gpu": "X", "torch": "2.9"}
    parts = (head, asked_for(JOB), middle, {"cpu": "Y", "motion_px": 1.0, "new": None}, last)
    assert list(line.items()) == [pair for part in parts for pair in part.items()]


def test_what_was_measured_wins_over_where_it_ran():
    assert flat(dataclasses.replace(ROW, values={"cpu": "measured"}))["cpu"] == "measured"


def test_a_union_of_rows_keeps_their_order_and_the_last_columns_last():
    assert union([["a", "torch", "b"], ["c", "video", "a", "gpu"]]) == [
        "a",
        "b",
        "c",
        "video",
        "gpu",
        "torch",
    ]
    assert union([]) == []


def under(**knobs):
    chunk = knobs.pop("decode_chunk_size", "all")
    return Job(memory=Memory(**knobs), decode_chunk_size=chunk)


BASE, OFFLOADED = under(), under(name="offloaded", offload="model", extra=["a"])


@pytest.mark.parametrize(
    ("jobs", "names"),
    [
        ([], []),
        ([BASE], []),
        ([BASE, Job(seed=1, width=72)], ["seed", "width"]),
        ([BASE, Job(measure=Measure(name="careful"))], ["measure"]),
        # a strategy's knobs stand behind its name
        ([BASE, OFFLOADED], ["memory"]),
        # unless all strategies have one name
        ([BASE, under(offload="model")], ["memory.offload"]),
        # and so does its chunk size, where each strategy has its own
        ([BASE, under(name="chunked", decode_chunk_size=2)], ["memory"]),
        ([BASE, OFFLOADED, under(decode_chunk_size=2)], ["memory", "decode_chunk_size"]),
        ([BASE, under(decode_chunk_size=2)], ["decode_chunk_size"]),
        # two models of one name, two measurements of one name; a dtype stands beside the model's name
        ([BASE, Job(model=Model(source="/a/b"))], ["model.source"]),
        ([BASE, Job(model=Model(name="other", source="/a/b", dtype="float16"))], ["model", "model.dtype"]),
        ([BASE, Job(model=Model(scheduler="heun"))], ["model.scheduler"]),
        ([BASE, Job(model=Model(name="lcm", sigmas=[9, 0]))], ["model", "model.sigmas"]),
        ([BASE, Job(measure=Measure(repeats=3))], ["measure.repeats"]),
        ([BASE, Job(gpu=Gpu(memory_limit_gib=4.0))], ["gpu.memory_limit_gib"]),
        ([Job(image=Image("a", sha256=s)) for s in "12"], ["image.sha256"]),
        ([Job(image=Image("a", sha256="1", fit=fit)) for fit in ("crop", "pad")], ["image.fit"]),
    ],
)
def test_a_short_table_shows_the_columns_in_which_jobs_differ(jobs, names):
    assert varying(jobs) == names


def test_a_later_probe_wins_and_a_note_is_told_once():
    gathered = Measurements({"a": 1, "b": 1}, {"w": [0], "x": [1]}, ["first", "both"])
    gathered.add(Measurements({"b": 2, "c": None}, {"x": [2], "y": [3]}, ["both", "second"]))
    assert gathered == Measurements(
        {"a": 1, "b": 2, "c": None}, {"w": [0], "x": [2], "y": [3]}, ["first", "both", "second"]
    )
