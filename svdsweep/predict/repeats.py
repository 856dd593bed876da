"""What a run repeats on tensors of equal shape is simulated once or twice; then its cost is counted and its result
made, for nothing else would come out: chunks of a feed-forward layer, parts of a transformer block, chunks of a
decode, halves of guidance."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import torch
from diffusers.models import attention
from diffusers.models.autoencoders.vae import DecoderOutput

from svdsweep.memory import transformer_parts
from svdsweep.predict.cost import Cost
from svdsweep.predict.fake_gpu import replaced
from svdsweep.predict.tracker import Tracker

Call = Callable[..., Any]
TWICE = 2
"""The first of many may differ from the others: hooks move weights, and results of earlier ones are still alive."""


class Repeated:
    """`call`, but only `times` times for each shape (of a slice: length) of its first argument; later ones count as the
    last of those."""

    def __init__(self, call: Call, tracker: Tracker, times: int) -> None:
        self.call, self.tracker, self.times = call, tracker, times
        self.calls: dict[torch.Size | int, int] = {}
        self.last: dict[torch.Size | int, tuple[Cost, int, Call]] = {}

    def __call__(self, given: torch.Tensor | slice, *args: Any, **kwargs: Any) -> Any:
        """What `call` gives, or tensors of its sizes."""
        shape = given.stop - given.start if isinstance(given, slice) else given.shape
        self.calls[shape] = self.calls.get(shape, 0) + 1
        if self.calls[shape] > self.times:
            cost, rise, make = self.last[shape]
            self.tracker.repeat(cost, rise)
            return make()
        out, cost, rise = self.tracker.measured(functools.partial(self.call, given, *args, **kwargs))
        self.last[shape] = cost, rise, _maker(out)
        return out


class Repeats:
    """Shortens a simulation for a `with` block, unless it is to run `in_full`."""

    def __init__(self, tracker: Tracker, in_full: bool = False) -> None:
        self.tracker, self.in_full = tracker, in_full
        self.halves: Repeated | None = None
        self.undo = contextlib.ExitStack()

    def __enter__(self) -> "Repeats":
        if not self.in_full:
            for module, name in ((attention, "_chunked_feed_forward"), (transformer_parts, "in_turn")):
                self.undo.enter_context(replaced(module, name, self._with_repeated(getattr(module, name))))
        return self

    def __exit__(self, *_: object) -> None:
        self.undo.close()

    def in_step(self, forward: Call) -> Call:
        """A UNet's forward of which only the first call in a step is simulated: the halves of guidance are equal."""
        if self.in_full:
            return forward
        self.halves = Repeated(forward, self.tracker, 1)
        return self.halves

    def next_step(self) -> None:
        """Another step begins."""
        if self.halves:
            self.halves.calls.clear()

    def decodes(self, vae: Any) -> contextlib.AbstractContextManager[None]:
        """Chunks after the second of a length are not decoded, for a `with` block."""
        if self.in_full:
            return contextlib.nullcontext()
        return replaced(vae, "decode", Repeated(vae.decode, self.tracker, TWICE))

    def _with_repeated(self, loop: Call) -> Call:
        """A function that calls its first argument in a loop, which is shortened."""
        return lambda call, *args, **kwargs: loop(Repeated(call, self.tracker, TWICE), *args, **kwargs)


def _maker(out: Any) -> Callable[[], Any]:
    """What makes a result of the same sizes on the device, if there is one."""
    if out is None:
        return lambda: None
    first = out[0] if isinstance(out, tuple) else out.sample if isinstance(out, DecoderOutput) else out
    empty = functools.partial(torch.empty, first.shape, dtype=first.dtype, device=first.device)
    if isinstance(out, tuple):
        return lambda: (empty(),)
    return (lambda: DecoderOutput(sample=empty())) if isinstance(out, DecoderOutput) else empty
