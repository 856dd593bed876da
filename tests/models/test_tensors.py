"""The tensors that a network should have, told without torch, are those that diffusers and transformers make."""

from dataclasses import replace

import pytest

from svdsweep.models.architectures import architecture
from svdsweep.models.load import on_meta
from svdsweep.models.tensors import expected

TINY, SVD = architecture("tiny"), architecture("svd")
CROSSING = ["CrossAttn{}BlockSpatioTemporal"] * 3
LISTS = {
    "layers_per_block": [1, 2, 1],
    "cross_attention_dim": [64, 32, 64],
    "transformer_layers_per_block": [1, 2, 3],
    "block_out_channels": [64, 128, 32],
    "num_attention_heads": [2, 4, 1],
    "down_block_types": [name.format("Down") for name in CROSSING],
    "up_block_types": [name.format("Up") for name in CROSSING],
}
VAE = {"layers_per_block": 3, "block_out_channels": [32, 64, 32, 96], "latent_channels": 4}
ENCODER = {"num_hidden_layers": 3, "patch_size": 16, "projection_dim": 32}
ODD = replace(TINY, unet=TINY.unet | LISTS, vae=TINY.vae | VAE, image_encoder=TINY.image_encoder | ENCODER)
SILENT = replace(TINY, unet={}, vae={}, image_encoder={})


@pytest.mark.parametrize("shape", [TINY, SVD, ODD, SILENT], ids=["tiny", "svd", "odd", "silent"])
def test_names_and_shapes_are_those_of_the_genuine_networks(shape):
    for part, network in on_meta(shape).items():
        genuine = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        assert expected(part, getattr(shape, part)) == genuine
