"""Another UNet takes the place of a model's own, bit by bit, from whatever a trainer left; anything else is told."""

import dataclasses
import json
import shutil

import pytest
import torch
from checkpoints import linked, read, shard, write
from original_files import hollow, shapes, written
from safetensors.torch import save_file

from svdsweep.analysis.reproduce import command
from svdsweep.config import Model
from svdsweep.config.job import job_from
from svdsweep.errors import UserError
from svdsweep.grid.expand import expand, expand_without_weights
from svdsweep.models.architectures import TINY, architecture, svd
from svdsweep.models.load import load_pipeline, unet_from
from svdsweep.models.locate import fetch, other_unet, resolve
from svdsweep.models.original import UNET
from svdsweep.models.tensors import expected

CPU = torch.device("cpu")
NAME = "diffusion_pytorch_model.safetensors"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SIZES = expected("unet", architecture("tiny").unet)


@pytest.fixture(autouse=True)
def looked_at_anew():
    resolve.cache_clear()


@pytest.fixture(scope="module")
def other():
    """The embedded pipeline with a UNet of other numbers."""
    pipe = load_pipeline(Model(), CPU)
    generator = torch.Generator().manual_seed(0)
    for parameter in pipe.unet.parameters():
        parameter.normal_(generator=generator)
    return pipe


@pytest.fixture(scope="module")
def trained(other, tmp_path_factory):
    """What a trainer leaves: checkpoint-1000 with unet/, unet_ema/ and the state of its optimizer."""
    folder = tmp_path_factory.mktemp("trained") / "checkpoint-1000"
    for part in ("unet", "unet_ema"):
        (folder / part).mkdir(parents=True)
        shutil.copyfile(TINY / "unet" / "config.json", folder / part / "config.json")
    save_file(other.unet.state_dict(), folder / "unet" / NAME)
    save_file({n: t + 1 for n, t in other.unet.state_dict().items()}, folder / "unet_ema" / NAME)
    (folder / "optimizer.bin").touch()
    return folder


def unet_of(unet, dtype=torch.float32):
    return unet_from(other_unet(resolve(Model(unet=str(unet)))), dtype).state_dict()


def equal(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(tensor, other[name]) for name, tensor in one.items()
    )


def in_original_names(path, other, prefix):
    whole = written(
        path, {part: getattr(other, part) for part in ("unet", "vae", "image_encoder")}, architecture("tiny")
    )
    tensors = {n.replace(UNET, prefix): t for n, t in read(whole).items() if n.startswith(UNET)}
    write(path, tensors)
    return path


def test_what_a_trainer_left_is_read_bit_by_bit(other, trained, tmp_path):
    own = other.unet.state_dict()
    assert equal(unet_of(trained), own)
    assert equal(unet_of(trained / "unet"), own)
    assert equal(unet_of(trained / "unet_ema"), {name: tensor + 1 for name, tensor in own.items()})
    assert equal(unet_of(trained / "unet" / NAME), own)
    sharded = shutil.copytree(trained, tmp_path / "sharded")
    shard(sharded)
    assert equal(unet_of(sharded, dtype=torch.bfloat16), {name: t.bfloat16() for name, t in own.items()})
    (sharded / "unet_ema" / NAME).rename(sharded / "unet_ema" / "diffusion_pytorch_model.fp16.safetensors")
    assert resolve(Model(unet=str(sharded / "unet_ema"))).unet_revision


@pytest.mark.parametrize("prefix", [UNET, "diffusion_model.", ""])
def test_a_file_in_stabilitys_names_is_read_bit_by_bit(other, tmp_path, prefix):
    path = in_original_names(tmp_path / "unet.safetensors", other, prefix)
    assert equal(unet_of(path), other.unet.state_dict())


def test_of_a_whole_checkpoint_the_unet_alone_is_read_and_the_rest_is_the_models(other, tmp_path):
    networks = {part: getattr(other, part) for part in ("unet", "vae", "image_encoder")}
    path = written(tmp_path / "svd.safetensors", networks, architecture("tiny"))
    plain = load_pipeline(Model(source=str(path)), CPU)
    own = load_pipeline(resolve(Model(source=str(path), unet=str(linked(tmp_path / "pipeline")))), CPU)
    assert equal(unet_of(path), plain.unet.state_dict())
    assert equal(own.unet.state_dict(), load_pipeline(Model(), CPU).unet.state_dict())
    assert equal(own.vae.state_dict(), plain.vae.state_dict())


def test_a_file_on_the_hub_and_a_repository_of_it_are_found_in_its_cache(
    trained, other, tmp_path, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--someone--lcm"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    shutil.copytree(trained, repository / "snapshots" / COMMIT)
    for text in ("someone/lcm", f"someone/lcm:unet/{NAME}"):
        model = resolve(Model(unet=text))
        assert (model.unet, model.unet_revision) == (text, COMMIT)
        fetch(model)
        assert equal(unet_of(text), other.unet.state_dict())


def test_what_is_not_in_the_hubs_cache_says_how_it_comes_there(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "`hf download someone/lcm a.safetensors`" in refusal("someone/lcm:a.safetensors")


def test_a_unet_is_known_by_what_is_in_it_and_its_path_may_hold_any_sign(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a,b", "b"):
        shutil.copytree(trained, tmp_path / name)
    tensors = read(tmp_path / "b" / "unet" / NAME)
    dtype, shape, content = tensors["conv_in.bias"]
    write(tmp_path / "b" / "unet" / NAME, tensors | {"conv_in.bias": (dtype, shape, bytes(len(content)))})
    jobs = expand(["model.unet=own,a,b,b", "memory=baseline"]).jobs
    assert [job.model.unet for job in jobs] == ["own", str(tmp_path / "a,b"), str(tmp_path / "b")]
    assert len({job.model.unet_revision for job in jobs}) == 3
    assert [job.model.name for job in jobs] == ["tiny+unet=own", "tiny+unet=a,b", "tiny+unet=b"]
    assert all("model.unet" in command(job) for job in jobs[1:])
    assert job_from(json.loads(json.dumps(dataclasses.asdict(jobs[1])))).key == jobs[1].key
    assert "is revision" in refusal(tmp_path / "b", unet_revision="0123")


def test_random_weights_need_none(trained):
    assert resolve(Model(weights="random", unet=str(trained))) == resolve(Model(weights="random"))
    (job,) = expand_without_weights(
        ["model.unet=nowhere", "model.lora=nowhere.safetensors", "memory=baseline"]
    ).jobs
    assert (job.model.unet, job.model.lora) == ("own", "none")


def refusal(unet, **settings):
    with pytest.raises(UserError) as refused:
        resolve(Model(unet=str(unet), **settings))
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


PICTURES = {"conv_in.weight": (320, 4, 3, 3), "down_blocks.0.a.attn2.to_k.weight": (320, 768)}
WRONG = {
    "a UNet of pictures": (PICTURES, "model of pictures (Stable Diffusion 1): it has nothing over time"),
    "in the original's names": (
        {f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3)},
        "it has nothing over time",
    ),
    "a LoRA": (
        {"unet.a.lora_A.weight": (1, 1)},
        "is an adapter (LoRA), by its names. Give it as model.lora=/",
    ),
    "a VAE": ({"decoder.up_blocks.0.a": (1,)}, "holds no UNet (decoder.up_blocks.0.a)"),
    "of full size": (expected("unet", svd(25).unet), "where unet/config.json asks for"),
    "less": (dict(list(SIZES.items())[1:]), "lacks 1 of"),
    "more": (SIZES | {"controlnet.weight": (1,)}, "holds 1 tensors beside those"),
    "more of the original's": (
        {n: s for n, s in shapes(architecture("tiny")).items() if n.startswith(UNET)}
        | {"control.weight": (1,)},
        "holds 1 tensors that the UNet has not (control.weight)",
    ),
}


@pytest.mark.parametrize(("tensors", "told"), WRONG.values(), ids=WRONG)
def test_what_is_no_such_unet_is_told(tmp_path, tensors, told):
    path = hollow(tmp_path / "a.safetensors", tensors)
    sentence = refusal(path)
    assert sentence.startswith(f"model.unet={path}: ")
    assert told in sentence.replace(str(tmp_path), "/")


def test_files_and_folders_that_are_none_are_told(tmp_path):
    for name, told in (("a.ckpt", "is a pickle"), ("a.gguf", "GGUF"), ("a.txt", "is no safetensors file")):
        (tmp_path / name).touch()
        assert told in refusal(tmp_path / name)
    folder = tmp_path / "x"
    folder.mkdir()
    assert "there is no config.json" in refusal(folder)
    (folder / "pytorch_lora_weights.safetensors").touch()
    assert f"give it as model.lora={folder}" in refusal(folder)
    shutil.copyfile(TINY / "vae" / "config.json", folder / "config.json")
    assert "that of a AutoencoderKLTemporalDecoder" in refusal(folder)
    shutil.copyfile(TINY / "unet" / "config.json", folder / "config.json")
    (folder / "diffusion_pytorch_model.bin").touch()
    assert "then model.unet=NEW.safetensors" in refusal(folder)
    config = json.loads((TINY / "unet" / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"out_channels": 9}), encoding="utf-8")
    assert "out_channels=9" in refusal(folder)
    assert "there is no such file or folder" in refusal(tmp_path / "none")
