"""What is given where a pipeline's folder is meant is named, with what to give instead."""

import shutil
from pathlib import Path

import pytest
from checkpoints import UNET, VAE, linked

from svdsweep.config import Model
from svdsweep.errors import UserError
from svdsweep.models.locate import resolve


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder, with a pipeline in `runs/svd`."""
    resolve.cache_clear()
    monkeypatch.chdir(tmp_path)
    linked(tmp_path / "runs" / "svd")
    return tmp_path


def refusal(source):
    with pytest.raises(UserError) as refused:
        resolve(Model(source=source))
    sentence = str(refused.value)
    assert sentence.startswith("model")
    assert "\n" not in sentence
    return sentence


def touched(path):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).touch()


def trained(*parts):
    def save(_):
        for part in parts:
            shutil.copytree("runs/svd/unet", Path("checkpoint-1000") / part, dirs_exist_ok=True)
        touched("checkpoint-1000/optimizer.bin")

    return save


def broken(path):
    Path(path).symlink_to("nowhere")


def nothing(_):
    pass


GIVEN = {
    "the index": (nothing, "runs/svd/model_index.json", ["a file of a pipeline; give its folder", "svd"]),
    "weights in a pipeline": (nothing, f"runs/svd/{VAE}", ["a file of a pipeline; give its folder", "svd"]),
    "a component": (nothing, "runs/svd/unet", ["one component of a pipeline; give the folder above it"]),
    "a folder of one": (nothing, "runs", ["the pipeline is deeper: model.source=", "svd"]),
    "a folder of several": (
        lambda _: linked(Path("runs/xt")),
        "runs",
        ["pipelines are deeper: ", "svd or ", "xt"],
    ),
    "a copied cache": (
        lambda here: shutil.move(here / "runs/svd", here / "hub/models--a--b/snapshots/0123"),
        "hub",
        ["the pipeline is deeper", "0123"],
    ),
    "a single file": (
        lambda _: touched("svd_xt.safetensors"),
        "svd_xt.safetensors",
        ["svd_xt.safetensors is empty (0 bytes)", "again"],
    ),
    "a pickle": (
        lambda _: touched("svd.ckpt"),
        "svd.ckpt",
        ["a pickle, which is never read", "weights_only=True", "svd.ckpt", "`, then model.source="],
    ),
    "a GGUF": (lambda _: touched("svd.gguf"), "svd.gguf", ["GGUF is not read"]),
    "another file": (lambda _: touched("notes.txt"), "notes.txt", ["that is a file. Allowed is"]),
    "folders of files": (
        lambda _: touched("ComfyUI/checkpoints/svd_xt.safetensors"),
        "ComfyUI",
        ["it holds checkpoints/svd_xt.safetensors", "given by its own path", "svd_xt.safetensors"],
    ),
    "a trainer's": (
        trained("unet"),
        "checkpoint-1000",
        ["unet/ is a UNet alone", "model=svd_xt model.unet=/"],
    ),
    "a trainer's two": (
        trained("unet", "unet_ema"),
        "checkpoint-1000",
        ["unet/ or unet_ema/ is a UNet alone"],
    ),
    "a trainer's mean": (trained("unet_ema"), "checkpoint-1000", ["unet_ema/ is a UNet alone"]),
    "a UNet's folder": (trained(""), "checkpoint-1000", ["that folder is a UNet alone"]),
    "an adapter": (
        lambda _: touched("lora/pytorch_lora_weights.safetensors"),
        "lora",
        ["an adapter (LoRA) alone"],
    ),
    "no index": (
        lambda here: (here / "runs/svd/model_index.json").unlink(),
        "runs/svd",
        ["it holds feature_extractor, image_encoder, scheduler, unet, vae. Copy model_index.json"],
    ),
    "an empty folder": (lambda _: Path("empty").mkdir(), "empty", ["there is: nothing at all. Allowed is"]),
    "a broken link": (lambda _: broken("gone"), "gone", ["that is a broken link"]),
    "a broken index": (
        lambda here: ((here / "runs/svd/model_index.json").unlink(), broken("runs/svd/model_index.json")),
        "runs/svd",
        ["its model_index.json is a broken link"],
    ),
    "a typing error": (nothing, "./runs/sdv", ["there is no such folder", "Did you mean runs"]),
    "what looks like a hub id": (nothing, "runs/sdv", ["Nor is there a folder runs", "Did you mean runs"]),
    "a page of the hub": (nothing, "https://huggingface.co/a/b/tree/main", ["give its id: model.source=a/b"]),
    "no hub id": (nothing, "a--b/c", ["no id of the hub"]),
    "no name": (nothing, "svd", ["no such folder, and a hub id has the form organisation/name"]),
    "a home that is none": (
        nothing,
        "~nobody-has-this-name/svd",
        ["model.source=~nobody-has-this-name/svd: "],
    ),
    "a very long name": (nothing, "a/" + "b" * 300, ["model"]),
    "what is no text": (nothing, "a\0b", ["there is no such folder"]),
}


@pytest.mark.parametrize(("make", "source", "told"), GIVEN.values(), ids=GIVEN)
def test_what_is_no_pipelines_folder_is_told_with_what_to_give(here, make, source, told):
    try:
        make(here)
    except OSError as e:
        pytest.skip(f"no links here: {e}")
    sentence = refusal(source)
    assert all(part in sentence for part in told), sentence


def test_a_folder_in_the_home_is_found(here, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(here))
    assert resolve(Model(source="~/runs/svd")).revision == resolve(Model(source="runs/svd")).revision


def test_a_file_that_cannot_be_read_is_told(here, monkeypatch):
    """Permissions bind no root, so the operating system's refusal is put in."""
    real = Path.open

    def denied(path, *args, **kwargs):
        if path == (here / "runs/svd" / UNET).resolve():
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", denied)
    assert "cannot be read (Permission denied)" in refusal("runs/svd")
