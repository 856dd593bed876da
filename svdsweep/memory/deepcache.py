"""DeepCache: deep features of the UNet are reused over some steps."""

from typing import Any

import torch

from svdsweep.config import Memory
from svdsweep.memory.contract import WholeCalls


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Reuse the deep features of every n-th step in those between (DeepCache, Ma et al. 2024).

    Raises ImportError without the package."""
    from DeepCache import DeepCacheSDHelper

    helper = DeepCacheSDHelper(pipe=pipe)
    helper.set_params(cache_interval=memory.deepcache_interval, cache_branch_id=memory.deepcache_branch)
    helper.enable()
    pipe.deepcache, pipe.whole_unet_calls = helper, WholeCalls()

    def count(*_: Any) -> None:
        pipe.whole_unet_calls.count += 1

    pipe.unet.mid_block.resnets[0].register_forward_hook(count)  # the middle is the first to be left out


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why no feature is cached, else None."""
    helper = getattr(pipe, "deepcache", None)
    return None if helper and helper.function_dict else "DeepCache wrapped no module"
