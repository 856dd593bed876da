"""A clip and what several families derive from it, each thing computed once and only when asked for."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from svdsweep.errors import UserError
from svdsweep.metrics.contract import Context, masked_mean
from svdsweep.metrics.shared import flow
from svdsweep.metrics.shared.likeness import Frames, Likeness, as_tensor, laplacian_variance, likenesses, luma

FLOW_SIDE_PX = 288
"""Flow and warps are computed with the shorter side at most this long."""
COVERED = 0.3
"""A pair whose flow can be trusted on less of the picture says nothing about motion: a cut, or motion too fast."""
PAIRS_AT_ONCE = 2


@dataclass(frozen=True)
class Levels:
    """What the levels of 255 of frames tell, a value a frame."""

    mean: list[float]
    """Of luma, as are contrast and largest."""
    contrast: list[float]
    """Standard deviation."""
    largest: list[float]
    sharpness: list[float]
    """See `laplacian_variance`."""
    saturated: list[float]
    """Share of the values at 0 or 255."""
    changes: list[float]
    """Mean absolute difference of each frame but the first and the one before."""


class Footage:
    """Frames (F, H, W, 3), uint8 RGB, and what is derived from them, as tensors on `device`.

    Only the reduced clip, its flow and its warps are kept (about 8 MiB a frame at 576×1024); frames of full size are
    made one at a time."""

    def __init__(
        self,
        frames: Frames,
        device: torch.device | None = None,
        others: Mapping[str, Frames | None] | None = None,
    ) -> None:
        if problem := _what_is_wrong(frames):
            raise UserError(problem)
        self.frames = frames
        self.device = device or torch.device("cpu")
        self.others = others or {}
        """What its families will ask the likeness to: see `likeness`."""
        self._likenesses: dict[str, Likeness] = {}
        self._compared: Future[dict[str, Likeness]] | None = None
        self.count, self.height, self.width = (int(n) for n in frames.shape[:3])

    @property
    def short_side_px(self) -> int:
        """The shorter side of the frames."""
        return min(self.height, self.width)

    def check_context(self, context: Context) -> None:
        """Raise UserError unless the pictures beside the frames have the frames' size and kind."""
        for name, picture in (("conditioning image", context.image), ("baseline", context.reference)):
            if picture is None:
                continue
            stack = picture[None] if picture.ndim == 3 else picture
            if problem := _what_is_wrong(stack):
                raise UserError(f"The {name} cannot be compared with: {problem}")
            if stack.shape[1:] != self.frames.shape[1:]:
                raise UserError(
                    f"The {name} is {stack.shape[2]}×{stack.shape[1]} and the frames are {self.width}×{self.height}: "
                    "give it as the pipeline saw it."
                )

    def pictures(self) -> Iterator[Tensor]:
        """The frames one after the other: (1, 3, H, W) float32 in 0–1."""
        return (as_tensor(self.frames[t : t + 1], self.device) for t in range(self.count))

    @cached_property
    def small(self) -> Tensor:
        """The clip with its shorter side at most `FLOW_SIDE_PX`: (F, 3, h, w) float32."""
        scale = FLOW_SIDE_PX / self.short_side_px
        if scale >= 1:
            return as_tensor(self.frames, self.device)
        size = (round(self.height * scale), round(self.width * scale))
        reduced = [F.interpolate(x, size, mode="bilinear", antialias=True) for x in self.pictures()]
        return torch.cat(reduced)

    @cached_property
    def px_per_small_px(self) -> Tensor:
        """Full-size pixels in one of `small`, x and y: (2, 1, 1)."""
        h, w = self.small.shape[-2:]
        return self.small.new_tensor([self.width / w, self.height / h])[:, None, None]

    @cached_property
    def flows(self) -> tuple[Tensor, Tensor]:
        """Flow between neighbours in pixels of `small`, t → t + 1 and t + 1 → t: (F − 1, 2, h, w) each."""
        y = luma(self.small)
        there, back = [], []
        for pairs in torch.split(torch.stack([y[:-1], y[1:]], 1), PAIRS_AT_ONCE):
            first, second = pairs.unbind(1)
            both = flow.estimate(torch.cat([first, second]), torch.cat([second, first])).chunk(2)
            there.append(both[0])
            back.append(both[1])
        return torch.cat(there), torch.cat(back)

    @cached_property
    def masks(self) -> tuple[Tensor, Tensor]:
        """Where the flow of each pair holds, seen from frame t and from frame t + 1: (F − 1, h, w) bool each."""
        there, back = self.flows
        return flow.trusted(there, back), flow.trusted(back, there)

    @cached_property
    def coverage(self) -> list[float]:
        """Share of the picture where each pair's flow holds."""
        return [float(mask.float().mean()) for mask in self.masks[0]]

    @property
    def covered(self) -> list[bool]:
        """Which pairs have a flow that says something."""
        return [share >= COVERED for share in self.coverage]

    @cached_property
    def speed_px(self) -> Tensor:
        """Length of the flow t → t + 1 in full-size pixels: (F − 1, h, w)."""
        return (self.flows[0] * self.px_per_small_px).square().sum(1).sqrt()

    @cached_property
    def warps(self) -> tuple[Tensor, Tensor]:
        """Frame t + 1 laid over frame t, and t over t + 1, in `small`: (F − 1, 3, h, w) each. Bicubic: a linear warp
        blurs, and would count as flicker."""
        there, back = self.flows
        ahead, behind = torch.empty_like(self.small[1:]), torch.empty_like(self.small[1:])
        for t in range(self.count - 1):
            ahead[t : t + 1] = flow.warp(self.small[t + 1 : t + 2], there[t : t + 1], "bicubic").clamp_(0, 1)
            behind[t : t + 1] = flow.warp(self.small[t : t + 1], back[t : t + 1], "bicubic").clamp_(0, 1)
        return ahead, behind

    @cached_property
    def warp_mse(self) -> list[float | None]:
        """Mean squared difference in 0–1 of frame t and frame t + 1 laid over it where the flow holds, a pair each;
        None where it does not cover enough (Lai et al. 2018, E_warp)."""
        ahead = self.warps[0]
        return [
            masked_mean((ahead[t] - self.small[t]).square(), self.masks[0][t]) if covered else None
            for t, covered in enumerate(self.covered)
        ]

    @cached_property
    def levels(self) -> Levels:
        """Brightness, contrast, sharpness and change of the frames, at full size."""
        singles, changes, before = [], [], None
        for picture in self.pictures():
            y = luma(picture) * 255
            singles.append(torch.stack([y.mean(), y.std(correction=0), y.max(), laplacian_variance(y)]))
            if before is not None:
                changes.append((picture - before).abs_().mean() * 255)
            before = picture
        mean, contrast, largest, sharpness = torch.stack(singles).T.tolist()
        at_the_ends = (
            np.count_nonzero(frame + np.uint8(1) <= 1) for frame in self.frames
        )  # 255 + 1 is 0 in 8 bits
        saturated = [int(count) / self.frames[0].size for count in at_the_ends]
        between = torch.stack(changes).tolist() if changes else []
        return Levels(mean, contrast, largest, sharpness, saturated, between)

    @cached_property
    def changes(self) -> list[float]:
        """Mean absolute difference of neighbours in levels of 255, at full size."""
        return self.levels.changes

    @contextmanager
    def compared_beside(self) -> Iterator[None]:
        """Within it the likeness to `others`, half of all work, is computed by a second thread, if torch has several
        and they are the CPU's. Each thread keeps to one core: several for one operation gain next to nothing here."""
        threads = torch.get_num_threads()
        if threads == 1 or not self.others or self.device.type != "cpu":
            yield
            return
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(1) as pool:
                self._compared = pool.submit(self._compare)
                yield
        finally:
            torch.set_num_threads(threads)

    def _compare(self) -> dict[str, Likeness]:
        with torch.inference_mode():  # each thread has a mode of its own
            return likenesses(self.frames, self.others, self.device)

    def likeness(self, to: str, pictures: Frames | None = None) -> Likeness:
        """Likeness of the frames to `pictures` of that name (see `likenesses`), computed together with that to all of
        `others`."""
        if self._compared and to in self.others:
            self._likenesses = self._compared.result()
        if to not in self._likenesses:
            self._likenesses = likenesses(self.frames, {**self.others, to: pictures}, self.device)
        return self._likenesses[to]


def _what_is_wrong(frames: NDArray[np.uint8]) -> str:
    """A sentence on why an array is no clip; empty when it is one."""
    shape, dtype = "×".join(map(str, frames.shape)), frames.dtype
    if dtype != np.uint8:
        return f"Frames must be uint8 in 0–255, and these are {dtype}: multiply by 255 and round first."
    if frames.ndim != 4 or frames.shape[3] != 3:
        kind = "grey" if frames.ndim == 3 or frames.shape[-1] == 1 else "not RGB"
        return f"Frames must be RGB of shape (F, H, W, 3), and these are {kind} ({shape})."
    if not frames.size:
        return f"There are no frames ({shape})."
    height, width = frames.shape[1:3]
    small = min(height, width) < 8
    return f"Frames must be at least 8 px high and wide, and these are {width}×{height}." if small else ""
