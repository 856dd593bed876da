"""Live bytes over a stretch of a run, gathered in bounded memory; torch is not needed here."""

from collections.abc import Iterator, Sequence

FINEST = 1024
"""Shares kept while a stretch runs, whose length nobody knows before its end; then each two become one."""
POINTS = 80
"""Points that are told of a stretch; a run has up to six."""
Parts = tuple[int, ...]
"""Live bytes by `prediction.KINDS`."""


class Curve:
    """The highest moment of each share of a stretch; shares are equal counts of `tick`."""

    def __init__(self, parts: Sequence[int]) -> None:
        self.shares: list[Parts] = []
        self.width = 1
        """Ticks in a share."""
        self.left = 1
        self.first: Parts = tuple(parts)
        self.highest = sum(parts)
        self.parts: Parts = tuple(parts)
        """The highest moment of the share under way, and its bytes."""

    def see(self, nbytes: int, parts: Sequence[int]) -> None:
        """Take in a moment of `nbytes`, the sum of `parts`, which must not be below `highest`."""
        self.highest, self.parts = nbytes, tuple(parts)

    def tick(self, parts: Sequence[int]) -> None:
        """Go on by one, with `parts` alive."""
        self.left -= 1
        if self.left:
            return
        self.shares.append(self.parts)
        if len(self.shares) == FINEST:
            self.shares = thinned(self.shares, FINEST // 2)
            self.width *= 2
        self.left = self.width
        self.highest, self.parts = sum(parts), tuple(parts)

    def replay(self, parts: Sequence[int]) -> Iterator[tuple[Parts, int]]:
        """The stretch once more, from a moment at which other `parts` are alive: each share's highest moment and its
        ticks."""
        for share in self.shares:
            yield self._moved(share, parts), self.width
        yield self._moved(self.parts, parts), self.width - self.left

    def _moved(self, share: Parts, parts: Sequence[int]) -> Parts:
        moved = [a + b - c for a, b, c in zip(parts, share, self.first, strict=True)]
        while (
            least := min(moved)
        ) < 0:  # what was there at first and went is not there now: the largest stands for it
            moved[moved.index(least)] = 0
            moved[moved.index(max(moved))] += least
        return tuple(moved)

    def points(self) -> list[list[int]]:
        """At most `POINTS` moments in their order, the highest of all among them."""
        return [[*parts] for parts in thinned([*self.shares, self.parts], POINTS)]


def thinned(shares: Sequence[Parts], most: int) -> list[Parts]:
    """The highest of each of `most` equal runs of neighbours; all where they are no more."""
    n = min(most, len(shares))
    return [max(shares[i * len(shares) // n : (i + 1) * len(shares) // n], key=sum) for i in range(n)]
