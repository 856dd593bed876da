"""Keeps the frames of a clip between two passes: on the device as far as a budget goes, the rest in host memory."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import torch

from svdsweep.backends import backend_of

FIRST_SLAB, LARGEST_SLAB = 2**26, 2**30
"""Bytes of host memory taken at a time, at first and at most; CUDA's host allocator rounds up to a power of two."""
ALIGNED = 4096
"""Pieces of a slab begin and end at multiples of this many bytes."""


@dataclass(frozen=True)
class Piece:
    """Bytes `start` to `end` of a slab."""

    slab: int
    start: int
    end: int


class Arena:
    """Host memory, page-locked for a GPU, that grows by slabs and is used again: pieces of one size fill the gaps that
    pieces of another have left."""

    def __init__(self, pinned: bool) -> None:
        self.pinned = pinned
        self.slabs: list[torch.Tensor] = []
        self.gaps: list[Piece] = []

    @property
    def nbytes(self) -> int:
        """Bytes taken from the system; they are given back with the arena."""
        return sum(map(len, self.slabs))

    def take(self, nbytes: int) -> Piece:
        """A piece of the first gap that is large enough, or of a new slab."""
        size = -(-nbytes // ALIGNED) * ALIGNED
        gap = next((g for g in self.gaps if g.end - g.start >= size), None) or self._grow(size)
        self.gaps.remove(gap)
        if gap.end - gap.start > size:
            self._insert(Piece(gap.slab, gap.start + size, gap.end))
        return Piece(gap.slab, gap.start, gap.start + size)

    def give(self, piece: Piece) -> None:
        """Return a piece, which joins the gaps beside it."""
        for gap in [g for g in self.gaps if g.slab == piece.slab]:
            if gap.end == piece.start or gap.start == piece.end:
                self.gaps.remove(gap)
                piece = Piece(piece.slab, min(gap.start, piece.start), max(gap.end, piece.end))
        self._insert(piece)

    def view(self, piece: Piece, like: torch.Tensor) -> torch.Tensor:
        """The piece as a tensor of another's shape and type."""
        start = piece.start
        return self.slabs[piece.slab][start : start + like.nbytes].view(like.dtype).view(like.shape)

    def _grow(self, size: int) -> Piece:
        wanted = max(size, min(max(self.nbytes, FIRST_SLAB), LARGEST_SLAB))
        nbytes = 1 << (wanted - 1).bit_length()
        self.slabs.append(torch.empty(nbytes, dtype=torch.uint8, pin_memory=self.pinned))
        slab = Piece(len(self.slabs) - 1, 0, nbytes)
        self._insert(slab)
        return slab

    def _insert(self, gap: Piece) -> None:
        self.gaps.append(gap)
        self.gaps.sort(key=lambda g: (g.slab, g.start))


class Lanes:
    """Copies between host and device beside the work, on a stream each way; plain copies where there are no streams.

    Every buffer on the device belongs to the working stream, which waits for a copy before it reads the buffer or lets
    it go. So the peak of device memory is the same however far the host runs ahead of the device."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.streams = device, backend_of(device).streams
        stream: Any = self.streams.Stream if self.streams else lambda _: None
        self.up, self.down = stream(device), stream(device)
        self.leaving: deque[tuple[torch.Tensor, Any]] = deque()

    def fetch(self, host: torch.Tensor, written: Any) -> tuple[torch.Tensor, Any]:
        """Begin to copy a host tensor, which is complete after the event `written`, to the device. Returns the copy and
        the event of its arrival."""
        copy = torch.empty(host.shape, dtype=host.dtype, device=self.device)
        if self.up is None:
            return copy.copy_(host), None
        self.up.wait_stream(self.streams.current_stream(self.device))  # which may still use the buffer
        self.up.wait_event(written)
        with self.streams.stream(self.up):
            copy.copy_(host, non_blocking=True)
            return copy, self.up.record_event()

    def send(self, x: torch.Tensor, host: torch.Tensor) -> Any:
        """Begin to copy a tensor to the host, at most two at a time. Returns the event of its arrival."""
        if self.down is None:
            host.copy_(x)
            return None
        self.down.wait_stream(self.streams.current_stream(self.device))
        with self.streams.stream(self.down):
            host.copy_(x, non_blocking=True)
            written = self.down.record_event()
        self.leaving.append((x, written))
        while len(self.leaving) > 1:
            self.wait(self.leaving.popleft()[1])
        return written

    def wait(self, event: Any) -> None:
        """Have the working stream wait for `event`; the host goes on."""
        if event is not None:
            self.streams.current_stream(self.device).wait_event(event)

    def settle(self) -> None:
        """Have the working stream wait for all copies under way: then buffers and slabs may be freed."""
        for lane in (self.up, self.down):
            if lane is not None:
                self.streams.current_stream(self.device).wait_stream(lane)
        self.leaving.clear()


class Shelf:
    """The place for the frames of a decode: `budget` bytes on the device, and host memory for the rest."""

    def __init__(self, device: torch.device, budget: int) -> None:
        self.left = budget
        self.arena = Arena(pinned=backend_of(device).streams is not None)
        self.lanes = Lanes(device)


@dataclass
class Kept:
    """A frame: on the device, or in a piece of host memory that holds it from the event `written` on."""

    tensor: torch.Tensor
    piece: Piece | None = None
    written: Any = None


class Frames:
    """The frames of one clip after one layer, equal in size. They are put and got in their order; getting one begins to
    fetch the next."""

    def __init__(self, shelf: Shelf, count: int) -> None:
        self.shelf, self.count = shelf, count
        self.kept: dict[int, Kept] = {}
        self.coming: dict[int, tuple[torch.Tensor, Any]] = {}

    def put(self, t: int, x: torch.Tensor) -> None:
        """Keep frame `t`; nobody else may change the tensor afterwards."""
        shelf = self.shelf
        if x.nbytes <= shelf.left:
            shelf.left -= x.nbytes
            self.kept[t] = Kept(x)
            return
        x = x.contiguous()
        piece = shelf.arena.take(x.nbytes)
        host = shelf.arena.view(piece, x)
        self.kept[t] = Kept(host, piece, shelf.lanes.send(x, host))

    def get(self, t: int, last: bool) -> torch.Tensor:
        """Frame `t` on the device. Unless it is asked for the `last` time it must not be changed."""
        x, arrived = self.coming.pop(t) if t in self.coming else self._begin(t)
        if t + 1 < self.count:
            self.coming[t + 1] = self._begin(t + 1)
        self.shelf.lanes.wait(arrived)
        if last:
            kept = self.kept.pop(t)
            if kept.piece is None:
                self.shelf.left += x.nbytes
            else:
                self.shelf.arena.give(kept.piece)
        return x

    def _begin(self, t: int) -> tuple[torch.Tensor, Any]:
        kept = self.kept[t]
        on_device = kept.piece is None
        return (kept.tensor, None) if on_device else self.shelf.lanes.fetch(kept.tensor, kept.written)
