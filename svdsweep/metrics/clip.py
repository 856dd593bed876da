"""How alike frames are in what they show, by the CLIP image encoder that the pipeline has loaded anyway."""

import statistics
from typing import TYPE_CHECKING, Any

from svdsweep.metrics.contract import Context, drift
from svdsweep.store.columns import Column
from svdsweep.store.measurements import Measurements

if TYPE_CHECKING:
    from torch import Tensor

    from svdsweep.metrics.shared.footage import Footage

COLUMNS = (
    Column("clip_consistency", "cosine", better="higher", low=0, high=1,
           help="Mean over the frames of the likeness to the frame before and to the first (VBench's formula, "
                "with the pipeline's own encoder: not VBench's number).",
           blind_to="Texture, flicker and small things; near 1 for anything that keeps its subject; a standing "
                    "picture is perfect."),
    Column("clip_to_image", "cosine", better="higher", low=-1, high=1,
           help="Mean likeness of the frames to the conditioning image.",
           blind_to="As clip_consistency."),
    Column("clip_to_image_drift", "cosine", low=-2, high=2,
           help="Likeness to the conditioning image over the last fifth of the frames, less that of the first "
                "frame.",
           blind_to="As clip_consistency."),
    Column("clip_status", "", help="`ok`, or why there are no numbers."),
)  # fmt: skip


def score(footage: "Footage", context: Context) -> Measurements:
    """Compute `COLUMNS`; without the pipeline's encoder all are None, and the status says so. Series with a value a
    frame: clip_to_image.

    Runs where the encoder is. Under model offload the encoder stays on the device afterwards: the caller frees it."""
    scores = Measurements(values={column.name: None for column in COLUMNS})
    if context.image_encoder is None or context.feature_extractor is None:
        scores.values["clip_status"] = "unavailable: no image encoder"
        reason = "it needs the pipeline's image encoder, so only a sweep has it"
        scores.notes.append(f"clip is unavailable: {reason}")
        return scores
    import torch

    embeddings = torch.stack([embed(context, picture) for picture in footage.pictures()])
    scores.values["clip_status"] = "ok"
    if footage.count > 1:
        to_previous = (embeddings[1:] * embeddings[:-1]).sum(1).clamp_min(0)
        to_first = (embeddings[1:] * embeddings[0]).sum(1).clamp_min(0)
        scores.values["clip_consistency"] = float((to_previous + to_first).mean() / 2)
    if context.image is not None:
        from svdsweep.metrics.shared.likeness import as_tensor

        image = embed(context, as_tensor(context.image[None], footage.device))
        likeness = [float((e * image).sum()) for e in embeddings]
        scores.values["clip_to_image"] = statistics.fmean(likeness)
        scores.values["clip_to_image_drift"] = drift(likeness)
        scores.series["clip_to_image"] = likeness
    return scores


def embed(context: Context, picture: "Tensor") -> "Tensor":
    """The embedding (D,) of a picture (1, 3, H, W) in 0–1, float32 of length 1, prepared as the pipeline's
    `_encode_image` does."""
    from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import (
        _resize_with_antialiasing,
    )

    resized = _resize_with_antialiasing(picture.contiguous() * 2 - 1, (224, 224))
    prepared = context.feature_extractor(  # type: ignore[misc]
        images=(resized + 1) / 2,
        do_normalize=True,
        do_center_crop=False,
        do_resize=False,
        do_rescale=False,
        return_tensors="pt",
    ).pixel_values
    weights = next(context.image_encoder.parameters())  # type: ignore[union-attr]
    output = context.image_encoder(prepared.to(_device_of(context.image_encoder), weights.dtype))  # type: ignore[misc]
    vector: Tensor = output.image_embeds[0].float().cpu()
    unit: Tensor = vector / vector.norm().clamp_min(1e-12)
    return unit


def _device_of(encoder: Any) -> Any:
    """Where an encoder computes; the weights of an offloaded one are elsewhere until it is called."""
    hook = getattr(encoder, "_hf_hook", None)
    return getattr(hook, "execution_device", None) or next(encoder.parameters()).device
