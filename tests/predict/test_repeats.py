"""What is repeated is run once or twice, and counted as often as it occurs."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from diffusers.models import attention
from diffusers.models.autoencoders.vae import DecoderOutput

from svdsweep.memory import transformer_parts
from svdsweep.predict.fake_gpu import fake_gpu
from svdsweep.predict.repeats import Repeated, shortened_loops
from svdsweep.predict.tracker import BLOCK, Tracker

HALF = torch.float16


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    tracker = Tracker()
    with fake_gpu(tracker.is_weight), tracker:
        yield tracker


def there(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, dtype=HALF, device="cuda")


class Noted:
    """A call that remembers what it was given, and computes in between."""

    def __init__(self, result: Callable[[torch.Tensor], Any] = lambda x: x + 1) -> None:
        self.result, self.given = result, []  # type: tuple[Any, list[Any]]

    def __call__(self, first: Any, *args: Any, **kwargs: Any) -> Any:
        self.given.append((first, args, kwargs))
        tensor = there(8, 64) if isinstance(first, slice) else first
        return self.result(tensor * 2 * 2)


@pytest.mark.parametrize(("times", "ran"), [(1, [8, 8, 4]), (2, [8, 8, 8, 8, 4, 4])])
def test_a_call_is_run_so_often_for_each_shape_and_step_and_counted_each_time(
    tracker: Tracker, times: int, ran: list[int]
) -> None:
    call = Noted()
    repeated = Repeated(call, tracker, times)
    large, small = there(8, 64), there(4, 64)
    tracker.mark()
    for step, x, number in ((0.0, large, 4), (1.0, large, 3), (1.0, small, 3)):
        tracker.timestep = step
        for _ in range(number):
            out = repeated(x, "a", b=1)
            assert (out.shape, out.dtype, out.device.type) == (x.shape, HALF, "cuda")
    assert [len(first) for first, _, _ in call.given] == ran
    assert all((args, settings) == (("a",), {"b": 1}) for _, args, settings in call.given)
    _, cost = tracker.mark()
    bytes_large, bytes_small = (2 * 2 * x.numel() for x in (large, small))  # each of them is read and written
    assert cost.kernels == {("memory", 0, bytes_large): 7 * 3, ("memory", 0, bytes_small): 3 * 3}


def test_by_default_a_call_runs_twice_and_slices_are_told_apart_by_their_lengths(tracker: Tracker) -> None:
    call = Noted()
    repeated = Repeated(call, tracker)
    for start, stop in ((0, 8), (8, 16), (16, 24), (24, 28), (28, 32)):
        repeated(slice(start, stop))
    assert [first.start for first, _, _ in call.given] == [0, 8, 24, 28]


def test_a_call_that_is_not_run_has_its_peak_all_the_same(tracker: Tracker) -> None:
    repeated = Repeated(Noted(lambda x: x[:1] + 1), tracker, times=1)
    x = there(64, 1024)
    repeated(x)
    held = there(256, 1024)
    tracker.mark()
    before = tracker.nbytes
    out = repeated(x)
    peak, _ = tracker.mark()
    assert peak.nbytes - before == 2 * x.numel() * 2  # two results of x's size are alive at once
    assert tracker.nbytes - before == out.numel() * 2 >= BLOCK
    del held


@pytest.mark.parametrize(
    ("result", "tensor_of"),
    [
        (lambda x: x + 1, lambda out: out),
        (lambda x: (x + 1,), lambda out: out[0]),
        (lambda x: DecoderOutput(sample=x + 1), lambda out: out.sample),
    ],
)
def test_a_result_that_is_made_is_of_the_kind_that_was_computed(
    tracker: Tracker, result: Callable[[torch.Tensor], Any], tensor_of: Callable[[Any], torch.Tensor]
) -> None:
    repeated = Repeated(Noted(result), tracker, times=1)
    computed, made = repeated(there(8, 64)), repeated(there(8, 64))
    assert type(made) is type(computed)
    facts = [(t.shape, t.dtype, t.device) for t in map(tensor_of, (computed, made))]
    assert facts[0] == facts[1]
    assert tensor_of(made) is not tensor_of(computed)
    assert not isinstance(made, tuple) or len(made) == 1


def test_a_call_without_a_result_has_none_when_it_is_not_run(tracker: Tracker) -> None:
    repeated = Repeated(Noted(lambda x: None), tracker, times=1)
    assert [repeated(there(8, 64)) for _ in range(2)] == [None, None]


def test_loops_within_a_block_are_cut_short_and_whole_again_afterwards(tracker: Tracker) -> None:
    before = attention._chunked_feed_forward, transformer_parts.in_turn
    layer = Noted()
    with shortened_loops(tracker):
        out = attention._chunked_feed_forward(layer, there(1, 24, 64), 1, chunk_size=4)
        assert [x.shape for x, _, _ in layer.given] == [(1, 4, 64)] * 2
        assert out.shape == (1, 24, 64)
        assert transformer_parts.in_turn is not before[1]
    assert (attention._chunked_feed_forward, transformer_parts.in_turn) == before
