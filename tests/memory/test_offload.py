"""Offloads ask diffusers and accelerate for what they should; those that need CUDA against a stub that records."""

import gc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from svdsweep.config import Memory
from svdsweep.memory import offload

GPU = torch.device("cuda", 0)


class Recorder:
    """A pipeline that only remembers what was asked of it."""

    def __init__(self, vae_dtype: torch.dtype = torch.float16, force_upcast: bool = True) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.unet, self.vae = torch.nn.Identity(), torch.nn.Linear(1, 1, dtype=vae_dtype)
        self.unet.name, self.vae.name = "unet", "vae"  # type: ignore[assignment]
        self.vae.dtype, self.vae.config = vae_dtype, SimpleNamespace(force_upcast=force_upcast)  # type: ignore[assignment]
        self.image_encoder = SimpleNamespace(name="image_encoder")

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self.calls.append((name, args or kwargs))


@pytest.fixture
def grouped(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    calls: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(
        "diffusers.hooks.apply_group_offloading", lambda module, **how: calls.append((module.name, how))
    )
    return calls


def test_nothing_offloaded_is_moved_whole() -> None:
    pipe = Recorder()
    offload.apply(pipe, Memory(), GPU)
    assert pipe.calls == [("to", (GPU,))]


@pytest.mark.parametrize("kind", ["model", "sequential"])
def test_accelerates_offloads_are_not_preceded_by_a_move(kind: str) -> None:
    pipe = Recorder()
    offload.apply(pipe, Memory(offload=kind), GPU)
    assert pipe.calls == [(f"enable_{kind}_cpu_offload", {"device": GPU})]


def test_a_half_precision_vae_stays_out_of_streams(grouped: list[tuple[str, dict[str, Any]]]) -> None:
    pipe = Recorder()
    offload.apply(pipe, Memory(offload="group_leaf", offload_stream=True, offload_record_stream=True), GPU)
    assert [name for name, _ in grouped] == ["unet", "image_encoder"]
    assert pipe.calls == []
    for _, how in grouped:
        assert (how["use_stream"], how["record_stream"], how["offload_type"]) == (True, True, "leaf_level")
        assert "offload_to_disk_path" not in how
        assert (how["onload_device"], how["offload_device"]) == (GPU, torch.device("cpu"))


def test_a_half_precision_vae_stays_off_the_disk(grouped: list[tuple[str, dict[str, Any]]]) -> None:
    offload.apply(Recorder(), Memory(offload="group_leaf", offload_to_disk=True), GPU)
    assert [name for name, _ in grouped] == ["unet", "image_encoder"]


def test_a_vae_that_stays_out_comes_for_its_work_and_leaves_before_the_unet_begins() -> None:
    pipe = Recorder()
    there = torch.device("meta")  # a device that every machine has
    offload.place_vae(pipe, there)
    assert pipe.vae.weight.device.type == "cpu"
    for _ in range(2):
        pipe.vae._hf_hook.pre_forward(pipe.vae)  # as AutoencoderKLTemporalDecoder's encode and decode do
        assert pipe.vae.weight.device == there
        pipe.vae_hook.hook.init_hook = lambda vae: pipe.calls.append(("away", vae))
        pipe.unet(torch.zeros(1))
        assert pipe.calls.pop() == ("away", pipe.vae)


def test_a_vae_that_stays_out_is_away_when_the_run_is_over() -> None:
    pipe = Recorder()
    offload.place_vae(pipe, torch.device("meta"))
    pipe.vae._hf_hook.pre_forward(pipe.vae)
    pipe.vae_hook.hook.init_hook = lambda vae: pipe.calls.append(("away", vae))
    pipe.maybe_free_model_hooks()  # as the pipeline does at the end of a call
    assert pipe.calls == [("maybe_free_model_hooks", {}), ("away", pipe.vae)]


@pytest.mark.parametrize(("dtype", "upcast"), [(torch.float32, True), (torch.float16, False)])
def test_a_vae_that_is_never_upcast_goes_along(
    grouped: list[tuple[str, dict[str, Any]]], dtype: torch.dtype, upcast: bool
) -> None:
    offload.apply(Recorder(dtype, upcast), Memory(offload="group_leaf", offload_stream=True), GPU)
    assert [name for name, _ in grouped] == ["unet", "image_encoder", "vae"]


def test_only_the_unet_has_blocks(grouped: list[tuple[str, dict[str, Any]]]) -> None:
    offload.apply(Recorder(), Memory(offload="group_block", offload_num_blocks=2), GPU)
    assert [how["offload_type"] for _, how in grouped] == ["block_level", "leaf_level", "leaf_level"]
    assert grouped[0][1]["num_blocks_per_group"] == 2


def test_every_component_waits_in_a_fresh_folder_of_the_disk(
    grouped: list[tuple[str, dict[str, Any]]],
) -> None:
    pipes = [Recorder(torch.float32), Recorder(torch.float32)]
    for pipe in pipes:
        offload.apply(pipe, Memory(offload="group_leaf", offload_to_disk=True), GPU)
    folders = [Path(how["offload_to_disk_path"]) for _, how in grouped]
    assert len(set(folders)) == 6
    assert all(folder.is_dir() and not list(folder.iterdir()) for folder in folders)
    pipes.clear()
    del pipe
    gc.collect()
    assert not any(folder.exists() for folder in folders)


def test_layers_left_in_place_by_sequential_offload_are_found(pipe: Any) -> None:
    assert "stay in place" in (offload.check(pipe, Memory(offload="sequential"), GPU) or "")


def test_a_component_left_behind_is_found(pipe: Any) -> None:
    assert "unet" in (offload.check(pipe, Memory(), GPU) or "")
