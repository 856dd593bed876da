"""Transformer blocks of the UNet run on parts of their input: spatial ones on some frames at a time, temporal ones on
some places. The result is exact."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from svdsweep.config import Memory
from svdsweep.memory.contract import unless_all


@dataclass
class _Videos:
    """How many videos the transformer that is running has in its batch."""

    count: int = 1


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Run every transformer block `transformer_parts` times, each time on some of its rows, which do not see one
    another. Of an input (videos · frames, places, C) the rows of spatial attention are frames, those of temporal
    attention places."""
    assert memory.transformer_parts is not None
    for transformer in transformers_of(pipe.unet):
        videos = _Videos()
        transformer.forward = _counting(transformer.forward, videos)
        for block in transformer.transformer_blocks:
            block.forward = _over_frames(block.forward, memory.transformer_parts, videos)
        for block in transformer.temporal_transformer_blocks:
            block.forward = _over_places(block.forward, memory.transformer_parts)


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why blocks still run as a whole, else None."""
    blocks = [
        block
        for transformer in transformers_of(pipe.unet)
        for block in (*transformer.transformer_blocks, *transformer.temporal_transformer_blocks)
    ]
    whole = [b for b in blocks if getattr(b.forward, "parts", None) != memory.transformer_parts]
    return unless_all(blocks, whole, "transformer blocks run as a whole")


def transformers_of(unet: torch.nn.Module) -> list[Any]:
    """The UNet's transformers, each a block over places and one over frames."""
    from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel

    return [m for m in unet.modules() if isinstance(m, TransformerSpatioTemporalModel)]


def _counting(forward: Callable[..., Any], videos: _Videos) -> Callable[..., Any]:
    @functools.wraps(forward)
    def counted(*args: Any, image_only_indicator: Tensor, **kwargs: Any) -> Any:
        videos.count = len(image_only_indicator)
        return forward(*args, image_only_indicator=image_only_indicator, **kwargs)

    return counted


def _over_frames(forward: Callable[..., Tensor], parts: int, videos: _Videos) -> Callable[..., Any]:
    @functools.wraps(forward)
    def in_parts(hidden_states: Tensor, *args: Any, encoder_hidden_states: Tensor, **kwargs: Any) -> Tensor:
        # each part has frames of every video, as single_token_cross_attention expects
        rows = hidden_states.view(videos.count, -1, *hidden_states.shape[1:])
        context = encoder_hidden_states.view(videos.count, -1, *encoder_hidden_states.shape[1:])

        def run(part: slice) -> None:
            own = context[:, part].flatten(0, 1)
            out = forward(rows[:, part].flatten(0, 1), *args, encoder_hidden_states=own, **kwargs)
            rows[:, part] = out.view_as(rows[:, part])  # in place: nothing else reads these rows

        in_turn(run, rows.shape[1], parts)
        return hidden_states

    in_parts.parts = parts  # type: ignore[attr-defined]
    return in_parts


def _over_places(forward: Callable[..., Tensor], parts: int) -> Callable[..., Any]:
    @functools.wraps(forward)
    def in_parts(hidden_states: Tensor, num_frames: int, encoder_hidden_states: Tensor) -> Tensor:
        places = hidden_states.shape[1]
        context = encoder_hidden_states.view(-1, places, *encoder_hidden_states.shape[1:])

        def run(part: slice) -> None:
            own = context[:, part].flatten(0, 1)
            out = forward(hidden_states[:, part], num_frames=num_frames, encoder_hidden_states=own)
            hidden_states[:, part] = out

        in_turn(run, places, parts)
        return hidden_states

    in_parts.parts = parts  # type: ignore[attr-defined]
    return in_parts


def in_turn(run: Callable[[slice], None], rows: int, parts: int) -> None:
    """Run one part of the rows after the other, all but the last of one size."""
    size = -(-rows // parts)
    for start in range(0, rows, size):
        run(slice(start, min(start + size, rows)))
