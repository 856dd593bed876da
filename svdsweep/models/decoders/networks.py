"""The networks of the other decoders, and the module that stands where the temporal decoder was.

Their tensors have the names of the published files: diffusers' AutoencoderKL and AutoencoderTiny, and TAESDV's own
(github.com/madebyollin/taesdv, MIT), which diffusers does not have."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.vae import Decoder, DecoderTiny
from torch import Tensor, nn

Kept = tuple[Tensor, ...] | None
"""What a network keeps of the frame before; None before the first."""
CLAMP = 3.0
"""TAESD's latents are bent to within this many standard deviations."""


class FrameByFrame(nn.Module):
    """Stands in for `AutoencoderKLTemporalDecoder.decoder`: the same arguments, each frame by itself, at the memory of
    one. `gain` is what `network` multiplies the VAE's latents by, which have been divided by its scaling factor."""

    def __init__(self, network: nn.Module, gain: float) -> None:
        super().__init__()
        self.network, self.gain = network, gain

    def forward(
        self, sample: Tensor, image_only_indicator: Tensor | None = None, num_frames: int = 1
    ) -> Tensor:
        """(clips · num_frames, C, h, w) → (clips · num_frames, 3, 8h, 8w), -1 to 1."""
        pictures: Tensor | None = None
        kept: Kept = None
        for t in range(len(sample)):
            picture, kept = self.network(sample[t : t + 1] * self.gain, kept if t % num_frames else None)
            if pictures is None:
                pictures = picture.new_empty(len(sample), *picture.shape[1:])
            pictures[t] = picture[0]
        assert pictures is not None
        return pictures


class ImageDecoder(nn.Module):
    """The decoder of Stable Diffusion's VAE, with the layer before it."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        channels = tuple(config["block_out_channels"])
        latent = config["latent_channels"]
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)
        self.decoder = Decoder(
            in_channels=latent,
            out_channels=3,
            up_block_types=("UpDecoderBlock2D",) * len(channels),
            block_out_channels=channels,
            layers_per_block=config["layers_per_block"],
        )

    def forward(self, x: Tensor, kept: Kept) -> tuple[Tensor, Kept]:
        """(1, C, h, w) → (1, 3, 8h, 8w), -1 to 1."""
        return self.decoder(self.post_quant_conv(x)), None


class TinyDecoder(nn.Module):
    """TAESD's decoder."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.decoder = DecoderTiny(
            in_channels=config["latent_channels"],
            out_channels=3,
            num_blocks=tuple(config["num_decoder_blocks"]),
            block_out_channels=tuple(config["decoder_block_out_channels"]),
            upsampling_scaling_factor=2,
            act_fn="relu",
            upsample_fn="nearest",
        )

    def forward(self, x: Tensor, kept: Kept) -> tuple[Tensor, Kept]:
        """(1, C, h, w) → (1, 3, 8h, 8w), -1 to 1."""
        return self.decoder(x), None


class RememberingBlock(nn.Module):
    """A residual block that sees its input of the frame before beside that of this one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        into = (2 * width, width, width)
        convolutions = [nn.Conv2d(n, width, 3, padding=1) for n in into]
        self.conv = nn.Sequential(convolutions[0], nn.ReLU(), convolutions[1], nn.ReLU(), convolutions[2])

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """(1, width, h, w) twice → the same."""
        return F.relu(self.conv(torch.cat([x, before], 1)) + x)


class TinyVideoDecoder(nn.Module):
    """TAESDV's decoder: TAESD's, each block with a memory of one frame, which is nothing before the first."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, blocks = config["width"], tuple(config["num_decoder_blocks"])
        layers: list[nn.Module] = [
            nn.Identity(),
            nn.Conv2d(config["latent_channels"], width, 3, padding=1),
            nn.ReLU(),
        ]
        for level, count in enumerate(blocks):
            layers += [RememberingBlock(width) for _ in range(count)]
            if level < len(blocks) - 1:
                layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1, bias=False)]
        self.decoder = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, x: Tensor, kept: Kept) -> tuple[Tensor, Kept]:
        """(1, C, h, w) → (1, 3, 8h, 8w), -1 to 1, and what the next frame is given."""
        x = torch.tanh(x / CLAMP) * CLAMP
        seen: list[Tensor] = []
        for layer in self.decoder:
            if isinstance(layer, RememberingBlock):
                before = kept[len(seen)] if kept else torch.zeros_like(x)
                seen.append(x)
                x = layer(x, before)
            else:
                x = layer(x)
        return x * 2 - 1, tuple(seen)


NETWORKS = {"image": ImageDecoder, "taesd": TinyDecoder, "taesdv": TinyVideoDecoder}
"""The network of each decoder, by its name."""
