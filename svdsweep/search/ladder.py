"""How many candidates run at how many steps, so that a pick keeps to its budget of UNet calls. No torch."""

import math
from dataclasses import dataclass

import numpy as np

from svdsweep.errors import UserError
from svdsweep.search.candidates import Candidates
from svdsweep.search.pilot import LEAST

FEW = 0.12
"""Steps of the first stage, as a share of all; at least 2."""
PILOT = 12
"""Candidates of the pilot; fewer where the budget is small, never fewer than `LEAST`."""


@dataclass(frozen=True)
class Ladder:
    """The stages: all candidates at `few` steps, `pilot` of them in full, then `survivors` more in full."""

    few: int
    pilot: int
    survivors: int
    calls: int
    """UNet calls of all stages."""

    @property
    def full_runs(self) -> int:
        """Candidates that run in full."""
        return self.pilot + self.survivors


def ladder_of(candidates: Candidates, keep: int, budget: float | None, few: int | None = None) -> Ladder:
    """The stages that a budget (a share of the full sweep's UNet calls; None: all in full) pays for. Raises UserError
    where it does not pay for a pilot and `keep` runs in full."""
    n, steps = len(candidates.jobs), candidates.steps
    few = few or max(2, round(FEW * steps))
    if few >= steps:
        raise UserError(
            f"--few {few}: the first stage takes fewer steps than the full run, which has {steps}."
        )
    first, each = n * candidates.calls(few), candidates.calls(steps)
    if budget is None:
        return Ladder(few, 0, n, n * each)
    runs = min(n, int((budget * candidates.full_calls - first) / each + 1e-9))
    least = max(LEAST, keep)
    if runs < least:
        calls = first + least * each
        instead = (
            f"--budget {math.ceil(100 * calls / candidates.full_calls)} would; so would more seeds, of which a smaller "
            "share runs in full."
            if calls < candidates.full_calls
            else "--full runs them all for less."
        )
        raise UserError(
            f"{100 * budget:.0f} % of the full sweep's {candidates.full_calls} UNet calls do not pay for a pick among "
            f"{n} jobs: all of them at {few} of {steps} steps and {least} in full, by which the pilot judges whether "
            f"few steps tell anything, take {calls}. {instead}"
        )
    pilot = min(PILOT, runs)
    return Ladder(few, pilot, runs - pilot, first + runs * each)


def pilot_of(order: list[int], count: int) -> list[int]:
    """The candidates that the pilot runs in full: the better half of it leads the `order` of the few steps, and would
    run in full anyway; the others lie evenly over the ranks below, the last among them.

    Whom it holds hangs on the few steps alone, so values in full that have nothing to do with those are in any order
    among them: the interval of `agreement` holds 0 as often as it says."""
    if len(order) <= count:
        return order
    best = count // 2
    rest = order[best:]
    places = np.linspace(0, len(rest) - 1, count - best).round().astype(int)
    return [*order[:best], *(rest[i] for i in dict.fromkeys(places.tolist()))]
