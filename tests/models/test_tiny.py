"""The embedded model: a clip is a video of its image, and moves more when asked for more."""

from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableVideoDiffusionPipeline
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file

from svdsweep.grid.presets import CONF
from svdsweep.models.tiny import WEIGHTS, evaluate, latents, measures
from svdsweep.models.tiny.camera import CAMERA_SHARE, camera_path, load_image, render_camera
from svdsweep.models.tiny.data import (
    IMAGES,
    NUM_FRAMES,
    SIZE,
    SLOW,
    render_sprites,
    sample_conditions,
    speed_px,
)
from svdsweep.models.tiny.export import example_scenes, export, to_image, unpack


@pytest.fixture(scope="module")
def clips(pipeline: StableVideoDiffusionPipeline) -> dict[int, measures.Frames]:
    picture = Image.open(IMAGES / "sprite_right.png")
    return {bucket: evaluate.generate(pipeline, picture, bucket=bucket) for bucket in (20, 240)}


def test_the_weights_fit_in_the_wheel() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file()) <= 16_000_000


@pytest.mark.slow
def test_the_first_frame_is_the_image(clips: dict[int, measures.Frames]) -> None:
    picture = np.asarray(Image.open(IMAGES / "sprite_right.png").convert("RGB"))
    for frames in clips.values():
        assert frames.shape == (NUM_FRAMES, SIZE, SIZE, 3)
        assert measures.psnr_db(frames[0], picture) > 30


@pytest.mark.slow
def test_the_sprite_goes_right_and_further_with_the_motion_bucket(clips: dict[int, measures.Frames]) -> None:
    travelled = []
    for frames in clips.values():
        centre, area = measures.locate_sprite(frames)
        travelled.append(centre[-1, 0] - centre[0, 0])
        assert area[-1] > 0.5 * area[0]
    assert travelled == sorted(travelled)
    assert travelled[-1] > 3 * max(1.0, travelled[0])


def test_frames_decoded_one_by_one_are_not_those_decoded_together(
    pipeline: StableVideoDiffusionPipeline,
) -> None:
    picture = latents.encode(torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    clip = (
        torch.stack([picture[0] * (1 - i / 4) for i in range(4)])[None] * pipeline.vae.config.scaling_factor
    )
    with torch.inference_mode():
        one, every = (pipeline.decode_latents(clip, num_frames=4, decode_chunk_size=n) for n in (1, 4))
    assert float((one - every).abs().max()) > 0.01


@pytest.mark.slow
def test_the_evaluation_tells_how_far_apart_they_are(pipeline: StableVideoDiffusionPipeline) -> None:
    figures = evaluate.evaluate_decoding(pipeline)
    assert figures["max_abs_difference"] > 0


def test_the_encoder_computes_the_prescribed_latents(pipeline: StableVideoDiffusionPipeline) -> None:
    image = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        encoded = pipeline.vae.encode(image).latent_dist.mode()
    assert torch.allclose(encoded, latents.encode(image), atol=0.01)


def test_weights_unpacked_and_exported_again_are_the_same(tmp_path: Path) -> None:
    unpack(WEIGHTS, tmp_path)
    export(tmp_path, tmp_path / "weights")
    for part in ("unet", "vae", "image_encoder"):
        (old,) = (WEIGHTS / part).glob("*.safetensors")
        before, after = load_file(old), load_file(tmp_path / "weights" / part / old.name)
        assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_the_evaluation_takes_the_settings_of_the_preset() -> None:
    preset = OmegaConf.load(CONF / "model/tiny.yaml")
    assert preset.num_inference_steps == evaluate.NUM_STEPS
    assert (preset.min_guidance_scale, preset.max_guidance_scale) == (1.0, evaluate.MAX_GUIDANCE)


def test_the_packaged_sprites_are_the_generators() -> None:
    for name, scene in example_scenes().items():
        packaged = np.asarray(Image.open(IMAGES / f"sprite_{name}.png"))
        rendered = np.asarray(to_image(render_sprites(scene, torch.zeros(1), 1)[0, 0]))
        assert np.abs(packaged.astype(int) - rendered).max() <= 1


def test_speed_is_proportional_to_the_bucket_and_falls_with_the_frame_rate() -> None:
    slow, fast = speed_px(torch.tensor([60.0, 240.0]), torch.tensor([7.0, 7.0])).tolist()
    assert fast == pytest.approx(4 * slow)
    seven, fourteen = speed_px(torch.tensor([200.0, 200.0]), torch.tensor([7.0, 14.0])).tolist()
    assert seven == pytest.approx(2 * fourteen)


def test_slow_clips_can_be_drawn_more_often() -> None:
    for share in (0.3, 0.8):
        bucket, _, _ = sample_conditions(2000, torch.Generator().manual_seed(0), share)
        beside = (1 - share) * SLOW / 256
        assert float((bucket < SLOW).float().mean()) == pytest.approx(share + beside, abs=0.06)
        assert bucket.min() == 0 < 240 < bucket.max() <= 255


def test_the_camera_is_found_again() -> None:
    image = load_image(Path(IMAGES / "astronaut.jpg"))
    for mode, name in enumerate(("pan left", "pan right", "zoom in")):
        path = camera_path(1.0 / CAMERA_SHARE, mode, torch.tensor([0.0, 6.0]))
        clip = render_camera(image, path, (256.0, 256.0), (4.0, 4.0))
        first, last = (((clip + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy())[:2]
        direction, travel = measures.camera_travel(first, last)
        assert direction == name
        assert travel == pytest.approx(6.0, abs=0.5)


def test_spearman_shares_the_rank_of_ties() -> None:
    assert measures.spearman([1, 1, 2, 2], [1, 1, 2, 2]) == pytest.approx(1)
    assert measures.spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)


@pytest.mark.slow
def test_the_camera_pans_over_a_photograph_that_was_not_trained_on(
    pipeline: StableVideoDiffusionPipeline,
) -> None:
    photograph = Image.open(IMAGES / "coffee.jpg").crop((100, 0, 500, 400)).resize((SIZE, SIZE))
    travels = []
    for bucket in (20, 240):
        frames = evaluate.generate(pipeline, photograph, bucket=bucket)
        assert measures.psnr_db(frames[0], np.asarray(photograph)) > 24
        mode, travel = measures.camera_travel(frames[0], frames[-1])
        assert mode == "pan right"
        travels.append(travel)
    assert travels[1] > 4 > 2 > travels[0] > 0


@pytest.mark.by_hand  # of files that do not change; minutes of them
@pytest.mark.timeout(1200)
def test_sixteen_held_out_images_move_as_the_model_card_says() -> None:
    shares = [range(first, evaluate.NUM_IMAGES, 2) for first in range(2)]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        scored = pool.map(evaluate.evaluate_share, repeat(WEIGHTS), shares, repeat((0,)))
        clips = [clip for share in scored for clip in share]
    means = {
        bucket: [
            float(np.mean([getattr(clip, name) for clip in clips if clip.bucket == bucket]))
            for name in ("displacement_px", "true_displacement_px", "psnr_to_truth_db", "adjacent_psnr_db")
        ]
        for bucket in evaluate.BUCKETS
    }
    moved = [mean[0] for mean in means.values()]
    assert moved == sorted(moved)
    assert moved[-1] >= 5 * moved[0]
    for displacement, truth, psnr, _ in means.values():
        assert displacement == pytest.approx(truth, rel=0.15)
        assert psnr >= 28
    assert means[20][3] >= 36
    assert measures.spearman([c.bucket for c in clips], [c.displacement_px for c in clips]) >= 0.95
    assert np.mean([clip.sprite_in_last_frame for clip in clips]) >= 0.95
