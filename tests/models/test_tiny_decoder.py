"""The embedded model's decoder and U-Net as they are set up, and what of it the training keeps."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder, StableVideoDiffusionPipeline

from svdsweep.models.tiny import evaluate, latents
from svdsweep.models.tiny.architecture import make_unet, make_vae
from svdsweep.models.tiny.data import IMAGES
from svdsweep.models.tiny.fitting import capture, fit_pixels
from svdsweep.models.tiny.kept import CONTENT, ROWS, clear, kept_rows
from svdsweep.models.tiny.shortcut import frozen_parts


@pytest.fixture
def vae(pipeline: StableVideoDiffusionPipeline) -> AutoencoderKLTemporalDecoder:
    vae: AutoencoderKLTemporalDecoder = pipeline.vae
    return vae


def test_every_signal_has_a_row_and_mean_colours_their_negatives() -> None:
    counts = [latents.CHANNELS, 13, 12, 3]
    for rows, count in zip(ROWS, counts, strict=True):
        assert len(rows) % 2 == 0
        assert sorted({signal for signal, sign in rows if sign}) == list(range(count))
        for plus, minus in zip(rows[0:6:2], rows[1:6:2], strict=True):
            assert plus == (minus[0], -minus[1])


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 48), (96, 64), (104, 104)])
def test_the_decoder_knows_even_columns_and_rows_from_odd_ones(
    vae: AutoencoderKLTemporalDecoder, height: int, width: int
) -> None:
    code = torch.zeros(1, latents.CHANNELS, height // 8, width // 8)
    with torch.inference_mode():
        for level in (1, 2, 3):
            block = vae.decoder.up_blocks[level].resnets[1]
            stream = capture(vae.decoder, block, code)[0]
            across, down = stream[CONTENT[level - 1]], stream[CONTENT[level - 1] + 2]
            odd = torch.arange(stream.shape[-1]) % 2 == 1
            assert ((across > 0) == odd[None]).all()
            odd = torch.arange(stream.shape[-2]) % 2 == 1
            assert ((down > 0) == odd[:, None]).all()
            assert min(float(across.abs().min()), float(down.abs().min())) > 5


def test_a_photograph_that_was_not_trained_on_survives_the_autoencoder(
    vae: AutoencoderKLTemporalDecoder,
) -> None:
    pixels = torch.from_numpy(np.array(evaluate.square_picture(IMAGES / "coffee.jpg")))
    image = pixels.permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        decoded = vae.decode(latents.encode(image).repeat(14, 1, 1, 1), num_frames=14).sample
    assert -10 * float((decoded - image).square().mean().div(4).log10()) > 25


def test_fitted_weights_are_float16_numbers_that_make_up_for_their_rounding() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = 8 + 0.5 * torch.randn(4, 12, 16, 16, generator=generator)
    mixing = torch.randn(12, 3, generator=generator)
    target = torch.einsum("nchw,cj->njhw", inputs, mixing)
    scale = 2.0**-18

    def error(weights: torch.Tensor) -> float:
        fitted = torch.einsum("nchw,cj->njhw", inputs, weights[:-1]) + weights[-1].view(-1, 1, 1)
        return float((fitted - target).square().mean().sqrt())

    weights = fit_pixels(inputs, target, scale)
    assert torch.equal((scale * weights).half().float(), scale * weights)
    naive = (scale * torch.cat([mixing, torch.zeros(1, 3)])).half().float() / scale
    assert error(weights) < 0.5 * error(naive)


def test_training_has_left_what_is_kept(vae: AutoencoderKLTemporalDecoder) -> None:
    """Signals of one frame reach the end alone: no learned branch writes into their rows."""
    fresh = make_vae()
    clear(fresh)
    for (parameter, rows), (zero, _) in zip(kept_rows(vae), kept_rows(fresh), strict=True):
        assert parameter.shape == zero.shape
        if parameter.ndim == 5:  # the temporal convolutions' rows, which nothing else was set in
            assert not parameter[:rows].any()
            assert not zero[:rows].any()


def test_a_new_unet_is_the_copy_of_the_image_into_every_frame() -> None:
    unet = make_unet().eval()
    generator = torch.Generator().manual_seed(0)
    image = 0.4 * torch.randn(2, latents.CHANNELS, 8, 8, generator=generator)
    image += 0.4 * torch.randn(2, latents.CHANNELS, 1, 1, generator=generator)
    noisy = torch.randn(2, 14, latents.CHANNELS, 8, 8, generator=generator)
    with torch.inference_mode():
        output = unet(
            torch.cat([noisy, image[:, None].expand(-1, 14, -1, -1, -1)], 2),
            torch.tensor([1.0, 0.2]),
            torch.randn(2, 1, 64, generator=generator),
            added_time_ids=torch.rand(2, 3, generator=generator),
        ).sample
    wanted = -latents.SCALING_FACTOR * image[:, None]
    assert (output - wanted).square().mean().sqrt() < 0.02 * wanted.std()


def test_the_packaged_unet_still_carries_the_copy(pipeline: StableVideoDiffusionPipeline) -> None:
    for (trained, part), (fresh, _) in zip(
        frozen_parts(pipeline.unet), frozen_parts(make_unet()), strict=True
    ):
        assert torch.equal(trained[part], fresh[part].half().float())
