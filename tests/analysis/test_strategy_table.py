"""The table of strategies, and LaTeX that no name can break."""

from dataclasses import replace

import made_up
import pytest

from svdsweep.analysis.pairs import Estimate
from svdsweep.analysis.responses import response, rises, swept
from svdsweep.analysis.strategies import strategies
from svdsweep.analysis.strategy_table import PRINTED, latex, strategy_table
from svdsweep.analysis.sweep import open_sweep
from svdsweep.config import Gpu, Memory, Model
from svdsweep.store.labels import rows_told_apart


def test_one_line_a_strategy_with_ratio_interval_and_verdict(tmp_path):
    made_up.sweep(tmp_path, seeds=range(3))
    table = strategy_table(strategies(open_sweep(tmp_path))).set_index("memory")
    assert set(table.index) == set(made_up.STRATEGIES)
    line = table.loc["compile"]
    assert line["total_s_ratio_low"] < line["total_s_ratio"] < line["total_s_ratio_high"]
    assert line["total_s_ratio_verdict"] == "faster"
    assert line["mc_flicker_255_difference_n"] == 3


def test_a_line_has_each_fact_of_its_strategy():
    faster, less = Estimate(0.8, 0.7, 0.95, 6, "faster"), Estimate(0.5, 0.4, 0.6, 5, "less")
    known = {"memory_gib": 20.0, "reserved_gib": 21.5, "latency": faster, "memory": less}
    one = made_up.strategy("one", total_s=8.0, psnr_db=40.0, equality="near", **known)
    slow = made_up.strategy("slow", total_s=9.0, psnr_db=30.0, memory_gib=25.0, statuses={"ok": 2, "oom": 1})
    line, other = strategy_table([one, replace(slow, statuses={"ok": 2})]).to_dict("records")
    facts = {
        "memory": "one",
        "total_s": 8.0,
        "peak_gib": 20.0,
        "equality": "near",
        "psnr_to_baseline_db": 40.0,
    }
    facts |= {
        "total_s_ratio": 0.8,
        "total_s_ratio_low": 0.7,
        "total_s_ratio_high": 0.95,
        "total_s_ratio_n": 6,
    }
    facts |= {"peak_ratio": 0.5, "peak_ratio_low": 0.4, "peak_ratio_high": 0.6, "peak_ratio_verdict": "less"}
    assert {name: line[name] for name in facts} == facts
    assert (line["on_front"], other["on_front"], other["jobs_ok"]) == (True, False, 2)
    table = strategy_table([one, slow])
    header = latex(table, ("total_s", "memory", "nowhere", "jobs_oom")).splitlines()[2]
    assert header.rstrip(" \\").split(" & ") == ["total\\_s", "memory", "jobs\\_oom"]


def test_latex_escapes_names_and_rounds(tmp_path):
    strategies_ = {"baseline": Memory(), "a_b&c": Memory(name="a_b&c", fused_qkv=True)}
    made_up.sweep(tmp_path, strategies=strategies_)
    text = latex(strategy_table(strategies(open_sweep(tmp_path))), PRINTED)
    assert "a\\_b\\&c" in text
    assert "\\toprule" in text


def test_responses_are_means_over_seeds_with_intervals_from_three_on(tmp_path):
    made_up.sweep(tmp_path / "two", seeds=range(2))
    made_up.sweep(tmp_path / "five", seeds=range(5))
    two, five = (open_sweep(tmp_path / name) for name in ("two", "five"))
    assert swept(two.ok) == ["motion_bucket_id"]
    assert response(two.ok, "motion_bucket_id", "motion_px")["low"].isna().all()
    line = response(five.ok, "motion_bucket_id", "motion_px")
    line = line[line["memory"] == "baseline"]
    assert line["at"].tolist() == [60.0, 120.0, 180.0]
    for mean, low, high, truth in zip(line["mean"], line["low"], line["high"], (1, 2, 3), strict=True):
        assert low < mean < high
        assert abs(mean - truth) < 0.1
    assert rises(five, "motion_bucket_id", "motion_px").verdict == "higher"
    assert rises(five, "fps", "motion_px").verdict == "not swept"


def test_a_response_has_a_line_of_its_own_for_each_model_and_each_value_of_another_setting():
    rows = [
        made_up.ok(made_up.job(model=Model("svd", s), fps=f, seed=seed, motion_bucket_id=b), motion_px=x * b + seed)
        for x, (s, f) in enumerate([("/d/a", 5), ("/d/a", 6), ("/d/b", 5), ("/d/b", 6)], 1)
        for seed in (0, 1)
        for b in (60, 120)
    ]  # fmt: skip
    lines = response(made_up.in_memory(*rows_told_apart(rows)).ok, "motion_bucket_id", "motion_px")
    assert [(*line,) for line in lines[["others", "at", "mean", "n"]].itertuples(index=False)] == [
        (f"model=svd+source={s}, fps={f}", at, x * at + 0.5, 2)
        for at in (60.0, 120.0)
        for x, (s, f) in enumerate([("a", 5), ("a", 6), ("b", 5), ("b", 6)], 1)
    ]


def test_a_rise_pairs_jobs_of_one_model_precision_and_size():
    for apart in ({"model": Model(source="/d/b")}, {"model": Model(dtype="float16")}, {"gpu": Gpu(8.0)}):
        low, high = (
            made_up.ok(made_up.job(motion_bucket_id=b, **more), motion_px=b / 60)
            for b, more in ((60, {}), (180, apart))
        )
        assert rises(made_up.in_memory(low, high), "motion_bucket_id", "motion_px").n == 0
        partner = made_up.ok(made_up.job(motion_bucket_id=180), motion_px=5.0)
        sweep = made_up.in_memory(low, high, partner)
        assert (e := rises(sweep, "motion_bucket_id", "motion_px")).value == 4.0, e


def test_a_baseline_that_no_other_job_needs_counts_in_a_rise():
    rows = [
        made_up.ok(replace(made_up.job(motion_bucket_id=b, seed=s), baseline=""), motion_px=b / 60 + s)
        for b in (60, 180)
        for s in range(3)
    ]
    assert rises(made_up.in_memory(*rows), "motion_bucket_id", "motion_px").value == pytest.approx(2.0)


def test_lines_of_several_workloads_are_told_apart_in_latex():
    rows = [made_up.ok(made_up.job(height=h, seed=0), [h / 8]) for h in (64, 72)]
    text = latex(strategy_table(strategies(made_up.in_memory(*rows))), PRINTED)
    assert "64×64 px" in text
    assert "64×72 px" in text
    assert "NVIDIA" not in text


def test_a_rise_is_told_from_values_of_one_machine():
    low, high = (made_up.ok(made_up.job(motion_bucket_id=b), motion_px=b / 60) for b in (60, 180))
    assert rises(made_up.in_memory(low, high), "motion_bucket_id", "motion_px").value == 2.0
    elsewhere = replace(high, provenance={**made_up.GPU, "gpu": "NVIDIA L4"})
    assert rises(made_up.in_memory(low, elsewhere), "motion_bucket_id", "motion_px").n == 0
