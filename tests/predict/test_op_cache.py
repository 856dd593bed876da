"""What the cache of operations gives is what PyTorch would work out, and PyTorch is asked once."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from foreseen import under
from torch._subclasses.fake_tensor import FakeTensorMode

from svdsweep.config import Job
from svdsweep.predict.fake_gpu import fake_gpu, storage_key
from svdsweep.predict.op_cache import Call, Result
from svdsweep.predict.simulate import simulate
from svdsweep.predict.tracker import Tracker


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The operations that PyTorch is asked about, from an empty cache on."""
    operations: list[Any] = []
    original = FakeTensorMode.dispatch

    def dispatch(self: FakeTensorMode, func: Any, *args: Any, **kwargs: Any) -> Any:
        operations.append(func)
        return original(self, func, *args, **kwargs)

    monkeypatch.setattr(FakeTensorMode, "dispatch", dispatch)
    monkeypatch.setattr(Tracker, "op_cache", {})
    return operations


def facts(tensor: torch.Tensor, argument: torch.Tensor) -> tuple[Any, ...]:
    """Layout, and where in the memory of `argument` the tensor lies, if it does."""
    inside = storage_key(tensor) == storage_key(argument)
    start = tensor.storage_offset() * tensor.itemsize - argument.storage_offset() * argument.itemsize * inside
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device, tensor is argument, inside, start


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x.to(torch.float32),
        lambda x: x @ x.transpose(1, 2),
        lambda x: x.cpu(),
        lambda x: x[:, 1:3],
        lambda x: x[1].view(torch.int16),
        lambda x: x.permute(2, 0, 1)[1:],
        lambda x: x.chunk(2, dim=1)[1],
        lambda x: x.add_(1.0),
        lambda x: torch.nn.functional.layer_norm(x, (4,)),
        lambda x: torch.stack([x, x]),
        lambda x: torch.empty_like(x),
        lambda x: torch.var_mean(x, 1)[1],
    ],
)
def test_an_operation_done_again_gives_what_it_gave_elsewhere_in_memory(
    operation: Callable[[torch.Tensor], torch.Tensor], asked: list[Any]
) -> None:
    tracker = Tracker()
    with fake_gpu(tracker.is_weight), tracker:
        one, two = torch.empty(2, 3, 4, 4, device="cuda", dtype=torch.float16).unbind()
        first = operation(one)
        asked.clear()
        second = operation(two)
        assert not asked
        assert facts(second, two) == facts(first, one)


def test_numbers_are_told_apart_by_their_types() -> None:
    with fake_gpu(lambda _: None):
        x = torch.empty(2, dtype=torch.int64, device="cuda")
        keys = {Call(torch.ops.aten.mul.Tensor, (x, n), {}).key for n in (1, 1.0, True)}
    assert len(keys) == 3


def test_what_depends_on_numbers_or_on_foreign_memory_is_not_known() -> None:
    with fake_gpu(lambda _: None):
        constant = torch.tensor([1.0])
        whole: Any = torch.empty(4, device="cuda")
        one, two, part = whole[:1], whole[:2], whole[1:]
        assert Call(torch.ops.aten.neg.default, (constant,), {}).key is None
        with pytest.raises(ValueError, match="nobody was given"):
            Result(part, [])
        with pytest.raises(ValueError, match="which one"):
            Result(part, [one, two])


@pytest.mark.slow
def test_pytorch_works_out_few_operations_of_a_run_and_none_of_the_next(
    tiny_job: Job, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Any] = []
    original = Tracker._done

    def counted(self: Tracker, *args: Any) -> Any:
        done.append(args[0])
        return original(self, *args)

    monkeypatch.setattr(Tracker, "_done", counted)
    job = under(dataclasses.replace(tiny_job, num_frames=12), transformer_parts=4, decode="streamed")
    first = simulate(job, [12])
    worked_out = len(asked)
    assert 0 < worked_out < len(done) / 4
    asked.clear()
    assert simulate(job, [12]) == first
    assert len(asked) < worked_out / 10


@pytest.mark.slow
def test_a_prediction_is_the_same_when_nothing_is_known(
    tiny_job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = under(tiny_job, offload="group_leaf", forward_chunk_size=2)
    quick = simulate(job, [2])
    monkeypatch.setattr(Call, "key", property(lambda self: None, lambda self, value: None))
    assert simulate(job, [2]) == quick
