"""What a run repeats on tensors of equal shape is simulated once or twice; then its cost is counted and its result
made, for nothing else would come out: chunks of a feed-forward layer, parts of a transformer block, chunks of a
decode, halves of guidance."""

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from typing import Any
from unittest.mock import patch

import torch
from diffusers.models import attention
from diffusers.models.autoencoders.vae import DecoderOutput

from svdsweep.memory import transformer_parts
from svdsweep.predict.cost import Cost
from svdsweep.predict.curve import Curve
from svdsweep.predict.tracker import Tracker

Call = Callable[..., Any]
TWICE = 2
"""The first of many may differ from the others: hooks move weights, and results of earlier ones are still alive."""


class Repeated:
    """`call`, but only `times` times for each shape (of a slice: length) of its first argument in a step; later ones
    count as the last of those."""

    def __init__(self, call: Call, tracker: Tracker, times: int = TWICE) -> None:
        self.call, self.tracker, self.times = call, tracker, times
        self.calls: Counter[Hashable] = Counter()
        self.last: dict[Hashable, tuple[Cost, Curve, Call]] = {}

    def __call__(self, first: torch.Tensor | slice, *args: Any, **kwargs: Any) -> Any:
        """What `call` gives, or tensors of its sizes."""
        shape = first.stop - first.start if isinstance(first, slice) else first.shape
        key = self.tracker.timestep, shape
        self.calls[key] += 1
        if self.calls[key] > self.times:
            cost, curve, make = self.last[key]
            self.tracker.repeat(cost, curve)
            return make()
        out, cost, curve = self.tracker.measured(functools.partial(self.call, first, *args, **kwargs))
        self.last[key] = cost, curve, _maker(out)
        return out


@contextlib.contextmanager
def shortened_loops(tracker: Tracker) -> Iterator[None]:
    """Within a transformer block, loops over chunks and parts are cut short for a `with` block."""
    with contextlib.ExitStack() as stack:
        for module, name in ((attention, "_chunked_feed_forward"), (transformer_parts, "in_turn")):
            stack.enter_context(patch.object(module, name, _shortened(getattr(module, name), tracker)))
        yield


def _shortened(loop: Call, tracker: Tracker) -> Call:
    """`loop`, which calls its first argument again and again, with these calls cut short."""
    return lambda call, *args, **kwargs: loop(Repeated(call, tracker), *args, **kwargs)


def _maker(out: Any) -> Callable[[], Any]:
    """What makes a result of the same sizes on the device, if there is one."""
    if out is None:
        return lambda: None
    first = out[0] if isinstance(out, tuple) else out.sample if isinstance(out, DecoderOutput) else out
    empty = functools.partial(torch.empty, first.shape, dtype=first.dtype, device=first.device)
    if isinstance(out, tuple):
        return lambda: (empty(),)
    return (lambda: DecoderOutput(sample=empty())) if isinstance(out, DecoderOutput) else empty
