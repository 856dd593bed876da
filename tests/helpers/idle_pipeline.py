"""The networks of a pipeline, which compute nothing: for what hooks see, at no cost."""

from types import SimpleNamespace

import torch
from torch.nn import Identity, Module


class Vae(Module):
    """An encoder and a decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = Identity(), Identity()


class IdlePipeline(SimpleNamespace):
    """What a pipeline hangs its networks on."""

    def __init__(self) -> None:
        super().__init__(image_encoder=Identity(), unet=Identity(), vae=Vae())

    def call(self, network: str) -> None:
        """Run one network, so that its hooks are called."""
        part = getattr(self.vae, network.removeprefix("vae_")) if "vae" in network else getattr(self, network)
        part(torch.zeros(1))
