"""What the parallel coordinates are given: axes with units, missing values, numbers that JSON holds, not too many."""

import json
import math
from dataclasses import replace

import made_up
import pytest

from svdsweep.analysis.strategies import strategies
from svdsweep.report import parallel as module
from svdsweep.report import svg
from svdsweep.report.parallel import parallel
from svdsweep.report.render import environment
from svdsweep.report.strategy_plots import stage_times
from svdsweep.store.rows import Row

COLUMNS = ["key", "memory", "seed", "status", "total_s", "motion_px", "equality"]


def rows():
    base, other = made_up.STRATEGIES["baseline"], made_up.STRATEGIES["compile"]
    made = [
        made_up.ok(made_up.job(m, seed=s), [10.0 + s], motion_px=2.0 + s)
        for m in (base, other)
        for s in (0, 1)
    ]
    lost = {"motion_px": math.nan, "total_s": 12.345678}
    return [*made[:2], replace(made[2], values={**made[2].values, **lost}), Row(made[3].job, "oom")]


def axes_of(data):
    return {axis["name"]: axis for axis in data["axes"]}


def test_each_axis_has_its_unit_and_a_value_or_none_for_each_job():
    data = parallel(made_up.in_memory(*rows()), COLUMNS)
    axes = axes_of(data)
    assert axes["memory"]["words"] == ["baseline", "compile"]
    assert axes["memory"]["at"] == [0, 0, 1, 1]
    assert axes["seed"]["at"] == [0, 1, 0, 1]
    assert axes["total_s"]["at"] == [10.0, 11.0, 12.346, None]
    assert axes["motion_px"]["at"] == [2.0, 3.0, None, None]
    assert (axes["total_s"]["unit"], axes["motion_px"]["unit"]) == ("s", "px/frame")
    assert axes["status"]["words"] == ["ok", "oom"]
    assert data["bad"] == [3]
    json.dumps(data, allow_nan=False)


def test_measured_columns_beyond_the_tables_are_there_to_be_chosen_as_far_as_they_fit(monkeypatch):
    sweep = made_up.in_memory(*rows())
    assert [name for name, axis in axes_of(parallel(sweep, COLUMNS)).items() if not axis["shown"]] == [
        *("image_encode_s", "vae_encode_s", "denoise_s", "vae_decode_s", "psnr_to_baseline_db")
    ]
    monkeypatch.setattr(module, "CELLS_AT_MOST", 1)
    assert all(axis["shown"] for axis in parallel(sweep, COLUMNS)["axes"])


def test_several_machines_are_an_axis_of_their_own():
    here, there = rows()[0], replace(rows()[1], provenance={**made_up.GPU, "gpu": "another card"})
    axes = axes_of(parallel(made_up.in_memory(here, there), COLUMNS))
    assert axes["machine"]["words"] == ["NVIDIA RTX 4090", "another card"]


@pytest.mark.parametrize("few", [[], rows()[:1]])
def test_nothing_to_compare_gives_no_section(few):
    assert parallel(made_up.in_memory(*few), COLUMNS) is None


def test_of_too_many_jobs_those_that_did_not_end_well_and_an_even_spread_are_drawn(monkeypatch):
    monkeypatch.setattr(module, "LINES_AT_MOST", 4)
    many = [made_up.ok(made_up.job(seed=s), [10.0 + s]) for s in range(30)]
    lost = [Row(made_up.job(seed=s), "failed") for s in (40, 41)]
    data = parallel(made_up.in_memory(*many, *lost), COLUMNS)
    assert axes_of(data)["seed"]["at"] == [40, 41, 0, 15]
    assert (data["bad"], data["left_out"]) == ([0, 1], 28)
    assert "4 jobs are drawn, 28 are left out" in environment().get_template("parallel.html.jinja").render(
        data=data
    )


def test_marks_of_plots_name_the_jobs_that_they_are_of():
    sweep = made_up.in_memory(*rows()[:3], made_up.ok(made_up.job(made_up.STRATEGIES["compile"], seed=5)))
    plot = stage_times(sweep, strategies(sweep))
    assert plot.of["stage_times-0-1"]["memory"] == "compile"
    assert '"memory": "compile"' in svg.inline(plot).replace("&quot;", '"')
