"""What a knob of a memory strategy is: how it is applied, and the proof that it took effect."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from svdsweep.config import Memory


class NoEffect(RuntimeError):
    """Raised when a strategy was applied but changed nothing: its row would be noise under its name."""


Apply = Callable[[Any, Memory, torch.device], None]


Check = Callable[[Any, Memory, torch.device], str | None]


@dataclass(frozen=True)
class Knob:
    """One strategy: when it is asked for, how it is applied, and how one sees that it took effect.

    `check` looks at the pipeline, either at once or, with `check_after_run`, when it has run."""

    name: str
    wanted: Callable[[Memory], bool]
    apply: Apply
    check: Check
    check_after_run: bool = False
