"""Small pictures of what a running job's latents would show by now; made beside the run, by a map without weights.

Each step's denoised latents become colours by one matrix. They are fetched from the device and written by a thread of
their own, which drops what comes faster than it writes."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from svdsweep.models.tiny.latents import CHANNELS, COLOURS, GAIN, SCALING_FACTOR
from svdsweep.store.files import renamed_when_done

OF_SD = ((0.298, 0.207, 0.208), (0.187, 0.286, 0.173), (-0.158, 0.189, 0.264), (-0.184, -0.271, -0.473))
"""Red, green and blue (-1 to 1) of each channel of Stable Diffusion's scaled latents, fitted by Keturn
(discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204)."""
FRAMES = 4
"""Shown side by side, evenly over the clip, the first and the last among them."""
SMALLEST_PX = 64
"""Frames of fewer lines are enlarged."""


def colours_of(channels: int) -> Tensor | None:
    """The map (channels, 3) from scaled latents to colours in -1 to 1: of Stable Diffusion's latents, or exactly of the
    tiny model's, whose first three are the means of a patch; None for latents that nobody has fitted."""
    if channels == CHANNELS:
        means = torch.zeros(channels, 3)
        means[:3] = COLOURS / (GAIN * SCALING_FACTOR)
        return means
    return torch.tensor(OF_SD) if channels == len(OF_SD) else None


class Preview:
    """The picture of one job, at `path` from its first step until it is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shown = 0
        """Steps that could be shown so far."""
        self._latest: Tensor | None = None
        self._news = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._write_all, daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def of(self, pipe: Any) -> Iterator[None]:
        """Look at what the scheduler makes of each step, for a `with` block."""
        step = pipe.scheduler.step

        def watched(*args: Any, **kwargs: Any) -> Any:
            out = step(*args, **kwargs)
            self.show(_denoised(out))
            return out

        pipe.scheduler.step = watched
        try:
            yield
        finally:
            del pipe.scheduler.step

    def show(self, latents: Tensor) -> None:
        """Have latents (1, F, C, h, w) shown, as soon as the thread is free."""
        colours = colours_of(latents.shape[2])
        if colours is None:
            return
        frames = latents[0][_evenly(latents.shape[1])].float()
        pixels = torch.einsum("fchw,cr->hfwr", frames, colours.to(frames.device))
        with self._news:
            self._latest = ((pixels + 1) * 127.5).clamp(0, 255).to(torch.uint8)
            self._news.notify()
        self.shown += 1

    def close(self) -> None:
        """End the thread and take the picture away."""
        with self._news:
            self._open = False
            self._news.notify()
        self._thread.join()
        self.path.unlink(missing_ok=True)

    def _write_all(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._latest is not None or not self._open)
                latest, self._latest = self._latest, None
                if not self._open or latest is None:
                    return
            with contextlib.suppress(OSError):  # a full disk is told by what has to be written
                self._write(latest)

    def _write(self, pixels: Tensor) -> None:
        """Write colours (h, F, w, 3) as one picture, its frames side by side."""
        picture = Image.fromarray(pixels.flatten(1, 2).cpu().numpy())
        if (times := -(-SMALLEST_PX // picture.height)) > 1:
            picture = picture.resize(
                (picture.width * times, picture.height * times), Image.Resampling.NEAREST
            )
        with renamed_when_done(self.path) as part:
            picture.save(part, "PNG")


def _denoised(out: Any) -> Tensor:
    """What a scheduler takes for the end of the way, where it tells, else where it stands."""
    for name in ("pred_original_sample", "denoised"):
        if (latents := getattr(out, name, None)) is not None:
            return latents  # type: ignore[no-any-return]
    return out.prev_sample  # type: ignore[no-any-return]


def _evenly(frames: int) -> list[int]:
    count = min(FRAMES, frames)
    return [round(i * (frames - 1) / max(1, count - 1)) for i in range(count)]
