"""Pipelines are genuine, in the dtype asked for; random ones have the published sizes and never a second copy."""

import pytest
import torch
from checkpoints import ENCODER, linked, read, shard, write
from diffusers import StableVideoDiffusionPipeline

from svdsweep.config import Model
from svdsweep.errors import UserError
from svdsweep.models.architectures import PARAMETERS, architecture
from svdsweep.models.load import load_pipeline, on_meta

CPU = torch.device("cpu")


@pytest.mark.parametrize("weights", ["pretrained", "random"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_component_has_the_dtype_asked_for(weights, dtype):
    pipe = load_pipeline(Model(weights=weights, dtype=dtype), CPU)
    assert isinstance(pipe, StableVideoDiffusionPipeline)
    for part in (pipe.unet, pipe.vae, pipe.image_encoder):
        assert {p.dtype for p in part.parameters()} == {getattr(torch, dtype)}
        assert not part.training
        assert not any(p.requires_grad for p in part.parameters())


def test_a_tensor_that_a_network_lacks_is_refused_by_name_and_never_drawn_at_random(tmp_path):
    folder = linked(tmp_path / "pipeline")
    tensors = read(folder / ENCODER)
    tensors.pop("visual_projection.weight")
    write(folder / ENCODER, tensors)
    with pytest.raises(UserError, match=r"lacks 1 of the 40 tensors.*visual_projection.weight"):
        load_pipeline(Model(source=str(folder)), CPU)


def test_shards_and_a_variant_beside_plain_files_load_as_the_whole_plain_files_do(tmp_path):
    folder = linked(tmp_path / "pipeline")
    shard(folder)
    (folder / ENCODER).rename((folder / ENCODER).with_suffix(".fp16.safetensors"))
    (folder / "unet" / "NOTES").touch()  # on a name without a dot diffusers' own search for variants fails
    plain, other = (load_pipeline(m, CPU) for m in (Model(), Model(source=str(folder), variant="fp16")))
    for part in ("unet", "image_encoder"):
        theirs = dict(getattr(other, part).named_parameters())
        assert all(torch.equal(p, theirs[name]) for name, p in getattr(plain, part).named_parameters())


@pytest.mark.parametrize("name", ["svd", "svd_xt"])
def test_the_published_architectures_have_the_published_sizes(name):
    networks = on_meta(architecture(name))
    assert {part: sum(p.numel() for p in net.parameters()) for part, net in networks.items()} == PARAMETERS
    assert networks["unet"].config.num_frames == (25 if name == "svd_xt" else 14)


def test_random_weights_are_the_same_every_time_and_give_finite_frames():
    a, b = (load_pipeline(Model(weights="random"), CPU) for _ in range(2))
    pairs = zip(a.unet.parameters(), b.unet.parameters(), strict=True)
    assert all(torch.equal(p, q) for p, q in pairs)
    size = {"height": 64, "width": 64, "num_frames": 2, "num_inference_steps": 1}
    from PIL import Image

    frames = a(Image.new("RGB", (64, 64), "red"), **size, output_type="pt").frames
    assert torch.isfinite(frames).all()
    assert frames.std() > 0


def test_random_weights_are_drawn_by_the_device_that_is_named_and_wait_where_they_should(monkeypatch):
    """The generators of a GPU and of a CPU give other numbers: here one with another seed stands for the GPU's."""

    class Gpus(torch.Generator):
        def manual_seed(self, seed):
            return super().manual_seed(seed + 1)

    real, gpu = torch.Generator, torch.device("cuda", 0)
    monkeypatch.setattr(torch, "Generator", lambda device: Gpus() if device == gpu else real(device))
    model = Model(weights="random")
    by_cpu, by_gpu, again = (load_pipeline(model, CPU, drawn_on=d) for d in (None, gpu, gpu))

    def same(a, b):
        pairs = zip(a.unet.parameters(), b.unet.parameters(), strict=True)
        return all(torch.equal(p, q) for p, q in pairs)

    assert same(by_gpu, again)
    assert not same(by_gpu, by_cpu)


def test_random_weights_need_not_be_drawn_where_they_wait():
    pipe = load_pipeline(Model(weights="random"), torch.device("meta"), drawn_on=CPU)
    assert {p.device.type for p in pipe.unet.parameters()} == {"meta"}


def test_the_tiny_architecture_is_that_of_the_embedded_weights():
    pretrained, random = (load_pipeline(Model(weights=w), CPU) for w in ("pretrained", "random"))
    for part in ("unet", "vae", "image_encoder"):
        shapes = [
            {k: v.shape for k, v in getattr(p, part).state_dict().items()} for p in (pretrained, random)
        ]
        assert shapes[0] == shapes[1]
