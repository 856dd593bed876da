"""Footage of noise whose flow, masks and warps are given, so that what a family makes of them can be counted apart."""

import numpy as np
import torch

from svdsweep.metrics.shared.footage import Footage


def made_up(count: int, height: int = 12, width: int = 16, seed: int = 0) -> Footage:
    """Random frames, flows, warps and masks that hold on about two thirds of every pair, nothing like one another.

    A full-size pixel is 2 wide and 3 high in `small`. Anything else is set as an attribute, before or after."""
    rng = np.random.default_rng(seed)
    footage = Footage(rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8))
    pairs = count - 1

    def both(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
        first, second = (torch.from_numpy(rng.random((pairs, *shape))).float() for _ in range(2))
        return first, second

    there, back = both(2, height, width)
    footage.flows = (4 * there, 4 * back)
    footage.masks = tuple(x > 1 / 3 for x in both(height, width))
    footage.warps = both(3, height, width)
    footage.px_per_small_px = torch.tensor([2.0, 3.0])[:, None, None]
    return footage


def uncover(footage: Footage, pair: int) -> Footage:
    """Leave so little of a pair's mask that its flow says nothing."""
    footage.masks[0][pair, 1:] = False
    return footage


def arrays(footage: Footage) -> tuple[np.ndarray, ...]:
    """Frames in 0–1, the flow ahead in full-size pixels, warps ahead and behind, masks ahead and behind, in float64:
    (F, 3, H, W), (F − 1, 2, H, W), twice (F − 1, 3, H, W), twice (F − 1, H, W)."""
    frames = footage.frames.transpose(0, 3, 1, 2) / 255
    flow = (footage.flows[0] * footage.px_per_small_px).double().numpy()
    warps = [warp.double().numpy() for warp in footage.warps]
    return frames, flow, *warps, *(mask.numpy() for mask in footage.masks)
