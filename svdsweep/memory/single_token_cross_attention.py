"""Cross-attention to a single token without queries and keys: softmax over one score is 1, so the answer is
`to_out(to_v(token))`.

SVD's UNet attends to exactly one image token, in every block, at every step. The answer is one vector a layer and
video, which is kept as long as the token stays the same, that is for a whole run."""

import functools
from typing import Any

import torch
from torch import Tensor

from svdsweep.config import Memory
from svdsweep.memory.attention import is_plain
from svdsweep.memory.contract import unless_all

KEPT_TOKENS = 4
"""Embeddings whose vectors are kept: the two halves of guidance, of this run and the one before."""


class Token:
    """The embedding that the UNet is running with, and the layers' vectors for it and its predecessors.

    An embedding is recognised by its place in memory and its version. It is held, so that no other tensor can take its
    place."""

    def __init__(self, keep: bool) -> None:
        self.keep = keep
        self.videos = 1
        self.kept: dict[tuple[Any, ...], tuple[Tensor, dict[int, Tensor]]] = {}
        self.vectors: dict[int, Tensor] = {}

    def set(self, embedding: Tensor) -> None:
        """Begin a forward with `embedding` (B, 1, C)."""
        self.videos = len(embedding)
        if not self.keep:
            return
        place = (embedding.data_ptr(), embedding._version, embedding.shape, embedding.dtype, embedding.device)
        if place not in self.kept:
            if len(self.kept) >= KEPT_TOKENS:
                del self.kept[next(iter(self.kept))]
            self.kept[place] = (embedding, {})
        self.vectors = self.kept[place][1]


class SingleTokenProcessor:
    """An attention processor for layers whose context is one token: no query, no key, no scores."""

    def __init__(self, token: Token) -> None:
        self.token = token

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> Tensor:
        """(n, tokens, C) and a context (n, 1, c), the rows of a video together → (n, 1, C), to be broadcast."""
        assert encoder_hidden_states is not None
        if encoder_hidden_states.shape[1] != 1:
            raise ValueError(f"the context has {encoder_hidden_states.shape[1]} tokens, not one")
        rows = len(encoder_hidden_states) // self.token.videos
        vector = self.token.vectors.get(id(attn)) if self.token.keep else None
        if vector is None:
            vector = attn.to_out[0](attn.to_v(encoder_hidden_states[::rows]))
            if self.token.keep:
                self.token.vectors[id(attn)] = vector
        return vector[:, None].expand(-1, rows, -1, -1).reshape(-1, 1, vector.shape[-1])


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Give every cross-attention of the UNet a `SingleTokenProcessor`, and drop the norms that fed their queries.

    Raises ValueError where a layer does more than plain attention. Vectors are not kept inside a compiled graph, nor
    where prefetching relies on the same layers in every step; for one row a video they cost next to nothing."""
    token = Token(keep=memory.compile == "none" and not memory.offload_stream)
    for block, attention in cross_attentions(pipe.unet):
        if not is_plain(attention):
            raise ValueError("single_token_cross_attention: this model's layers do more than attend")
        attention.set_processor(SingleTokenProcessor(token))
        block.norm2 = torch.nn.Identity()
    forward = pipe.unet.forward

    @functools.wraps(forward)
    def with_token(sample: Any, timestep: Any, encoder_hidden_states: Tensor, *args: Any, **more: Any) -> Any:
        token.set(encoder_hidden_states)
        return forward(sample, timestep, encoder_hidden_states, *args, **more)

    pipe.unet.forward = with_token


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why a cross-attention layer still computes queries and keys, else None."""
    layers = [attention for _, attention in cross_attentions(pipe.unet)]
    plain = [layer for layer in layers if not isinstance(layer.processor, SingleTokenProcessor)]
    return unless_all(layers, plain, "layers kept their processor")


def cross_attentions(unet: torch.nn.Module) -> list[tuple[Any, Any]]:
    """Blocks with a cross-attention to the image token, and that layer."""
    blocks = [m for m in unet.modules() if getattr(m, "attn2", None) is not None]
    return [(block, block.attn2) for block in blocks]
