"""Every knob's check finds a knob that was not applied, and is content with one that was."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from svdsweep.config import PER_RUN, Memory
from svdsweep.memory import apply, vae_dtype
from svdsweep.memory.apply import KNOBS, prepare
from svdsweep.memory.contract import NoEffect, unless_all

CPU = torch.device("cpu")

ASKED: dict[str, dict[str, Any]] = {
    "vae_dtype": {"vae_dtype": "bfloat16"},
    "attention": {"attention": "eager"},
    "single_token_cross_attention": {"single_token_cross_attention": True},
    "fused_qkv": {"fused_qkv": True},
    "forward_chunk_size": {"forward_chunk_size": 2},
    "transformer_parts": {"transformer_parts": 2},
    "decode": {"decode": "streamed"},
    "temporal_conv2d": {"temporal_conv2d": True},
    "channels_last": {"channels_last": True},
    "norms_by_channel": {"norms_by_channel": True, "compile": "whole"},
    "unet_weights": {"unet_weights": "fp8"},
    "cudnn_benchmark": {"cudnn_benchmark": True},
    "launch_ahead": {"launch_ahead": True},
    "split_guidance": {"split_guidance": True},
    "offload": {"offload": "model"},
}
OTHERWISE = {
    "vae_upcast": "needs a float16 VAE that asks for upcasting: below",
    "deepcache_interval": "an optional package: below",
    "extra": "a user's own functions: below",
    "step_cache": "seen only after a run: test_step_cache.py",
    "compile": "seen only after a run: test_presets.py",
    "compile_vae": "seen only after a run: test_presets.py",
}
KNOB = {knob.name: knob for knob in reversed(KNOBS)}  # the first of a name


COMPANIONS = {
    *("offload_stream", "offload_non_blocking", "offload_record_stream", "offload_low_cpu_memory"),
    *("offload_to_disk", "offload_num_blocks", "decode_budget_gib", "deepcache_branch"),
    *("compile_mode", "compile_backend", "compile_fullgraph", "compile_dynamic"),
}
"""Settings that say how another knob is applied, and do nothing without it."""


def test_every_setting_of_a_strategy_is_applied() -> None:
    settings = {f.name for f in fields(Memory)} - {"name"}
    assert settings == {*KNOB, *COMPANIONS, *PER_RUN}


def test_every_knob_is_tested_here_or_elsewhere() -> None:
    assert set(KNOB) == set(ASKED) | set(OTHERWISE)


@pytest.mark.parametrize("name", ASKED)
def test_the_check_tells_applied_from_not_applied(pipe: Any, name: str) -> None:
    knob, memory = KNOB[name], Memory(**ASKED[name])
    assert knob.wanted(memory)
    assert not knob.wanted(Memory()) or name == "offload"
    assert knob.check(pipe, memory, CPU)
    knob.apply(pipe, memory, CPU)
    assert knob.check(pipe, memory, CPU) is None


@pytest.mark.parametrize("name", ASKED)
def test_a_strategy_that_does_nothing_is_refused(
    pipe: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = replace(KNOB[name], apply=lambda *_: None)
    monkeypatch.setattr(apply, "KNOBS", (idle,))
    with pytest.raises(NoEffect, match=f"memory.{name} took no effect"):
        prepare(pipe, Memory(**ASKED[name]), CPU)


@pytest.mark.parametrize("offload", ["sequential", "group_block", "group_leaf"])
def test_an_offload_without_hooks_is_refused(
    pipe: Any, offload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = replace(KNOB["offload"], apply=lambda *_: None)
    monkeypatch.setattr(apply, "KNOBS", (idle,))
    with pytest.raises(NoEffect):
        prepare(pipe, Memory(offload=offload), CPU)


def test_no_upcast_needs_a_vae_that_is_upcast(pipe: Any) -> None:
    knob, memory = KNOB["vae_upcast"], Memory(vae_upcast=False)
    pipe.vae.register_to_config(force_upcast=False)
    with pytest.raises(NoEffect, match="never upcast"):
        knob.apply(pipe, memory, CPU)
    pipe.vae.register_to_config(force_upcast=True)
    assert "never upcast" in (knob.check(pipe, memory, CPU) or "")
    pipe.vae.to(torch.float16)
    assert knob.check(pipe, memory, CPU)
    knob.apply(pipe, memory, CPU)
    assert knob.check(pipe, memory, CPU) is None


def test_a_kernel_is_chosen_for_the_unet_alone_and_must_exist(prepared: Any, pipe: Any) -> None:
    seen = []
    pipe.unet.conv_in.register_forward_hook(lambda *_: seen.append(torch.backends.cuda.flash_sdp_enabled()))
    prepared(attention="math")
    pipe.unet.forward(
        torch.zeros(1, 2, pipe.unet.config.in_channels, 8, 8),
        torch.tensor(1.0),
        encoder_hidden_states=torch.zeros(1, 1, 64),
        added_time_ids=torch.zeros(1, 3),
    )
    assert seen == [False]
    assert torch.backends.cuda.flash_sdp_enabled()
    with pytest.raises(NoEffect, match="no cudnn kernel"):
        prepared(attention="cudnn")


def test_channels_last_reaches_the_frames_inside_the_spatio_temporal_blocks(
    prepared: Any, forward: Any, pipe: Any
) -> None:
    plain = forward(pipe)
    prepared(channels_last=True)
    frames: dict[str, bool] = {}

    def see(name: str) -> Any:
        def hook(_module: Any, _args: Any, out: torch.Tensor) -> None:
            frames[name] = out.is_contiguous(memory_format=torch.channels_last)

        return hook

    for name, module in pipe.unet.named_modules():
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size != (1, 1):
            module.register_forward_hook(see(name))
    assert (forward(pipe) - plain).abs().max() <= 1e-5
    assert [name for name in frames if "spatial_res_block" in name]
    assert all(frames.values())


def test_diffusers_own_no_ops_would_be_found(pipe: Any) -> None:
    pipe.unet.fuse_qkv_projections()
    assert KNOB["fused_qkv"].check(pipe, Memory(fused_qkv=True), CPU)


def test_fusing_drops_the_matrices_that_it_joined(prepared: Any, pipe: Any) -> None:
    before = sum(p.numel() for p in pipe.unet.parameters())
    prepared(fused_qkv=True)
    assert sum(p.numel() for p in pipe.unet.parameters()) == before


def chunk_by_hand(pipe: Any) -> None:
    pipe.unet.enable_forward_chunking(2)


def do_nothing(pipe: Any) -> None:
    pass


def test_a_users_own_function_is_called_and_must_change_something(prepared: Any) -> None:
    pipe = prepared(extra=[f"{__name__}.chunk_by_hand"])
    assert any(getattr(m, "_chunk_size", None) == 2 for m in pipe.unet.modules())
    with pytest.raises(NoEffect, match="do_nothing left the pipeline as it was"):
        prepared(extra=[f"{__name__}.do_nothing"])


@pytest.mark.parametrize("path", ["nowhere", "no.such.module", "os.nothing", "os.sep"])
def test_a_path_that_names_no_function_is_refused(prepared: Any, path: str) -> None:
    with pytest.raises(ImportError, match=r"memory\.extra"):
        prepared(extra=[path])


def test_a_check_wants_layers_all_of_which_were_changed() -> None:
    told = [
        unless_all(layers, plain, "are plain") for layers, plain in (([1, 2], []), ([1, 2], [2]), ([], []))
    ]
    assert told == [None, "1 of 2 are plain", "0 of 0 are plain"]


def test_what_enters_a_decoder_of_another_precision_is_cast_but_for_whole_numbers() -> None:
    half, number = torch.nn.Linear(1, 1, dtype=torch.float16), torch.tensor(3)
    (x, n), named = vae_dtype._cast_to_own(half, (torch.zeros(1), number), {"y": torch.zeros(1), "n": number})
    assert [t.dtype for t in (x, n, named["y"], named["n"])] == [torch.float16, torch.int64] * 2


def test_deepcache_wraps_the_unet_where_it_is_installed(prepared: Any) -> None:
    pytest.importorskip("DeepCache")
    assert prepared(deepcache_interval=2).deepcache.function_dict


def test_a_missing_package_is_named(prepared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "DeepCache", None)
    with pytest.raises(ImportError, match="DeepCache"):
        prepared(deepcache_interval=2)
