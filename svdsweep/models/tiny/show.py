"""Draws what the model does: a contact sheet and an animation of five buckets by three seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import StableVideoDiffusionPipeline
from PIL import Image, ImageDraw

from svdsweep.models.tiny.data import IMAGES, SIZE
from svdsweep.models.tiny.evaluate import BUCKETS, SEEDS, generate, load, square_picture
from svdsweep.models.tiny.measures import Frames

SHOWN = (0, 4, 8, 13)
MARGIN_PX, GAP_PX = 64, 8
PICTURES = ("sprite_right.png", "coffee.jpg")


def _clips(pipeline: StableVideoDiffusionPipeline, name: str) -> dict[tuple[int, int], Frames]:
    picture = square_picture(IMAGES / name)
    return {
        (bucket, seed): generate(pipeline, picture, bucket=bucket, seed=seed)
        for bucket in BUCKETS
        for seed in SEEDS
    }


def write(weights: Path, folder: Path) -> None:
    """Write contact_sheet.png of every picture and motion.webp of the first one to a folder."""
    torch.set_num_threads(1)
    pipeline = load(weights)
    clips = {name: _clips(pipeline, name) for name in PICTURES}
    contact_sheet(clips).quantize(160).save(folder / "contact_sheet.png", optimize=True)
    first, *others = animation(clips[PICTURES[0]])
    first.save(
        folder / "motion.webp", save_all=True, append_images=others, duration=1000 // 7, loop=0, quality=80
    )


def contact_sheet(clips: dict[str, dict[tuple[int, int], Frames]]) -> Image.Image:
    """Draw, for each picture, a row a bucket and in it frames 1, 5, 9 and 14 of three seeds."""
    width = MARGIN_PX + len(SEEDS) * (len(SHOWN) * SIZE + GAP_PX)
    height = 16 + len(BUCKETS) * SIZE + GAP_PX
    sheet = Image.new("RGB", (width, height * len(clips)), "white")
    draw = ImageDraw.Draw(sheet)
    for block, (name, table) in enumerate(clips.items()):
        top = block * height
        draw.text((4, top + 2), "bucket", fill="black")
        for column, seed in enumerate(SEEDS):
            left = MARGIN_PX + column * (len(SHOWN) * SIZE + GAP_PX)
            draw.text((left, top + 2), f"{name}, seed {seed}: frames 1, 5, 9, 14", fill="black")
        for (bucket, seed), frames in table.items():
            row, column = BUCKETS.index(bucket), SEEDS.index(seed)
            y = top + 16 + row * SIZE
            draw.text((4, y + SIZE // 2 - 6), str(bucket), fill="black")
            strip = np.concatenate([frames[i] for i in SHOWN], 1)
            sheet.paste(Image.fromarray(strip), (MARGIN_PX + column * (len(SHOWN) * SIZE + GAP_PX), y))
    return sheet


def animation(clips: dict[tuple[int, int], Frames], scale: int = 2) -> list[Image.Image]:
    """Draw the frames of an animation: a column a bucket, a row a seed."""
    rows = [np.concatenate([clips[bucket, seed] for bucket in BUCKETS], 2) for seed in SEEDS]
    frames = [Image.fromarray(frame) for frame in np.concatenate(rows, 1)]
    return [f.resize((f.width * scale, f.height * scale), Image.Resampling.BICUBIC) for f in frames]
