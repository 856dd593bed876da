"""Other decoders: the published networks, read from every layout that there is of them, fed what they expect."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import load_file, save_file

from svdsweep.config import Model
from svdsweep.errors import UserError
from svdsweep.models.decoders.layout import OLD_ATTENTION, PUBLISHED, TINY_DECODERS, config_of, tensors_of
from svdsweep.models.decoders.load import decoder_with_weights, decoder_without_weights
from svdsweep.models.decoders.locate import fetch_decoder, judged_decoder, with_decoder
from svdsweep.models.decoders.networks import NETWORKS
from svdsweep.models.load import load_pipeline
from svdsweep.models.original import VAE, of_vae

CPU = torch.device("cpu")
FACTOR = 1.5
"""The tiny model's scaling factor."""
LATENTS = torch.randn(1, 3, 32, 4, 4, generator=torch.Generator().manual_seed(0))
OTHERS = sorted(NETWORKS)
WEIGHTS = "diffusion_pytorch_model.safetensors"
PARAMETERS = {"image": 49_490_179 + 20, "taesd": 1_222_531}
"""As github.com/madebyollin/taesd has them; the other 20 are those of the layer before Stable Diffusion's decoder."""


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, empty: a stranger's may hold these decoders."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with_decoder.cache_clear()
    return tmp_path / "hub"


def decode(decoder: Any, latents: torch.Tensor = LATENTS) -> torch.Tensor:
    """What the pipeline asks of the decoder, (F, 3, 8h, 8w)."""
    with torch.no_grad():
        frames: torch.Tensor = decoder(latents.flatten(0, 1) / FACTOR, num_frames=latents.shape[1])
    return frames


def own(name: str, source: Path | str = "") -> Any:
    """The tiny model's decoder of that name, or what lies elsewhere."""
    model = with_decoder(Model(decoder=name, decoder_source=str(source)))
    return decoder_with_weights(model, FACTOR, torch.float32)


@pytest.mark.parametrize("architecture", ["svd_xt", "tiny"])
@pytest.mark.parametrize("name", OTHERS)
def test_the_table_of_tensors_is_the_networks_own(name: str, architecture: str) -> None:
    network = decoder_without_weights(name, architecture, FACTOR).network
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert tensors_of(name, config_of(name, architecture)) == shapes


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_published_decoders_have_the_published_sizes(name: str) -> None:
    network = decoder_without_weights(name, "svd", FACTOR).network
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


def test_the_image_decoder_is_fed_what_stable_diffusions_vae_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32,) * 4,
        latent_channels=32,
        scaling_factor=FACTOR,
    )
    vae.save_pretrained(tmp_path)
    with torch.no_grad():
        wanted = torch.cat([vae.decode(frame[None] / FACTOR).sample for frame in LATENTS[0]])
    assert torch.equal(decode(own("image", tmp_path)), wanted)


def test_taesd_is_fed_the_latents_as_the_unet_makes_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    widths = {"encoder_block_out_channels": (16,) * 4, "decoder_block_out_channels": (16,) * 4}
    vae = AutoencoderTiny(latent_channels=32, scaling_factor=1.0, **widths)
    vae.save_pretrained(tmp_path)
    with torch.no_grad():
        wanted = vae.decode(LATENTS[0]).sample
    # the latents were divided by the VAE's factor and are multiplied by it again: a rounding, carried through 30 layers
    torch.testing.assert_close(decode(own("taesd", tmp_path)), wanted, atol=1e-4, rtol=0)


def test_taesdv_remembers_of_each_frame_what_its_author_says() -> None:
    """As in its description: a block sees its own input, shifted by one frame, with nothing before the first."""
    decoder = own("taesdv")
    x = torch.tanh(LATENTS[0] * decoder.gain / FACTOR / 3) * 3
    with torch.no_grad():
        for layer in decoder.network.decoder:
            if hasattr(layer, "conv"):
                before = F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0))[:-1]
                x = F.relu(layer.conv(torch.cat([x, before], 1)) + x)
            else:
                x = layer(x)
    torch.testing.assert_close(
        decode(decoder), x * 2 - 1, atol=1e-4, rtol=0
    )  # other kernels for other batches


def test_every_clip_of_a_batch_begins_without_a_memory() -> None:
    decoder = own("taesdv")
    twice = torch.cat([LATENTS, LATENTS], 1)
    with torch.no_grad():
        frames = decoder(twice.flatten(0, 1) / FACTOR, num_frames=3)
    assert torch.equal(frames[:3], frames[3:])


def as_old(tensors: dict[str, Any], name: str) -> dict[str, Any]:
    def spelt(key: str) -> str:
        for new, old in OLD_ATTENTION:
            key = key.replace(new, old)
        return key

    return {spelt(key): value for key, value in tensors.items()}


def as_original(tensors: dict[str, Any], prefix: str) -> dict[str, Any]:
    found = {}
    for key, value in tensors.items():
        spelt = of_vae(key, 3)
        pointwise = ".attn_1." in spelt and value.dim() == 2
        found[prefix + spelt] = value[:, :, None, None].contiguous() if pointwise else value
    return found


LAYOUTS = {
    "diffusers' of 2022": ("image", lambda tensors: as_old(tensors, "image")),
    "Stable Diffusion's VAE alone": ("image", lambda tensors: as_original(tensors, "")),
    "a whole Stable Diffusion": (
        "image",
        lambda tensors: as_original(tensors, VAE) | {"model.diffusion_model.out.2.bias": torch.zeros(4)},
    ),
    "TAESD's decoder alone": (
        "taesd",
        lambda tensors: {
            f"{int(key.split('.')[2]) + 1}.{key.split('.', 3)[3]}": value for key, value in tensors.items()
        },
    ),
    "TAESDV with its encoder": ("taesdv", lambda tensors: tensors | {"encoder.0.bias": torch.zeros(16)}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_decoder_is_read_alike_from_every_layout(layout: str, tmp_path: Path, monkeypatch: Any) -> None:
    name, written = LAYOUTS[layout]
    monkeypatch.setitem(PUBLISHED, name, config_of(name, "tiny"))
    file = tmp_path / "decoder.safetensors"
    save_file(written(load_file(TINY_DECODERS / name / WEIGHTS)), file)
    assert torch.equal(decode(own(name, file)), decode(own(name)))


def hollow(file: Path, name: str, **changed: Any) -> Path:
    """A file with the tensors of a published decoder, in zeros of half precision; None takes one away."""
    tensors = {key: torch.zeros(shape) for key, shape in tensors_of(name, PUBLISHED[name]).items()} | changed
    save_file({k: v.half() for k, v in tensors.items() if v is not None}, file)
    return file


FIRST = "decoder.layers.0.weight"


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What people have: published decoders, and all that is none."""
    folder = tmp_path_factory.mktemp("kinds")
    hollow(folder / "taesd.safetensors", "taesd")
    hollow(folder / "lacking.safetensors", "taesd", **{FIRST: None})
    hollow(folder / "misshapen.safetensors", "taesd", **{FIRST: torch.zeros(64, 16, 3, 3)})
    hollow(folder / "more.safetensors", "taesd", lora=torch.zeros(1))
    hollow(folder / "taesdv.safetensors", "taesdv")
    for name in ("taesdv.pth", "notes.txt", "empty.safetensors"):
        (folder / name).touch()
    for name, kind in {
        "sd": "AutoencoderKL",
        "xl": "AutoencoderKL",
        "svd": "AutoencoderKLTemporalDecoder",
    }.items():
        (folder / name).mkdir()
        factor = 0.13025 if name == "xl" else 0.18215
        config = f'{{"_class_name": "{kind}", "scaling_factor": {factor}}}'
        (folder / name / "config.json").write_text(config, encoding="utf-8")
        (folder / name / "diffusion_pytorch_model.bin").touch()
    (folder / "xl" / WEIGHTS).touch()
    (folder / "pipeline" / "vae").mkdir(parents=True)
    (folder / "pipeline" / "model_index.json").touch()
    return folder


REFUSED = [
    ("temporal", "someone/vae", "changes nothing under model.decoder=temporal"),
    ("taesdv", "", r"needs model.decoder_source.*curl -LO .*weights_only=True.*model.decoder_source=NEW"),
    ("taesd", "", r"madebyollin/taesd are not on this machine.*`hf download madebyollin/taesd config.json"),
    ("image", "", "stabilityai/sd-vae-ft-mse are not on this machine"),
    ("taesd", "nowhere", "no such file or folder"),
    ("taesdv", "{}/taesdv.pth", r"a pickle, which is never read.*weights_only=True"),
    ("taesd", "{}/notes.txt", "no safetensors file"),
    ("taesd", "{}/empty.safetensors", r"is empty \(0 bytes\)"),
    ("taesd", "{}/lacking.safetensors", rf"lacks 1 of the 67 tensors of the decoder taesd \({FIRST}"),
    ("taesd", "{}/misshapen.safetensors", f"holds {FIRST} as 64×16×3×3 where taesd has 64×4×3×3"),
    ("taesd", "{}/more.safetensors", r"holds 1 tensors beside those of the decoder taesd \(lora"),
    ("taesd", "{}/taesdv.safetensors", "lacks"),
    (
        "taesd",
        "{}/sd",
        "that of a AutoencoderKL, where taesd has a AutoencoderTiny.*model.decoder=image is for that",
    ),
    (
        "image",
        "{}/sd",
        "diffusion_pytorch_model.safetensors is missing, and diffusion_pytorch_model.bin is a pickle",
    ),
    ("image", "{}/svd", "that of a AutoencoderKLTemporalDecoder"),
    ("image", "{}/xl", r"its scaling_factor is 0.13025, where this model's VAE has 0.18215"),
    ("image", "{}/pipeline", "give its VAE: model.decoder_source=.*vae"),
    ("image", "{}", "config.json is missing"),
]


@pytest.mark.parametrize(("name", "source", "why"), REFUSED)
def test_what_is_no_such_decoder_is_refused_with_a_sentence(
    name: str, source: str, why: str, kinds: Path
) -> None:
    model = Model(source="svd", architecture="svd", decoder=name, decoder_source=source.format(kinds))
    with pytest.raises(UserError, match=rf"(?s){why}"):
        with_decoder(model)


def test_a_decoder_of_other_latents_is_refused(kinds: Path) -> None:
    model = Model(decoder="taesd", decoder_source=str(kinds / "taesd.safetensors"))
    with pytest.raises(UserError, match=r"decodes latents of 4 channels, where this model's have 32.*leave"):
        with_decoder(model)


def test_a_decoder_is_pinned_by_what_is_in_its_file(kinds: Path) -> None:
    model = Model(
        source="svd", architecture="svd", decoder="taesdv", decoder_source=str(kinds / "taesdv.safetensors")
    )
    pinned = with_decoder(model)
    assert pinned.decoder_revision
    assert with_decoder(pinned) == pinned
    with pytest.raises(UserError, match=r"decoder_revision=0123: what lies in"):
        with_decoder(replace(model, decoder_revision="0123"))


def test_a_decoder_in_the_hubs_cache_is_pinned_to_its_commit(hub_cache: Path) -> None:
    repository, commit = hub_cache / "models--madebyollin--taesd", "0123456789abcdef" * 2 + "01234567"
    for folder in ("refs", f"snapshots/{commit}"):
        (repository / folder).mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit, encoding="utf-8")
    snapshot = repository / "snapshots" / commit
    (snapshot / "config.json").write_text('{"_class_name": "AutoencoderTiny"}', encoding="utf-8")
    hollow(snapshot / WEIGHTS, "taesd")
    pinned = with_decoder(Model(source="svd", architecture="svd", decoder="taesd"))
    assert (pinned.decoder_source, pinned.decoder_revision) == ("madebyollin/taesd", commit)
    assert judged_decoder(pinned).file == snapshot / WEIGHTS
    fetch_decoder(pinned)  # it is there: nothing is asked of the hub
    with pytest.raises(UserError, match=r"hf download madebyollin/taesd --revision 0123456 config.json"):
        judged_decoder(replace(pinned, decoder_revision="0123456"))


def test_random_weights_of_the_other_networks_are_the_same_under_every_decoder() -> None:
    a, b = (load_pipeline(Model(weights="random", decoder=name), CPU) for name in ("temporal", "taesd"))
    for part in ("unet", "image_encoder"):
        pairs = zip(getattr(a, part).parameters(), getattr(b, part).parameters(), strict=True)
        assert all(torch.equal(p, q) for p, q in pairs)
    assert all(
        torch.equal(p, q) for p, q in zip(a.vae.encoder.parameters(), b.vae.encoder.parameters(), strict=True)
    )
    video = b.decode_latents(LATENTS, 3)
    assert video.shape == (1, 3, 3, 32, 32)
    assert torch.isfinite(video).all()
