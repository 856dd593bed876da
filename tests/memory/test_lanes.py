"""The copies of a streamed decode wait for one another and for the work, whatever the order in which a GPU runs them.

There is no GPU here: two queues stand for its copy streams, which put a copy off until something waits for it, or do it
as soon as what it waits for allows. The work itself is done at once, as by a stream that is always ahead."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from test_streamed_decode import WITHIN, differ, latents, random_vae, streamed
from torch.overrides import TorchFunctionMode

from svdsweep.memory import streamed_frames

SMALL = {"block_out_channels": (32, 32), "layers_per_block": 1}


class Queue:
    """A copy stream. `late`: nothing is done before somebody waits for it."""

    def __init__(self, late: bool) -> None:
        self.late = late
        self.todo: list[Callable[[], Any]] = []
        self.done = 0

    def add(self, step: Callable[[], Any]) -> None:
        self.todo.append(step)
        if not self.late:
            self.run(len(self.todo))

    def run(self, until: int) -> None:
        while self.done < until:
            self.done += 1
            self.todo[self.done - 1]()

    def record_event(self) -> Callable[[], None]:
        until = len(self.todo)
        return lambda: self.run(until)

    def wait_event(self, event: Callable[[], None]) -> None:
        self.add(event)

    def wait_stream(self, _work: "Work") -> None:
        """All work that was asked for is done."""


class Work:
    """The stream that computes."""

    def wait_event(self, event: Callable[[], None]) -> None:
        event()

    def wait_stream(self, queue: Queue) -> None:
        queue.run(len(queue.todo))


class Diverted(TorchFunctionMode):
    """Copies go to a queue."""

    def __init__(self, queue: Queue) -> None:
        super().__init__()
        self.queue = queue

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.copy_:
            into, source = args
            self.queue.add(lambda: into.copy_(source))
            return into
        return func(*args, **(kwargs or {}))


@pytest.fixture
def queues(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool, bool], None]:
    def stand_in(up_late: bool, down_late: bool) -> None:
        class Queued(streamed_frames.Lanes):
            def __init__(self, device: torch.device) -> None:
                super().__init__(device)
                self.streams, self.up, self.down = torch.cuda, Queue(up_late), Queue(down_late)

        @contextlib.contextmanager
        def stream(queue: Queue) -> Iterator[None]:
            with Diverted(queue):
                yield

        work = Work()
        monkeypatch.setattr(streamed_frames, "Lanes", Queued)
        monkeypatch.setattr(torch.cuda, "stream", stream)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: work)

    return stand_in


@pytest.fixture(scope="module")
def vae() -> Any:
    return random_vae(**SMALL)


def error(vae: Any, budget_gib: float = 0.0, clip: int = 7) -> float:
    """Of a streamed decode against that of all frames together."""
    with torch.no_grad():
        video = streamed(vae, budget_gib).vae.decode(latents(clip, 4, 4), num_frames=clip).sample
        return differ(video, whole(vae, clip))


@functools.cache
def whole(vae: Any, clip: int) -> torch.Tensor:
    """A decode of all frames together."""
    video: torch.Tensor = vae.decode(latents(clip, 4, 4), num_frames=clip).sample
    return video


@pytest.mark.parametrize("clip", [1, 2, 7])
@pytest.mark.parametrize("budget_gib", [0.0, 4e-5])
@pytest.mark.parametrize("down_late", [False, True])
@pytest.mark.parametrize("up_late", [False, True])
def test_frames_are_right_in_any_order(
    vae: Any, queues: Any, up_late: bool, down_late: bool, budget_gib: float, clip: int
) -> None:
    queues(up_late, down_late)
    assert error(vae, budget_gib, clip) <= WITHIN


def test_work_that_did_not_wait_for_a_copy_would_be_seen(
    vae: Any, queues: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues(True, False)
    monkeypatch.setattr(streamed_frames.Lanes, "wait", lambda *_: None)
    assert not error(vae) <= 100 * WITHIN


def test_a_copy_that_did_not_wait_for_the_one_before_would_be_seen(
    vae: Any, queues: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues(False, True)
    monkeypatch.setattr(Queue, "wait_event", lambda *_: None)
    assert not error(vae, clip=1) <= 100 * WITHIN  # a frame is fetched as soon as it was put
