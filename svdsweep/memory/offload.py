"""Where weights wait: on the device, or in host memory or on disk until they are needed."""

import tempfile
from typing import Any

import torch

from svdsweep.config import Memory


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Move everything onto the device, or set up the offload that is asked for. Raises ValueError where diffusers
    refuses."""
    if memory.offload == "none":
        pipe.to(device)
    elif memory.offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif memory.offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        _group(pipe, memory, device)


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why weights are not where the strategy says, else None."""
    if memory.offload == "none":
        networks = ("unet", "vae", "image_encoder")
        away = [name for name in networks if not _is_on(getattr(pipe, name), device)]
        return f"{', '.join(away)} did not reach {device}" if away else None
    if memory.offload == "model":
        return None if getattr(pipe, "_all_hooks", None) else "model offload installed no hook"
    if memory.offload == "sequential":
        held = sum(p.device.type != "meta" for p in pipe.unet.parameters())
        return f"{held} parameters of the UNet stay in place" if held else None
    hooked = [m for m in pipe.unet.modules() if _has_group_hook(m)]
    return None if len(hooked) > 1 else "group offload installed no hook in the UNet"


def vae_can_be_grouped(pipe: Any, memory: Memory) -> bool:
    """Whether the VAE's layers can be offloaded one by one. Streams and disk keep a copy of the weights and put it back
    over what the pipeline's upcast of a float16 VAE made, which ends in a mix of dtypes; then the VAE (186 MiB) comes
    and goes as a whole."""
    upcast = pipe.vae.dtype == torch.float16 and pipe.vae.config.force_upcast
    return not (upcast and (memory.offload_stream or memory.offload_to_disk))


def _group(pipe: Any, memory: Memory, device: torch.device) -> None:
    from diffusers.hooks import apply_group_offloading

    kwargs: dict[str, Any] = {
        "onload_device": device,
        "offload_device": torch.device("cpu"),
        "non_blocking": memory.offload_non_blocking,
        "use_stream": memory.offload_stream,
        "record_stream": memory.offload_record_stream,
        "low_cpu_mem_usage": memory.offload_low_cpu_memory,
    }
    leaf: dict[str, Any] = {"offload_type": "leaf_level"}
    block = {"offload_type": "block_level", "num_blocks_per_group": memory.offload_num_blocks}
    # diffusers knows no blocks in the image encoder, and would never enter the VAE's: both are offloaded by layers
    networks = [(pipe.unet, block if memory.offload == "group_block" else leaf), (pipe.image_encoder, leaf)]
    if vae_can_be_grouped(pipe, memory):
        networks.append((pipe.vae, leaf))
    else:
        place_vae(pipe, device)
    pipe.offload_folders = []  # temporary folders, which are deleted with the pipeline
    for network, how in networks:
        if memory.offload_to_disk:
            # a fresh folder: diffusers trusts existing files by their names, which are equal for all checkpoints
            folder = tempfile.TemporaryDirectory(prefix="svdsweep-offload-")
            pipe.offload_folders.append(folder)
            how = {**how, "offload_to_disk_path": folder.name}
        apply_group_offloading(network, **kwargs, **how)


def place_vae(pipe: Any, device: torch.device) -> None:
    """Have the VAE come to the device to encode or decode, and leave it when the UNet begins and when the run ends."""
    from accelerate import cpu_offload_with_hook

    _, pipe.vae_hook = cpu_offload_with_hook(pipe.vae, device)
    pipe.unet.register_forward_pre_hook(lambda *_: pipe.vae_hook.offload())
    free_others = pipe.maybe_free_model_hooks

    def free() -> None:
        free_others()
        pipe.vae_hook.offload()

    pipe.maybe_free_model_hooks = free


def _is_on(network: torch.nn.Module, device: torch.device) -> bool:
    return all(p.device.type == device.type for p in network.parameters())


def _has_group_hook(module: torch.nn.Module) -> bool:
    registry = getattr(module, "_diffusers_hook", None)
    return registry is not None and registry.get_hook("group_offloading") is not None
