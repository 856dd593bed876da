"""The latent space, prescribed: the low frequencies of every 8 x 8 patch, by a cosine transform.

Luma keeps more of them than the two colour differences, as in JPEG. Because the encoder's target is known
beforehand, encoder, decoder and U-Net can be trained side by side.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

PATCH = 8
LUMA, CHROMA = 20, 6
"""How many frequencies are kept of luma, and of each of the two colour differences, the lowest first."""
CHANNELS = LUMA + 2 * CHROMA
SCALING_FACTOR = 1.5
"""What the pipeline multiplies an encoded image by before noise is added."""
GAIN = 3.6
COLOURS = torch.tensor([[0.577, 0.577, 0.577], [-0.408, -0.408, 0.816], [0.707, -0.707, 0.0]])
"""Grey, blue against yellow, red against green: orthonormal."""


def cosines(patch: int, luma: int, chroma: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the orthonormal transform (luma + 2 chroma, 3, patch, patch), its rows' frequencies and colours.

    The frequencies are in half waves a patch, the lowest first: three means. The colours are 0 for luma, 1, 2.
    """
    phase = (torch.arange(patch) + 0.5) * math.pi / patch
    waves = torch.stack([(k * phase).cos() * (2 if k else 1) ** 0.5 for k in range(patch)]) / patch**0.5
    every = [(down, across) for down in range(patch) for across in range(patch)]
    every.sort(key=lambda f: (f[0] ** 2 + f[1] ** 2, f))
    kept = [(f, 0) for f in every[:luma]] + [(f, c) for f in every[:chroma] for c in (1, 2)]
    kept.sort(key=lambda k: (k[0][0] ** 2 + k[0][1] ** 2, k))
    basis = [COLOURS[c][:, None, None] * waves[down][:, None] * waves[across] for (down, across), c in kept]
    return torch.stack(basis), Tensor([math.hypot(*f) for f, _ in kept]), Tensor([c for _, c in kept])


def _make_basis() -> Tensor:
    """Return the transform (CHANNELS, 3, 8, 8), lowest frequencies first.

    The gain grows with the frequency: amplitudes in pictures fall about as 1 / (1 + 3 r), and the square root
    of that brings fine detail above the last noise levels without making it as important as the rest.
    """
    basis, frequencies, _ = cosines(PATCH, LUMA, CHROMA)
    return basis * (GAIN / PATCH * (1 + 3 * frequencies).sqrt())[:, None, None, None]


BASIS = _make_basis()


def encode(image: Tensor) -> Tensor:
    """Return the latents (N, CHANNELS, H / 8, W / 8) of images (N, 3, H, W) in [-1, 1], before scaling."""
    return F.conv2d(image, BASIS.to(image), stride=PATCH)
