"""The schema refuses what is outside its ranges; keys depend on what is computed and on nothing else."""

import dataclasses
import pickle
from dataclasses import make_dataclass

import pytest
from settings import SETTINGS, with_another

from svdsweep.config import PER_RUN, Config, Image, Job, Memory, Model, job_from
from svdsweep.config.keys import canonical, digest
from svdsweep.config.parts import MODEL_PER_RUN
from svdsweep.config.rules import knob, rules
from svdsweep.errors import UserError


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"motion_bucket_id": 300}, ["motion_bucket_id=300", "0–255"]),
        ({"motion_bucket_id": -1}, ["0–255"]),
        ({"noise_aug_strength": -0.1}, ["≥ 0"]),
        ({"noise_aug_strength": float("nan")}, ["noise_aug_strength"]),
        ({"fps": 0}, ["≥ 1"]),
        ({"height": 100}, ["multiple of 8"]),
        ({"decode_chunk_size": 0}, ["≥ 1", "all"]),
        ({"decode_chunk_size": "al"}, ["Did you mean all?"]),
        ({"num_frames": 1}, ["num_frames=1", "max_guidance_scale=1"]),
        ({"min_guidance_scale": 4.0}, ["min_guidance_scale", "max_guidance_scale"]),
    ],
)
def test_a_value_outside_its_range_is_refused_with_what_is_allowed(values, words):
    with pytest.raises(UserError) as refusal:
        Job(**values)
    assert all(word in str(refusal.value) for word in words)


def test_the_bounds_themselves_are_allowed():
    Job(motion_bucket_id=0, noise_aug_strength=0.0, fps=1)
    Job(motion_bucket_id=255, num_frames=1, max_guidance_scale=1.0, decode_chunk_size=1)


def test_every_setting_has_help_and_a_default_within_its_own_range():
    for kind in (Config, Job, Model, Memory):
        kind()
    assert all(rule.help.endswith((".", ")")) for rule, _ in rules(Config).values())


def test_a_key_is_twelve_hex_digits_and_survives_a_process_border():
    job = Job(seed=3)
    assert len(job.key) == 12
    assert int(job.key, 16) >= 0
    assert pickle.loads(pickle.dumps(job)).key == job.key == Job(seed=3).key


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_but_a_label_changes_the_key(name):
    assert with_another(Job(), name).key != Job().key


def test_every_setting_of_model_strategy_and_card_changes_the_pipeline_but_those_of_a_run():
    deciding = {name for name in SETTINGS if with_another(Job(), name).pipeline_key != Job().pipeline_key}
    of_pipelines = {name for name in SETTINGS if name.startswith(("model.", "memory.", "gpu."))}
    of_runs = {*(f"memory.{name}" for name in PER_RUN), *(f"model.{name}" for name in MODEL_PER_RUN)}
    of_runs.add("model.lora_scale")  # where the strategy leaves the UNet's weights as they are
    assert deciding == of_pipelines - of_runs


def test_labels_do_not_change_the_key():
    named = Job(memory=Memory(name="mine"), image=Image(name="a", path="b.png"), baseline="0" * 12)
    assert named.key == Job().key


def test_a_new_field_with_a_default_leaves_keys_as_they_were():
    before = make_dataclass("Part", [("a", int, knob(1, "A."))], frozen=True)
    after = make_dataclass("Part", [("a", int, knob(1, "A.")), ("b", int, knob(2, "B."))], frozen=True)
    assert digest(canonical(before(a=5))) == digest(canonical(after(a=5)))
    assert digest(canonical(after(a=5, b=3))) != digest(canonical(after(a=5)))


def test_a_job_comes_back_from_its_plain_form_also_from_an_older_one():
    job = Job(seed=7, memory=Memory(name="m", offload="model"))
    plain = dataclasses.asdict(job)
    assert job_from(plain) == job
    del plain["fps"], plain["memory"]["name"]
    plain["gone"] = 1
    assert job_from(plain).key == job.key


def test_decode_chunk_size_as_a_number_of_frames():
    assert Job(num_frames=14).frames_per_decode == 14
    assert Job(num_frames=14, decode_chunk_size=4).frames_per_decode == 4
    assert Job(num_frames=14, decode_chunk_size=99).frames_per_decode == 14
