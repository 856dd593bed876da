"""SVD in one file is read bit by bit, in Stability's layout and in ComfyUI's; anything else is told by its header."""

import gc
import hashlib
import math
import os
import shutil

import psutil
import pytest
import torch
from checkpoints import linked, read, write
from original_files import BESIDE, hollow, shapes, table, written

from svdsweep.config import Model
from svdsweep.errors import UserError
from svdsweep.models.architectures import PARAMETERS, architecture, svd
from svdsweep.models.load import load_pipeline, on_meta
from svdsweep.models.locate import doubts_about, resolve
from svdsweep.models.original import UNET, VAE

CPU = torch.device("cpu")
NETWORKS = ("unet", "vae", "image_encoder")
SVD = architecture("tiny")
PUBLISHED = {
    "unet": (1428, "281ec0cd2d50e45a", "a532359fa286d280"),
    "vae": (374, "2ff2157eea3fc7da", "9a37e2faa59e149b"),
    "image_encoder": (392, "597069c71341cf4c", "12cd492439de7166"),
}
"""How many names of svd.safetensors each network is read from, the sha256 of them, sorted, and that of the pairs of
diffusers' names and these: both as DiffSynth-Studio's tables have them (diffsynth/models/svd_*.py and sd_vae_encoder.py
at fed7b18 or as they were last, `from_civitai` and `from_diffusers`)."""


@pytest.fixture(scope="module")
def networks():
    """The embedded model's networks, each parameter with numbers of its own."""
    pipe = load_pipeline(Model(), CPU)
    generator = torch.Generator().manual_seed(0)
    for part in NETWORKS:
        for parameter in getattr(pipe, part).parameters():
            parameter.normal_(generator=generator)
    return {part: getattr(pipe, part) for part in NETWORKS}


@pytest.fixture(scope="module")
def file(networks, tmp_path_factory):
    return written(tmp_path_factory.mktemp("single") / "svd.safetensors", networks, SVD)


@pytest.fixture(autouse=True)
def looked_at_anew():
    resolve.cache_clear()
    doubts_about.cache_clear()


def refusal(path, **settings):
    with pytest.raises(UserError) as refused:
        resolve(Model(source=str(path), **settings))
    sentence = str(refused.value)
    assert sentence.startswith(f"model.source={path}")
    assert "\n" not in sentence
    return sentence


def equal(network, other, dtype=torch.float32):
    theirs = other.state_dict()
    assert theirs.keys() == network.state_dict().keys()
    return all(torch.equal(tensor.to(dtype), theirs[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_network_comes_back_bit_by_bit_in_the_dtype_asked_for(networks, file, dtype):
    pipe = load_pipeline(resolve(Model(source=str(file), dtype=dtype)), CPU)
    for part, network in networks.items():
        assert equal(network, getattr(pipe, part), getattr(torch, dtype))
        assert not any(tensor.is_meta for tensor in getattr(pipe, part).buffers())
        assert not any(p.requires_grad for p in getattr(pipe, part).parameters())


def test_a_checkpoint_of_comfyuis_is_read_with_an_encoder_that_goes_without_quant_conv(networks, tmp_path):
    pipe = load_pipeline(
        Model(source=str(written(tmp_path / "c.safetensors", networks, SVD, comfyui=True))), CPU
    )
    channels = pipe.vae.quant_conv.in_channels
    latents = torch.arange(float(channels)).view(1, channels, 1, 1)  # whose sums no processor rounds
    assert torch.equal(pipe.vae.quant_conv(latents), latents)
    pipe.vae.quant_conv.load_state_dict(networks["vae"].quant_conv.state_dict())
    assert all(equal(network, getattr(pipe, part)) for part, network in networks.items())


def test_components_and_settings_are_those_of_the_folder(file):
    ours, plain = load_pipeline(Model(source=str(file)), CPU), load_pipeline(Model(), CPU)
    for part in ("unet", "vae", "scheduler"):
        configs = [dict(getattr(pipe, part).config) for pipe in (ours, plain)]
        told = [{k: v for k, v in config.items() if not k.startswith("_")} for config in configs]
        assert told[0] == told[1]
    assert ours.image_encoder.config.hidden_act == plain.image_encoder.config.hidden_act
    assert ours.feature_extractor.to_dict() == plain.feature_extractor.to_dict()


def digest(lines):
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def test_names_and_sizes_are_those_of_the_published_files():
    for part, found in table(svd(25)).items():
        own = {origin.name: math.prod(origin.shape) for origin in found.values()}
        pairs = [f"{name}={origin.name}#{origin.third}" for name, origin in found.items()]
        assert (len(own), digest(own), digest(pairs)) == PUBLISHED[part]
        assert sum(own.values()) == PARAMETERS[part]
    assert sum(name.startswith(f"{VAE}encoder.") for name in shapes(svd(25), comfyui=True)) == 106


def test_a_file_is_known_by_what_is_in_it(file, tmp_path):
    again, retrained = tmp_path / "again.safetensors", tmp_path / "retrained.safetensors"
    again.write_bytes(file.read_bytes())
    tensors = read(file)
    name = f"{VAE}decoder.conv_in.weight"
    dtype, shape, content = tensors[name]
    tensors[name] = dtype, shape, bytes(len(content))
    write(retrained, tensors)
    revisions = [resolve(Model(source=str(path))).revision for path in (file, again, retrained)]
    assert revisions[0] == revisions[1] != revisions[2]
    with pytest.raises(UserError, match=r"model.revision=0123: what lies in .* is revision"):
        resolve(Model(source=str(file), revision="0123"))


def test_a_variant_means_nothing_to_a_single_file(file):
    assert resolve(Model(source=str(file), variant="fp16")) == resolve(Model(source=str(file)))


def test_rounded_weights_are_told(tmp_path):
    path = hollow(tmp_path / "half.safetensors", shapes(SVD))
    assert "stores unet, vae, image_encoder in float16" in doubts_about(resolve(Model(source=str(path))))[0]


def without(*words):
    return lambda own: {name: shape for name, shape in own.items() if not name.startswith(words)}


def renamed(old, new):
    return lambda own: {name.replace(old, new): shape for name, shape in own.items()}


def with_more(**more):
    return lambda own: own | {name.replace("__", "."): shape for name, shape in more.items()}


def only(word):
    return lambda own: {name: shape for name, shape in own.items() if name.startswith(word)}


def unet_bare(own):
    return renamed(UNET, "")(only(UNET)(own))


CONV_IN = f"{UNET}input_blocks.0.0.weight"
FIRST_TIME = f"{UNET}label_emb.0.0.weight"
OTHERS = {
    "no image encoder": (
        without("conditioner.embedders.0."),
        [
            "lacks 32 of the 32 tensors of the image_encoder",
            "visual.class_embedding",
            "in Stability's layout",
        ],
    ),
    "one tensor less": (
        without(f"{VAE}decoder.conv_out.time_mix_conv.bias"),
        ["lacks 1 of", "time_mix_conv.bias", "again"],
    ),
    "one tensor more": (
        with_more(control__weight=(3,)),
        ["holds 1 tensors beside those of SVD (control.weight)"],
    ),
    "another shape": (
        lambda own: own | {FIRST_TIME: (8, 8)},
        [f"{FIRST_TIME} as 8×8 where SVD has", "another model's"],
    ),
    "a UNet alone": (only(UNET), ["holds the UNet alone", "model=svd_xt model.unet=/"]),
    "a UNet alone, bare": (unet_bare, ["holds a UNet alone", "model.unet=/"]),
    "a VAE alone": (only(VAE), ["holds a VAE alone"]),
    "a LoRA": (lambda _: {"unet.down.lora_A.weight": (4, 4)}, ["is an adapter (LoRA)", "model.lora=/"]),
    "Stable Diffusion": (
        lambda _: {CONV_IN: (320, 4, 3, 3), "cond_stage_model.a.weight": (1,)},
        ["a model of pictures (Stable Diffusion): its UNet has nothing over time"],
    ),
    "Stable Diffusion XL": (
        lambda _: {CONV_IN: (320, 4, 3, 3), "conditioner.embedders.1.model.a": (1,)},
        ["a model of pictures (Stable Diffusion XL)"],
    ),
    "decoded by pictures": (
        lambda own: {name: s for name, s in own.items() if not ("mix_factor" in name and VAE in name)},
        ["has a decoder of single pictures", "without `_image_decoder`"],
    ),
    "full size": (
        lambda own: own | {CONV_IN: (320, 8, 3, 3)},
        ["full size", "add model=svd (14 frames) or model=svd_xt"],
    ),
    "anything": (lambda _: {"a.weight": (2, 2)}, ["holds 1 tensors, none of which SVD has (a.weight)"]),
}


@pytest.mark.parametrize(("change", "told"), OTHERS.values(), ids=OTHERS)
def test_what_is_not_all_of_svd_is_told(tmp_path, change, told):
    sentence = refusal(hollow(tmp_path / "x.safetensors", change(shapes(SVD) | BESIDE)))
    assert all(part in sentence for part in told), sentence


def test_svd_in_single_precision_or_half_passes_and_in_eight_bits_does_not(tmp_path):
    for dtype in ("F32", "F16", "BF16"):
        assert resolve(Model(source=str(hollow(tmp_path / f"{dtype}.safetensors", shapes(SVD), dtype))))
    eighth = hollow(tmp_path / "f8.safetensors", shapes(SVD), "F8_E4M3")
    assert "stores unet, vae, image_encoder as F8_E4M3" in refusal(eighth)


@pytest.mark.parametrize("name", ["svd", "svd_xt"])
def test_a_file_of_full_size_is_svd_or_svd_xt_as_one_says(tmp_path, name):
    if shutil.disk_usage(tmp_path).free < 6 * 2**30:
        pytest.skip("where a disk keeps zeros too, the file takes 4.5 GB until it is cut")
    path = hollow(tmp_path / "svd.safetensors", shapes(svd(25)) | BESIDE)
    assert resolve(Model(source=str(path), architecture=name)).revision
    os.truncate(path, 1_000_000)
    resolve.cache_clear()
    assert "svd.safetensors is cut short (1,000,000 of 4,5" in refusal(path, architecture=name)


def test_a_file_beside_the_folders_of_its_pipeline_is_one_by_what_is_in_it(tmp_path):
    folder = linked(tmp_path / "hub")
    whole = hollow(folder / "svd.safetensors", shapes(SVD))
    assert resolve(Model(source=str(whole))).source == str(whole)
    assert "give its folder" in refusal(hollow(folder / "other.safetensors", {"a": (1,)}))


@pytest.mark.by_hand
def test_svd_at_full_size_comes_back_bit_by_bit_from_memory_that_is_the_files(tmp_path):
    """25 s, 5 GB of memory and 4.5 GB of disk; 2.25 billion numbers of a period that no width has."""
    generator = torch.Generator().manual_seed(0)
    numbers = torch.rand(4099, generator=generator).half()
    networks = on_meta(svd(25))
    for network in networks.values():
        network.half().to_empty(device="cpu").requires_grad_(False)
        for parameter in network.parameters():
            repeated = numbers.roll(parameter.numel() % 4099).repeat(-(-parameter.numel() // 4099))
            parameter.copy_(repeated[: parameter.numel()].view(parameter.shape))
    path = written(tmp_path / "svd_xt.safetensors", networks, svd(25))
    before = psutil.Process().memory_full_info().uss
    pipe = load_pipeline(Model(source=str(path), architecture="svd_xt", dtype="float16"), CPU)
    assert psutil.Process().memory_full_info().uss - before < 0.5 * 2**30
    assert all(equal(network, getattr(pipe, part), torch.float16) for part, network in networks.items())
    del pipe
    gc.collect()
    path.unlink()


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """ComfyUI's folder of checkpoints with three of them, two of one name, and a pickle."""
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    folder = tmp_path / "models" / "checkpoints"
    for name in ("svd_xt", "a/svd", "b/svd"):
        path = folder / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        hollow(path, shapes(SVD))
    (folder / "old.ckpt").touch()
    return folder


@pytest.mark.parametrize("name", ["svd_xt", "svd_xt.safetensors"])
def test_a_checkpoint_of_comfyuis_is_found_by_its_name(checkpoints, name):
    found = resolve(Model(source=f"comfyui:{name}"))
    assert found == resolve(Model(source=str(checkpoints / "svd_xt.safetensors")))
    assert resolve(found) == found


@pytest.mark.usefixtures("checkpoints")
def test_a_name_that_comfyui_has_twice_is_told_apart_by_its_folder():
    assert "comfyui:a/svd.safetensors or comfyui:b/svd.safetensors" in refusal("comfyui:svd")
    assert resolve(Model(source="comfyui:b/svd")).source.endswith("svd.safetensors")


def test_a_folder_of_comfyuis_that_is_a_link_is_looked_into(checkpoints, tmp_path):
    (tmp_path / "disk").mkdir()
    (checkpoints / "svd_xt.safetensors").rename(tmp_path / "disk" / "svd_xt.safetensors")
    try:
        (checkpoints / "c").symlink_to(tmp_path / "disk", target_is_directory=True)
    except OSError as e:
        pytest.skip(f"no links here: {e}")
    assert resolve(Model(source="comfyui:svd_xt")).revision


def test_what_comfyui_has_not_is_told_with_what_it_has(checkpoints, monkeypatch):
    there = "There is: a/svd.safetensors, b/svd.safetensors, svd_xt.safetensors. Did you mean svd_xt?"
    assert there in refusal("comfyui:sdv_xt")
    assert "a pickle, which is never read" in refusal("comfyui:old")
    monkeypatch.setenv("COMFYUI_PATH", str(checkpoints / "a"))
    assert "holds no models/checkpoints/" in refusal("comfyui:svd_xt")
    monkeypatch.delenv("COMFYUI_PATH")
    assert "Set the environment variable COMFYUI_PATH" in refusal("comfyui:svd_xt")
