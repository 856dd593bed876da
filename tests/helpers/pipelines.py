"""A pipeline that is read from disk once a process and copied from then on: half a second less a test."""

import copy
import io
import pickle
from typing import Any

import torch

from svdsweep.models.load import load_pipeline

READ: dict[Any, tuple[bytes, list[torch.Tensor]]] = {}


class WithoutTensors(pickle.Pickler):
    """Writes a number where a tensor is. What it wrote is read in a fifth of the time that `copy.deepcopy` takes."""

    def __init__(self, into: io.BytesIO) -> None:
        super().__init__(into, pickle.HIGHEST_PROTOCOL)
        self.tensors: list[torch.Tensor] = []
        self.numbers: dict[int, int] = {}

    def persistent_id(self, thing: Any) -> int | None:
        if not isinstance(thing, torch.Tensor):
            return None
        if id(thing) not in self.numbers:
            self.numbers[id(thing)] = len(self.tensors)
            self.tensors.append(thing)
        return self.numbers[id(thing)]


class WithTensors(pickle.Unpickler):
    def __init__(self, written: bytes, tensors: list[torch.Tensor]) -> None:
        super().__init__(io.BytesIO(written))
        self.tensors = tensors

    def persistent_load(self, number: int) -> torch.Tensor:
        return self.tensors[number]


def copied(*arguments: Any) -> Any:
    """What `load_pipeline` answers, as a copy of its first answer."""
    if arguments not in READ:
        pickler = WithoutTensors(into := io.BytesIO())
        pickler.dump(load_pipeline(*arguments))
        READ[arguments] = into.getvalue(), pickler.tensors
    written, tensors = READ[arguments]
    return WithTensors(written, copy.deepcopy(tensors)).load()
