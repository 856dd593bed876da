"""LoRA of each trainer is added to the bit as its arithmetic says; what is none, or another model's, is refused."""

import copy
import dataclasses
import json

import pytest
import torch
from lora_files import (
    ATTENTION,
    CONFIG,
    CONVOLUTIONS,
    FORMATS,
    RANK,
    SHAPES,
    comfyui,
    diffusers,
    factors,
    kohya,
    peft,
    written,
)
from original_files import hollow

from svdsweep.config import Job, Memory, Model
from svdsweep.config.adapters import as_text, loras
from svdsweep.errors import UserError
from svdsweep.models.architectures import svd
from svdsweep.models.fuse import Fused
from svdsweep.models.load import load_pipeline
from svdsweep.models.locate import adapters, resolve
from svdsweep.models.lora import names_of_layers
from svdsweep.predict.cache import front_key

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def unet():
    return load_pipeline(Model(), CPU).unet


@pytest.fixture
def base(unet):
    return unet.state_dict()


@pytest.fixture
def unet_with(unet):
    """The weights of a copy of the UNet with the LoRA of a file or folder."""

    def fused(path):
        own = copy.deepcopy(unet)
        Fused(own, adapters(resolve(Model(lora=str(path)))), 1.0)
        return own.state_dict()

    return fused


@pytest.fixture(autouse=True)
def looked_at_anew():
    resolve.cache_clear()


def added(base, of, factor=1.0):
    """The weights after the arithmetic, by itself."""
    expected = dict(base)
    for layer, (down, up) in of.items():
        old = base[f"{layer}.weight"]
        expected[f"{layer}.weight"] = old + (factor * (up.flatten(1) @ down.flatten(1))).view(old.shape)
    return expected


def equal(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(tensor, other[name]) for name, tensor in one.items()
    )


@pytest.mark.parametrize("names", FORMATS, ids=lambda names: names.__name__)
def test_each_trainers_names_give_the_same_weights(unet_with, base, tmp_path, names):
    of = factors()
    assert equal(unet_with(written(tmp_path / "a.safetensors", names(of))), added(base, of))


def test_a_convolutions_lora_is_added_over_place_and_over_time(unet_with, base, tmp_path):
    of = factors(CONVOLUTIONS)
    assert {len(SHAPES[f"{layer}.weight"]) for layer in of} == {4, 5}
    assert equal(unet_with(written(tmp_path / "a.safetensors", kohya(of))), added(base, of))


def test_at_scale_0_the_weights_are_the_models_own_to_the_bit_and_change_in_place(base, tmp_path):
    of = factors()
    path = written(tmp_path / "a.safetensors", diffusers(of))
    pipe = load_pipeline(resolve(Model(lora=str(path), lora_scale=0)), CPU)
    layer = pipe.unet.get_submodule(ATTENTION[0])
    place = layer.weight.data_ptr()
    for scale, expected in ((0, base), (0.5, added(base, of, 0.5)), (-2, added(base, of, -2)), (0, base)):
        pipe.fused_lora.set(scale)
        assert equal(pipe.unet.state_dict(), expected)
    assert layer.weight.data_ptr() == place


def test_alpha_is_divided_by_the_rank_wherever_a_trainer_says_it(unet_with, base, tmp_path):
    of = factors()
    halved = added(base, of, 0.5)
    in_tensors = {name: t * 0.5 if name.endswith("alpha") else t for name, t in kohya(of).items()}
    assert equal(unet_with(written(tmp_path / "kohya.safetensors", in_tensors)), halved)
    settings = {"unet.r": RANK, "unet.lora_alpha": RANK / 2}
    assert equal(unet_with(written(tmp_path / "header.safetensors", diffusers(of), settings)), halved)
    rooted = {"unet.lora_alpha": 1, "unet.use_rslora": True}  # 1 / sqrt(4)
    assert equal(unet_with(written(tmp_path / "rooted.safetensors", diffusers(of), rooted)), halved)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 2}), encoding="utf-8")
    written(tmp_path / "adapter_model.safetensors", peft(of))
    assert equal(unet_with(tmp_path), halved)
    patterns = {"unet.lora_alpha": 4, "unet.alpha_pattern": {"to_q": 8}}
    path = written(tmp_path / "patterns.safetensors", diffusers(of), patterns)
    queries = {layer: pair for layer, pair in of.items() if layer.endswith("to_q")}
    mixed = added(base, of) | {f"{n}.weight": added(base, queries, 2)[f"{n}.weight"] for n in queries}
    assert equal(unet_with(path), mixed)


def test_several_are_added_together_each_with_its_weight(base, tmp_path):
    one, other = factors(ATTENTION[:3]), factors(ATTENTION[2:], rank=2, seed=1)
    a, b = (
        written(tmp_path / "a.safetensors", diffusers(one)),
        written(tmp_path / "b+c.safetensors", peft(other)),
    )
    model = resolve(Model(lora=f"{a}:0.5+{b}"))
    assert model.lora_revision.count("+") == 1
    pipe = load_pipeline(model, CPU)
    assert pipe.fused_lora.rank == "4+2"
    both = added(added(base, one, 0.5), other)
    shared = f"{ATTENTION[2]}.weight"
    assert torch.allclose(pipe.unet.state_dict()[shared], both[shared], atol=1e-6)  # summed in another order
    assert equal(pipe.unet.state_dict() | {shared: both[shared]}, both)


def test_half_precision_is_rounded_once(base, tmp_path):
    of = factors()
    path = written(tmp_path / "a.safetensors", {name: t.half() for name, t in diffusers(of).items()})
    halves = {name: tensor.half().float() for name, tensor in base.items()}
    rounded = {layer: (down.half().float(), up.half().float()) for layer, (down, up) in of.items()}
    expected = {name: tensor.half() for name, tensor in added(halves, rounded).items()}
    half = load_pipeline(resolve(Model(lora=str(path), dtype="float16")), CPU)
    assert equal(half.unet.state_dict(), expected)


def test_a_picture_of_the_base_is_its_own_only_where_weights_stay_what_they_were():
    with_lora = [Job(model=Model(lora="/a.safetensors", lora_scale=s)) for s in (0.5, 1.0)]
    assert len({job.pipeline_key for job in with_lora}) == 1
    assert len({job.key for job in with_lora}) == 2
    for memory in (Memory(unet_weights="fp8"), Memory(offload="group_leaf"), Memory(fused_qkv=True)):
        assert len({dataclasses.replace(job, memory=memory).pipeline_key for job in with_lora}) == 2


def test_a_lora_costs_nothing_that_is_predicted():
    job = Job(model=Model(architecture="svd_xt"))
    other = dataclasses.replace(
        job, model=dataclasses.replace(job.model, lora="/a.safetensors", lora_scale=0.5)
    )
    assert front_key(job) == front_key(other)


@pytest.mark.parametrize(
    ("text", "several"),
    [
        ("none", []),
        ("a.safetensors", [("a.safetensors", 1)]),
        ("a.safetensors:0.5+b.sft:-1+c/d", [("a.safetensors", 0.5), ("b.sft", -1), ("c/d", 1)]),
        ("o/n:a.safetensors:.5", [("o/n:a.safetensors", 0.5)]),
        (
            "C:\\x+y\\take2+3.safetensors+b.safetensors",
            [("C:\\x+y\\take2+3.safetensors", 1), ("b.safetensors", 1)],
        ),
    ],
)
def test_several_are_spelt_as_one_setting(text, several):
    assert loras(text) == several
    assert loras(as_text(loras(text))) == several


def test_no_name_means_two_layers():
    for config in (CONFIG, svd(25).unet):
        names = names_of_layers(config)
        assert len(names) == 4 * len(set(names.values())) - sum(
            "." not in name for name in set(names.values())
        )


def refusal(lora, **settings):
    with pytest.raises(UserError) as refused:
        resolve(Model(lora=str(lora), **settings))
    sentence = str(refused.value)
    assert sentence.startswith(f"model.lora={lora}: ")
    assert "\n" not in sentence
    return sentence


Q = ATTENTION[0]
WRONG = {
    "LoHa": ({f"lora_unet_{Q}.hada_w1_a": (4, 4)}, "is a LoHa"),
    "LoKr": ({f"lora_unet_{Q}.lokr_w1": (4, 4)}, "is a LoKr"),
    "DoRA": ({f"unet.{Q}.lora_magnitude_vector": (4,)}, "is a DoRA"),
    "three factors": ({f"lora_unet_{Q}.lora_mid.weight": (4, 4)}, "three factors"),
    "of text too": ({"lora_te_text_model_a.lora_down.weight": (4, 4)}, "text encoder too, which SVD has not"),
    "of a layer that is not there": (
        {"unet.mid_block.x.to_q.lora_A.weight": (4, 4)},
        "1 tensors of a.safetensors fit no layer of the UNet (unet.mid_block.x.to_q.lora_A.weight)",
    ),
    "a bias": (
        {f"{Q}.lora_A.weight": (4, 4), f"{Q}.lora_B.bias": (4,)},
        "1 tensors of a.safetensors fit no layer",
    ),
    "half": ({f"{Q}.lora_A.weight": (4, 4)}, f"only one of the two matrices of 1 layers ({Q})"),
    "another width": (
        {f"{Q}.lora_A.weight": (4, 7), f"{Q}.lora_B.weight": (9, 4)},
        f"has 9×4 by 4×7 for {Q}, whose weight is",
    ),
    "a UNet": (
        {"conv_in.weight": (1,)},
        "holds no LoRA (conv_in.weight). If it is a whole UNet, give it as model.unet=",
    ),
}


@pytest.mark.parametrize(("tensors", "told"), WRONG.values(), ids=WRONG)
def test_what_is_no_lora_of_this_unet_is_told(tmp_path, tensors, told):
    assert told in refusal(hollow(tmp_path / "a.safetensors", tensors))


def test_files_and_folders_that_are_none_are_told(tmp_path):
    for name, told in (("a.ckpt", "is a pickle"), ("a.gguf", "GGUF"), ("a.txt", "is no safetensors file")):
        (tmp_path / name).touch()
        assert told in refusal(tmp_path / name)
    (tmp_path / "empty.safetensors").touch()
    assert "is empty" in refusal(tmp_path / "empty.safetensors")
    assert f"Did you mean {tmp_path / 'empty.safetensors'}?" in refusal(tmp_path / "emty.safetensors")
    assert f"model.lora={tmp_path / 'empty.safetensors'}" in refusal(tmp_path)
    (tmp_path / "x").mkdir()
    assert "there is no LoRA in" in refusal(tmp_path / "x")
    (tmp_path / "x" / "pytorch_lora_weights.bin").touch()
    assert "then model.lora=NEW.safetensors" in refusal(tmp_path / "x")
    eighth = hollow(
        tmp_path / "f8.safetensors", {n: t.shape for n, t in comfyui(factors()).items()}, "F8_E4M3"
    )
    assert "as F8_E4M3" in refusal(eighth)


def test_random_weights_take_none(tmp_path):
    path = written(tmp_path / "a.safetensors", diffusers(factors()))
    assert "there is nothing to add" in refusal(path, weights="random")


def test_without_a_lora_its_scale_means_nothing():
    assert resolve(Model(lora_scale=0.5)) == resolve(Model())
