"""One strategy over many sweeps: their order, what each is compared with, and why one is not."""

import dataclasses
from pathlib import Path
from typing import Any

import made_up
import pytest

from svdsweep.analysis.sweep import Sweep
from svdsweep.analysis.trend import trends
from svdsweep.config import Measure, Memory
from svdsweep.errors import UserError
from svdsweep.store.rows import Row

FASTER = Memory(name="compile", compile="whole", channels_last=True)


def sweep(name: str, day: int | None, *rows: Row, **provenance: Any) -> Sweep:
    began = {} if day is None else {"started_at": f"2026-11-{day:02}T10:00:00+00:00"}
    facts = {**made_up.GPU, **provenance}
    told = [dataclasses.replace(r, values={**r.values, **began}, provenance=facts) for r in rows]
    return dataclasses.replace(made_up.in_memory(*told), folder=Path(name), manifest={"svdsweep": "0.2.0"})


def rows(ratio: float = 1.0, memory: Memory = made_up.STRATEGIES["compile"], **settings: Any) -> list[Row]:
    return [
        made_up.ok(
            made_up.job(memory, seed=seed, **settings),
            [(10 + seed) * ratio * (1 + n / 500) for n in range(3)],
        )
        for seed in range(3)
    ]


def test_sweeps_stand_by_their_dates_and_each_is_compared_with_the_one_before():
    (trend,) = trends([sweep("b", 2, *rows(1.1)), sweep("undated", None, *rows(1.1)), sweep("a", 1, *rows())])
    assert (trend.strategy, [p.sweep for p in trend.points]) == ("compile", ["a", "b", "undated"])
    first, second, last = trend.points
    assert (first.why, first.change, first.against) == ("the first", None, "")
    assert (second.against, second.change.latency.verdict) == ("a", "slower")
    assert second.change.latency.value == pytest.approx(1.1)
    assert (last.against, last.change.latency.verdict) == ("b", "no difference seen")
    assert (first.total_s, second.total_s) == pytest.approx((11.0, 12.1), rel=0.01)


def test_a_point_tells_date_version_commit_torch_card_seconds_and_memory():
    found = [
        dataclasses.replace(
            row,
            values={
                **row.values,
                "total_s_low": 9.0 + n,
                "total_s_high": 12.0 + n,
                "vram_allocated_peak_gib": 3.0 + n,
            },
        )
        for n, row in enumerate(rows())
    ]
    failed = Row(made_up.job(made_up.STRATEGIES["compile"], seed=9), "oom")
    (trend,) = trends([sweep("a", 7, *found, failed, git="c0ffee", torch="2.11.0")])
    (point,) = trend.points
    assert point.svdsweep == "0.2.0 (c0ffee)"
    assert (point.torch, point.machine) == ("2.11.0", "NVIDIA RTX 4090")
    assert point.started_at == "2026-11-07T10:00:00+00:00"
    assert point.statuses == {"ok": 3, "oom": 1}
    assert (point.low, point.high, point.vram_gib) == (10.0, 13.0, 5.0)


def test_a_sweep_is_compared_with_the_latest_one_on_its_own_machine():
    found = [sweep(f"{n}", n, *rows(), gpu=card) for n, card in ((1, "A"), (2, "B"), (3, "A"), (4, "B"))]
    (trend,) = trends(found)
    assert [(p.machine, p.against, p.why) for p in trend.points] == [
        ("A", "", "the first"),
        ("B", "", "the first on this machine"),
        ("A", "1", ""),
        ("B", "2", ""),
    ]


def test_a_strategy_whose_settings_changed_keeps_its_name_and_its_trend():
    (trend,) = trends([sweep("a", 1, *rows()), sweep("b", 2, *rows(0.8, FASTER), torch="3.0")])
    point = trend.points[-1]
    assert (point.against, point.change.latency.verdict) == ("a", "faster")
    assert point.differing == {"memory.channels_last": ("default", "True"), "torch": ("2.15.0", "3.0")}


def test_how_jobs_were_measured_may_differ_what_ran_may_not():
    measured = sweep("b", 2, *rows(measure=Measure(repeats=3)))
    other = sweep("c", 3, *rows(model=dataclasses.replace(made_up.SVD, name="tiny", dtype="float32")))
    (trend,) = trends([sweep("a", 1, *rows()), measured, other])
    assert [p.against for p in trend.points] == ["", "a", ""]
    assert "b ran another model.architecture default → svd_xt" in trend.points[-1].why
    (trend,) = trends([sweep("a", 1, *rows()[:2]), sweep("b", 2, rows()[2])])
    assert trend.points[-1].why == "a ran no job of these"


def test_workloads_have_trends_of_their_own():
    found = trends([sweep("a", 1, *rows(), *rows(num_frames=7)), sweep("b", 2, *rows(num_frames=7))])
    assert [[p.sweep for p in trend.points] for trend in found] == [["a"], ["a", "b"]]


def test_a_strategy_is_asked_for_by_name():
    both = sweep("a", 1, *rows(), *rows(memory=Memory()))
    assert [t.strategy for t in trends([both], ["baseline"])] == ["baseline"]
    with pytest.raises(UserError, match="compil is in these sweeps: there are compile, baseline"):
        trends([both], ["compil"])
    assert trends([made_up.in_memory()]) == []


def test_a_sweep_in_which_nothing_ended_well_has_a_point_that_says_so():
    lost = [Row(row.job, "oom", provenance=made_up.GPU) for row in rows()]
    (trend,) = trends([sweep("a", 1, *rows()), sweep("b", 2, *lost)])
    last = trend.points[-1]
    assert (last.total_s, last.statuses, last.change.lost) == (None, {"oom": 3}, 3)
    assert last.change.regressed(0.1) == ["3 jobs no longer end well"]
