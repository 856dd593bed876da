"""What a knob of a memory strategy is: how it is applied, and the proof that it took effect."""

import functools
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from svdsweep.config import Memory


class NoEffect(RuntimeError):
    """Raised when a strategy was applied but changed nothing: its row would be noise under its name."""


@dataclass
class WholeCalls:
    """Calls of the UNet that computed all of it, counted over a run: what a strategy that spares some of them keeps as
    `pipe.whole_unet_calls`."""

    count: int = 0


Apply = Callable[[Any, Memory, torch.device], None]
"""Changes a pipeline as the strategy says, for the device that will compute. Raises ImportError where a package is
missing."""
Check = Callable[[Any, Memory, torch.device], str | None]
"""Looks at the pipeline: why the knob took no effect, or None."""


@dataclass(frozen=True)
class Knob:
    """One knob of a strategy: how it is applied, and how one sees that it took effect.

    `check` is called at once or, with `check_after_run`, when the pipeline has run. `values` are those that ask for it;
    by default every value but the one that a plain `Memory` has."""

    name: str
    apply: Apply
    check: Check
    values: Collection[object] | None = None
    check_after_run: bool = False

    def wanted(self, memory: Memory) -> bool:
        """Whether a strategy asks for this knob."""
        value = getattr(memory, self.name)
        return value != getattr(Memory(), self.name) if self.values is None else value in self.values


def unless_all(layers: Sequence[Any], plain: Sequence[Any], complaint: str) -> str | None:
    """What a check answers about layers that must all be changed: the `complaint` with the number of those that are
    still `plain`, or None. A pipeline without such layers was not changed either."""
    return f"{len(plain)} of {len(layers)} {complaint}" if plain or not layers else None


def inside(
    context: Callable[[], AbstractContextManager[Any]], forward: Callable[..., Any], **marks: Any
) -> Callable[..., Any]:
    """Wrap a module's `forward`, so that each call runs inside a new `context()`; `marks` become attributes of the
    wrapper, by which a check recognises it."""

    @functools.wraps(forward)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with context():
            return forward(*args, **kwargs)

    vars(wrapped).update(marks)
    return wrapped
