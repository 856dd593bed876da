"""From raw seconds to medians, intervals and doubts: the times of a row, without a run."""

import math
import statistics
from typing import Any

import pytest

from svdsweep.probes.latency import time_columns
from svdsweep.store.columns import STAGES

QUANTILE = 4.302653  # Student's t at 97.5 %, two degrees of freedom, from a printed table


def test_times_are_medians_and_the_geometric_mean_stands_beside_them() -> None:
    runs, steps = [1.0, 2.0, 32.0], [[1.0, 2.0], [2.0, 40.0], [2.0, 40.0]]
    series: dict[str, Any] = {"total_s": runs, "step_s": steps, **{f"{stage}_s": runs for stage in STAGES}}
    values = time_columns(series, num_frames=14).values
    half = (
        QUANTILE * math.log(2) * math.sqrt(7 / 3)
    )  # to base 2 the logarithms are 0, 1 and 5: their variance is 7
    assert values == {
        **{f"{part}_s": 2.0 for part in ("total", "step", *STAGES)},
        "total_s_low": pytest.approx(4 * math.exp(-half)),
        "total_s_high": pytest.approx(4 * math.exp(half)),
        "total_s_median_low": None,
        "total_s_median_high": None,
        "total_s_min": 1.0,
        "total_s_max": 32.0,
        "total_s_geometric_mean": pytest.approx(4.0),
        "frames_per_s": 7.0,
        "repeats": 3,
    }


def test_stages_and_steps_that_were_not_timed_have_no_column() -> None:
    values = time_columns({"total_s": [2.0], "vae_decode_s": [2.0]}, num_frames=4).values
    assert {name for name in values if name.startswith(("step", *STAGES))} == {"vae_decode_s"}


def test_the_median_has_an_interval_from_six_repeats_of_one_round() -> None:
    series = {"total_s": [1.06, 1.05, 1.04, 1.03, 1.02, 1.01]}
    values = time_columns(series, num_frames=14).values
    assert (values["total_s_median_low"], values["total_s_median_high"]) == (1.01, 1.06)
    values = time_columns({**series, "round": [1, 1, 1, 2, 2, 2]}, num_frames=14).values
    assert (values["total_s_median_low"], values["total_s_median_high"]) == (None, None)


@pytest.mark.parametrize(
    ("rounds", "counted"),
    [
        ([7, 7, 8, 8, 9, 9], [2.0, 4.0, 8.0]),
        ([7, 8, 9, 7, 8, 9], [math.sqrt(8), 4.0, math.sqrt(32)]),
        ([7, 7, 7, 8, 8, 8], [1.0, 4.0, 2.0, 8.0, 4.0, 16.0]),
        (None, [1.0, 4.0, 2.0, 8.0, 4.0, 16.0]),
    ],
)
def test_from_three_rounds_on_their_geometric_means_are_counted_and_not_their_repeats(
    rounds: list[int] | None, counted: list[float]
) -> None:
    series: dict[str, Any] = {"total_s": [1.0, 4.0, 2.0, 8.0, 4.0, 16.0]}
    series |= {"round": rounds} if rounds else {}
    quantile = {3: QUANTILE, 6: 2.570582}[len(counted)]
    half = quantile * statistics.stdev(map(math.log, counted)) / math.sqrt(len(counted))
    values = time_columns(series, num_frames=14).values
    assert values["total_s_low"] == pytest.approx(4 * math.exp(-half))
    assert values["total_s_high"] == pytest.approx(4 * math.exp(half))
    assert values["total_s_geometric_mean"] == pytest.approx(4.0)


VARIES = "total_s varies by more than 10% over the repeats"


@pytest.mark.parametrize(
    ("totals", "notes"),
    [
        ([1.0], []),
        ([9.5, 10.0, 10.5], []),  # a tenth of the median, and no more
        ([9.5, 10.0, 10.6], [VARIES]),
        ([8.0, 10.0], [VARIES]),
        (
            [10.0, 10.1, 10.0, 9.9, 10.0, 50.0],
            ["outliers among the repeats of total_s, kept: number 6", VARIES],
        ),
        (
            [60.0, 10.1, 10.0, 10.0, 9.9, 50.0],
            ["outliers among the repeats of total_s, kept: number 1, 6", VARIES],
        ),
        (
            [1.01, 1.02, 1.03, 1.04, 1.06, 1.05],  # one neighbouring pair out of order: 1 − 6 · 2 / 210
            ["total_s rises over the repeats (rank correlation 0.94)"],
        ),
        ([1.01, 1.02, 1.06, 1.05, 1.04, 1.03], []),  # 1 − 6 · 20 / 210 = 0.43
        ([1.06, 1.05, 1.04, 1.03, 1.02, 1.01], []),
    ],
)
def test_outliers_spread_and_rise_of_repeats_are_told(totals: list[float], notes: list[str]) -> None:
    columns = time_columns({"total_s": totals}, num_frames=14)
    assert columns.notes == notes
    assert columns.values["total_s_max"] == max(totals), "no repeat is dropped"
