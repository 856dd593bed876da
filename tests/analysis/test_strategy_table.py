"""The table of strategies, and LaTeX that no name can break."""

from dataclasses import replace

import made_up

from svdsweep.analysis.responses import response, rises, swept
from svdsweep.analysis.strategies import strategies
from svdsweep.analysis.strategy_table import PRINTED, latex, strategy_table
from svdsweep.analysis.sweep import open_sweep
from svdsweep.config import Memory


def test_one_line_a_strategy_with_ratio_interval_and_verdict(tmp_path):
    made_up.sweep(tmp_path, seeds=range(3))
    table = strategy_table(strategies(open_sweep(tmp_path))).set_index("memory")
    assert set(table.index) == set(made_up.STRATEGIES)
    line = table.loc["compile"]
    assert line["total_s_ratio_low"] < line["total_s_ratio"] < line["total_s_ratio_high"]
    assert line["total_s_ratio_verdict"] == "faster"
    assert line["mc_flicker_255_difference_n"] == 3


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


def test_a_rise_is_told_from_values_of_one_machine():
    low, high = (made_up.ok(made_up.job(motion_bucket_id=b), motion_px=b / 60) for b in (60, 180))
    assert rises(made_up.in_memory(low, high), "motion_bucket_id", "motion_px").value == 2.0
    elsewhere = replace(high, provenance={**made_up.GPU, "gpu": "NVIDIA L4"})
    assert rises(made_up.in_memory(low, elsewhere), "motion_bucket_id", "motion_px").n == 0
