"""The embedded pipeline as a folder of one's own, and what may go wrong with a checkpoint."""

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

from svdsweep.models.architectures import TINY

UNET, VAE = "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"
ENCODER = "image_encoder/model.safetensors"
FILES = (UNET, VAE, ENCODER)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9700808\n"
Tensors = dict[str, tuple[str, list[int], bytes]]
"""Type, shape and content by name."""


def linked(target: Path) -> Path:
    """The embedded pipeline in a folder of its own: config files copied, weights linked where the disk can."""
    for path in TINY.rglob("*.*"):
        at = target / path.relative_to(TINY)
        at.parent.mkdir(parents=True, exist_ok=True)
        try:
            (os.link if path.suffix == ".safetensors" else shutil.copyfile)(path, at)
        except OSError:
            shutil.copyfile(path, at)
    return target


def replace(path: Path, data: bytes) -> None:
    """Put other content in the place of a file, which may be a link to the embedded one."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def read(path: Path) -> Tensors:
    """The tensors of a safetensors file."""
    data = path.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {
        name: (of["dtype"], of["shape"], data[slice(*(start + at for at in of["data_offsets"]))])
        for name, of in header.items()
    }


def write(path: Path, tensors: Tensors) -> None:
    """A safetensors file with these tensors, in the place of what was there."""
    header, at = {}, 0
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(content)]}
        at += len(content)
    text = json.dumps(header).encode()
    replace(path, b"".join([struct.pack("<Q", len(text)), text, *(t[2] for t in tensors.values())]))


def set_json(path: Path, **settings: Any) -> None:
    """Change settings of a JSON file; None takes one out."""
    config = json.loads(path.read_text(encoding="utf-8")) | settings
    kept = {key: value for key, value in config.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def shard(folder: Path, file: str = UNET) -> list[Path]:
    """Part a weight file in two shards with an index; returns the shards."""
    path = folder / file
    tensors = read(path)
    path.unlink()
    names, half = sorted(tensors), len(tensors) // 2
    shards = [path.with_name(f"{path.stem}-0000{i}-of-00002.safetensors") for i in (1, 2)]
    for at, part in zip(shards, (names[:half], names[half:]), strict=True):
        write(at, {name: tensors[name] for name in part})
    weight_map = {name: shards[i >= half].name for i, name in enumerate(names)}
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / f"{file}.index.json").write_text(json.dumps(index), encoding="utf-8")
    return shards
