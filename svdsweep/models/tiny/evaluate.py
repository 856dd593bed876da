"""Measures the model against the generator's truth: motion, coherence, likeness, a photograph, speed."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from diffusers import StableVideoDiffusionPipeline
from PIL import Image

from svdsweep.models.tiny.camera import CAMERA_SHARE
from svdsweep.models.tiny.data import NUM_FRAMES, SIZE, Scene, render_sprites, sample_scenes, speed_px
from svdsweep.models.tiny.measures import (
    Frames,
    adjacent_psnr_db,
    camera_travel,
    locate_sprite,
    psnr_db,
    spearman,
)

BUCKETS = (20, 60, 120, 180, 240)
STRENGTHS = (0.02, 0.1, 0.3, 1.0)
FRAME_RATES = (7, 14, 25)
SEEDS = (0, 1, 2)
HELD_OUT_SEED = 10_000
"""Of the scenes here: training never draws from it."""
NUM_IMAGES = 16
TIMED_CLIPS = 5
NUM_STEPS = 6
MAX_GUIDANCE = 1.25
"""At the last frame, 1 at the first: this and the number of steps are the preset's, conf/model/tiny.yaml."""


@dataclass(frozen=True)
class Clip:
    """One sprite clip beside the truth; displacements along the sprite's heading, from first to last frame."""

    image: int
    bucket: int
    seed: int
    displacement_px: float
    true_displacement_px: float
    adjacent_psnr_db: float
    psnr_to_truth_db: float
    first_frame_psnr_db: float
    sprite_in_last_frame: bool


def load(folder: Path) -> StableVideoDiffusionPipeline:
    """Load the pipeline in float32."""
    pipeline = StableVideoDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.inference_mode()
def generate(
    pipeline: StableVideoDiffusionPipeline,
    image: Image.Image,
    *,
    bucket: int = 127,
    seed: int = 0,
    fps: int = 7,
    strength: float = 0.02,
    chunk: int | None = None,
) -> Frames:
    """Return a clip of an image, with the preset's settings."""
    frames = pipeline(
        image,
        height=SIZE,
        width=SIZE,
        num_frames=NUM_FRAMES,
        num_inference_steps=NUM_STEPS,
        min_guidance_scale=1.0,
        max_guidance_scale=MAX_GUIDANCE,
        fps=fps,
        motion_bucket_id=bucket,
        noise_aug_strength=strength,
        decode_chunk_size=chunk,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="np",
    ).frames[0]
    return (np.asarray(frames) * 255).round().astype(np.uint8)


def held_out_scenes(count: int = NUM_IMAGES, *, white: bool = False) -> Scene:
    """Return scenes of one sprite each that were not trained on."""
    generator = torch.Generator().manual_seed(HELD_OUT_SEED)
    return sample_scenes(count, generator, white=float(white), second=0)


def true_clip(scene: Scene, bucket: float, fps: float = 7) -> Frames:
    """Return what the generator would show of one scene."""
    video = render_sprites(scene, speed_px(torch.tensor([float(bucket)]), torch.tensor([float(fps)])))[0]
    return ((video + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def measure(frames: Frames, scene: Scene, image: int, bucket: int, seed: int, fps: int = 7) -> Clip:
    """Compare a generated clip of one scene with the true one.

    The sprite counts as present in the last frame when at least half of its area is vivid there.
    """
    truth = true_clip(scene, bucket, fps)
    heading = scene.heading[0, 0].numpy()
    centre, area = locate_sprite(frames)
    true_centre, true_area = locate_sprite(truth)
    return Clip(
        image=image,
        bucket=bucket,
        seed=seed,
        displacement_px=float((centre[-1] - centre[0]) @ heading),
        true_displacement_px=float((true_centre[-1] - true_centre[0]) @ heading),
        adjacent_psnr_db=adjacent_psnr_db(frames),
        psnr_to_truth_db=psnr_db(frames, truth),
        first_frame_psnr_db=psnr_db(frames[0], truth[0]),
        sprite_in_last_frame=bool(area[-1] > 0.5 * true_area[-1]),
    )


def evaluate_sprites(
    pipeline: StableVideoDiffusionPipeline, images: Sequence[int], seeds: Sequence[int]
) -> list[Clip]:
    """Measure the held-out images of these numbers, below `NUM_IMAGES`, at every bucket and seed."""
    scenes = held_out_scenes()
    clips = []
    for index in images:
        scene = scenes[index : index + 1]
        picture = Image.fromarray(true_clip(scene, 0)[0])
        for bucket in BUCKETS:
            for seed in seeds:
                frames = generate(pipeline, picture, bucket=bucket, seed=seed)
                clips.append(measure(frames, scene, index, bucket, seed))
    return clips


def evaluate_likeness(pipeline: StableVideoDiffusionPipeline, images: int) -> dict[str, float]:
    """Return the mean PSNR of the first frame to the conditioning image, by noise strength."""
    scenes = held_out_scenes(images)
    pictures = [true_clip(scenes[i : i + 1], 0)[0] for i in range(images)]
    return {
        str(strength): float(
            np.mean(
                [
                    psnr_db(generate(pipeline, Image.fromarray(p), bucket=120, strength=strength)[0], p)
                    for p in pictures
                ]
            )
        )
        for strength in STRENGTHS
    }


def evaluate_frame_rates(
    pipeline: StableVideoDiffusionPipeline, images: int
) -> dict[str, tuple[float, float]]:
    """Return the mean displacement at bucket 240 and the true one, px from first to last frame, by fps."""
    scenes = held_out_scenes(images)
    result = {}
    for fps in FRAME_RATES:
        clips = []
        for index in range(images):
            scene = scenes[index : index + 1]
            picture = Image.fromarray(true_clip(scene, 0)[0])
            clips.append(measure(generate(pipeline, picture, bucket=240, fps=fps), scene, index, 240, 0, fps))
        result[str(fps)] = (
            float(np.mean([clip.displacement_px for clip in clips])),
            float(np.mean([clip.true_displacement_px for clip in clips])),
        )
    return result


def square_picture(path: Path) -> Image.Image:
    """Return the middle square of a picture, at the model's size."""
    with Image.open(path) as source:
        side = min(source.size)
        left, top = (source.width - side) // 2, (source.height - side) // 2
        square = source.convert("RGB").crop((left, top, left + side, top + side))
    return square.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def evaluate_photograph(
    pipeline: StableVideoDiffusionPipeline, path: Path, seeds: Sequence[int]
) -> dict[str, object]:
    """Return first-frame PSNR and the camera's mean travel by bucket, for a photograph cropped to a square."""
    picture = square_picture(path)
    likeness, travel, modes = [], {}, []
    for bucket in BUCKETS:
        travels = []
        for seed in seeds:
            frames = generate(pipeline, picture, bucket=bucket, seed=seed)
            likeness.append(psnr_db(frames[0], np.asarray(picture)))
            mode, distance = camera_travel(frames[0], frames[-1])
            modes.append(f"{bucket}/{seed} {mode} {distance:.2f} px")
            travels.append(distance)
        travel[str(bucket)] = float(np.mean(travels))
    seven = torch.tensor([7.0])
    law = {str(b): CAMERA_SHARE * float(speed_px(torch.tensor([float(b)]), seven)) for b in BUCKETS}
    return {
        "first_frame_psnr_db": float(np.mean(likeness)),
        "travel_px": travel,
        "true_travel_px": {bucket: (NUM_FRAMES - 1) * speed for bucket, speed in law.items()},
        "camera": modes,
    }


def evaluate_white(pipeline: StableVideoDiffusionPipeline, images: int, seeds: Sequence[int]) -> list[str]:
    """Return the headings that the seeds give white sprites, a word of the letters R U L D for each image."""
    scenes = held_out_scenes(images, white=True)
    words = []
    for index in range(images):
        scene = scenes[index : index + 1]
        picture = Image.fromarray(true_clip(scene, 0)[0])
        word = ""
        for seed in seeds:
            last = generate(pipeline, picture, bucket=240, seed=seed)[-1].astype(np.float64).min(-1)
            y, x = np.unravel_index(int(last.argmax()), last.shape)
            dx, dy = float(x) - float(scene.start_px[0, 0, 0]), float(y) - float(scene.start_px[0, 0, 1])
            word += ("R" if dx > 0 else "L") if abs(dx) > abs(dy) else ("D" if dy > 0 else "U")
        words.append(word)
    return words


def evaluate_decoding(pipeline: StableVideoDiffusionPipeline) -> dict[str, float]:
    """Return how decoding frame by frame differs from decoding all at once, at bucket 20."""
    picture = Image.fromarray(true_clip(held_out_scenes(1), 0)[0])
    one, every = (generate(pipeline, picture, bucket=20, chunk=chunk) for chunk in (1, NUM_FRAMES))
    return {
        "max_abs_difference": float(np.abs(one.astype(int) - every).max()),
        "adjacent_psnr_db_chunk_1": adjacent_psnr_db(one),
        "adjacent_psnr_db_chunk_14": adjacent_psnr_db(every),
    }


def tabulate(clips: Sequence[Clip]) -> dict[str, object]:
    """Return the means by bucket, the rank correlation and the share of clips that keep their sprite."""
    by_bucket = {}
    for bucket in BUCKETS:
        chosen = [clip for clip in clips if clip.bucket == bucket]
        true_px = float(np.mean([c.true_displacement_px for c in chosen]))
        moved_px = float(np.mean([c.displacement_px for c in chosen]))
        by_bucket[str(bucket)] = {
            "displacement_px": moved_px,
            "true_displacement_px": true_px,
            "ratio_to_truth": moved_px / true_px,
            "adjacent_psnr_db": float(np.mean([c.adjacent_psnr_db for c in chosen])),
            "psnr_to_truth_db": float(np.mean([c.psnr_to_truth_db for c in chosen])),
            "worst_psnr_to_truth_db": min(c.psnr_to_truth_db for c in chosen),
        }
    return {
        "clips": len(clips),
        "by_bucket": by_bucket,
        "spearman": spearman([c.bucket for c in clips], [c.displacement_px for c in clips]),
        "sprite_in_last_frame_share": float(np.mean([c.sprite_in_last_frame for c in clips])),
        "first_frame_psnr_db": float(np.mean([c.first_frame_psnr_db for c in clips])),
    }


def evaluate_rest(pipeline: StableVideoDiffusionPipeline, photograph: Path, images: int) -> dict[str, object]:
    """Return what is measured beside the motion of coloured sprites, with so many images."""
    return {
        "likeness_psnr_db": evaluate_likeness(pipeline, images),
        "frame_rates_px": evaluate_frame_rates(pipeline, images),
        "photograph": evaluate_photograph(pipeline, photograph, SEEDS),
        "white_sprites": evaluate_white(pipeline, images, SEEDS),
        "decoding": evaluate_decoding(pipeline),
    }


def evaluate(
    folder: Path, photograph: Path, images: int = NUM_IMAGES, processes: int = 1
) -> dict[str, object]:
    """Return every figure of the model card; `images` below 16 gives a quicker look.

    processes: of one thread each, that share the clips; the seconds a clip are taken before they start.
    """
    torch.set_num_threads(1)
    start = time.perf_counter()
    pipeline = load(folder)
    load_s = time.perf_counter() - start
    grey = Image.new("RGB", (SIZE, SIZE), "grey")
    generate(pipeline, grey)
    start, cpu = time.perf_counter(), time.process_time()
    for seed in range(TIMED_CLIPS):
        generate(pipeline, grey, seed=seed)
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    shares = [range(first, images, processes) for first in range(processes)]
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        rest = pool.submit(_evaluate_rest, folder, photograph, max(2, images // 4))
        found = pool.map(evaluate_share, repeat(folder), shares, repeat(SEEDS))
        clips = [clip for share in found for clip in share]
    return {
        **tabulate(clips),
        **rest.result(),
        "load_s": load_s,
        "wall_s_per_clip": wall_s / TIMED_CLIPS,
        "cpu_s_per_clip": cpu_s / TIMED_CLIPS,
        "per_clip": [asdict(clip) for clip in clips],
    }


def evaluate_share(folder: Path, images: Sequence[int], seeds: Sequence[int]) -> list[Clip]:
    """Return what `evaluate_sprites` does of the model in `folder`: for a process of its own, on one thread."""
    torch.set_num_threads(1)
    return evaluate_sprites(load(folder), images, seeds)


def _evaluate_rest(folder: Path, photograph: Path, images: int) -> dict[str, object]:
    torch.set_num_threads(1)
    return evaluate_rest(load(folder), photograph, images)


def summary(result: dict[str, object]) -> str:
    """Return the figures as JSON without the list of single clips."""
    return json.dumps({key: value for key, value in result.items() if key != "per_clip"}, indent=2)
