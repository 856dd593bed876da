"""The two halves of classifier-free guidance, one after the other: same result, about half the activations."""

import functools
from typing import Any

import torch
from torch import Tensor

from svdsweep.config import Memory


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Wrap the UNet's forward: each of the B videos of a batch (B, F, C, h, w), two under guidance, runs alone, and the
    results are joined.

    Exact, for the UNet never mixes videos of a batch. Apply it before offloading, whose hooks must see one forward a
    step."""
    from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionOutput

    forward = pipe.unet.forward

    @functools.wraps(forward)
    def one_by_one(
        sample: Tensor,
        timestep: Any,
        encoder_hidden_states: Tensor,
        added_time_ids: Tensor,
        return_dict: bool = True,
    ) -> Any:
        if len(sample) == 1:
            return forward(sample, timestep, encoder_hidden_states, added_time_ids, return_dict=return_dict)
        inputs = (sample, encoder_hidden_states, added_time_ids)
        videos = zip(*(torch.split(x, 1) for x in inputs), strict=True)
        joined = torch.cat([forward(x, timestep, e, ids, return_dict=False)[0] for x, e, ids in videos])
        return UNetSpatioTemporalConditionOutput(sample=joined) if return_dict else (joined,)

    one_by_one.halves = True  # type: ignore[attr-defined]
    pipe.unet.forward = one_by_one


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why the UNet still runs both halves at once, else None."""
    halves = getattr(pipe.unet.forward, "halves", False)
    return None if halves else "the UNet's forward is not the one that halves"
