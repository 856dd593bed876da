"""The latent space, prescribed: every 8 x 8 patch as the mean colours of its four quarters.

Because the encoder's target is known beforehand, encoder, decoder and U-Net can be trained side by side.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

PATCH = 8
CHANNELS = 12
"""Colour, then row and column of the quarter: 3 x 2 x 2."""
GAIN = 2.0
SCALING_FACTOR = 2.0
"""What the pipeline multiplies an encoded image by before noise is added: brings latents to about unit size."""


def encode(image: Tensor) -> Tensor:
    """Return the latents (N, CHANNELS, H / 8, W / 8) of images (N, 3, H, W) in [-1, 1], before scaling."""
    return GAIN * F.pixel_unshuffle(F.avg_pool2d(image, 4), 2)
