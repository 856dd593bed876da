"""Weights are found, pinned and told apart before torch is imported; what is not to be had is refused with a cure."""

import dataclasses
import json
import shutil

import pytest

from svdsweep.config import Model
from svdsweep.errors import UserError
from svdsweep.models.architectures import TINY
from svdsweep.models.locate import folder_of, resolve


@pytest.fixture
def folder(tmp_path):
    target = tmp_path / "pipeline"
    shutil.copytree(TINY, target)
    return target


def test_the_embedded_model_is_pinned_by_its_content(folder):
    resolved = resolve(Model())
    assert resolved.revision
    assert resolve(Model(source=str(folder))).revision == resolved.revision


def test_retrained_weights_are_another_revision(folder):
    before = resolve(Model(source=str(folder))).revision
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    resolve.cache_clear()
    assert resolve(Model(source=str(folder))).revision != before


def test_a_folder_without_safetensors_is_refused_and_never_unpickled(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(
        folder / "unet" / "diffusion_pytorch_model.bin"
    )
    with pytest.raises(UserError, match=r"never a pickle"):
        resolve(Model(source=str(folder)))


def test_a_variant_that_is_not_there_is_refused_with_what_there_is(folder):
    with pytest.raises(UserError, match=r"fp16.safetensors is missing.*there is: .*model.safetensors"):
        resolve(Model(source=str(folder), variant="fp16"))


def test_another_pipeline_is_refused(folder):
    index = folder / "model_index.json"
    index.write_text(
        json.dumps({**json.loads(index.read_text(encoding="utf-8")), "_class_name": "FluxPipeline"}),
        encoding="utf-8",
    )
    with pytest.raises(UserError, match="FluxPipeline"):
        resolve(Model(source=str(folder)))


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"model_index.json"):
        resolve(Model(source=str(tmp_path)))


def test_hub_weights_that_are_not_here_say_what_to_do():
    svd = Model(name="svd_xt", source="stabilityai/stable-video-diffusion-img2vid-xt", variant="fp16")
    with pytest.raises(UserError, match=r"licence.*hf download.*weights=random") as refusal:
        resolve(svd)
    assert "\n" not in str(refusal.value)


def test_weights_in_the_hubs_cache_are_found_offline_and_pinned_to_their_commit(tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "models--someone--svd"
    shutil.copytree(TINY, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    resolve.cache_clear()
    resolved = resolve(Model(source="someone/svd"))
    assert resolved.revision == commit
    assert folder_of(resolved) == repo / "snapshots" / commit


def test_random_weights_need_no_source_and_are_one_job_whatever_it_was():
    a, b = (resolve(Model(source=s, weights="random", variant="fp16")) for s in ("a/b", "c/d"))
    assert a == b
    assert dataclasses.asdict(a)["revision"] is None
