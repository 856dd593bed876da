"""Each strategy against its baseline, the front, and the best for a card."""

import dataclasses
import json

import made_up
import pytest

from svdsweep.analysis.strategies import best_for, front, strategies
from svdsweep.analysis.sweep import open_sweep
from svdsweep.store.rows import Row, Store


def by_name(folder):
    return {s.name: s for s in strategies(open_sweep(folder))}


def test_ratios_and_verdicts_are_those_that_were_put_in(tmp_path):
    made_up.sweep(tmp_path)
    found = by_name(tmp_path)
    assert next(iter(found)) == "baseline"
    assert found["compile"].latency.value == pytest.approx(0.8, rel=0.02)
    assert found["compile"].latency.verdict == "faster"
    assert found["model_offload"].latency.verdict == "slower"
    assert found["forward_chunking"].memory.value == pytest.approx(20 / 30)
    assert found["forward_chunking"].memory.verdict == "less"
    assert found["forward_chunking"].equality == "near"
    assert found["forward_chunking"].psnr_db == 44.0
    assert found["baseline"].latency.n == 0


def test_jobs_are_paired_with_the_baseline_of_their_own_settings(tmp_path):
    def slower_with_motion(row: Row) -> Row:
        factor = row.job.motion_bucket_id / 60
        return dataclasses.replace(row, series={"total_s": [v * factor for v in row.series["total_s"]]})

    made_up.sweep(tmp_path, change=slower_with_motion)
    assert by_name(tmp_path)["compile"].latency.value == pytest.approx(0.8, rel=0.02)


def test_a_metric_counts_each_image_and_seed_once(tmp_path):
    made_up.sweep(tmp_path, seeds=range(2))
    assert by_name(tmp_path)["compile"].metrics["mc_flicker_255"].verdict == "not enough data"
    made_up.sweep(tmp_path / "b", seeds=range(4))
    assert by_name(tmp_path / "b")["compile"].metrics["mc_flicker_255"].n == 4


def test_a_worse_metric_is_found_beside_many(tmp_path):
    def flickers(row: Row) -> Row:
        more = 0.5 if row.job.memory.name == "forward_chunking" else 0
        return dataclasses.replace(
            row, values={**row.values, "mc_flicker_255": row.values["mc_flicker_255"] + more}
        )

    made_up.sweep(tmp_path, seeds=range(5), change=flickers)
    found = by_name(tmp_path)
    assert found["forward_chunking"].metrics["mc_flicker_255"].verdict == "worse"
    assert found["compile"].metrics["mc_flicker_255"].verdict == "no difference seen"


def test_rows_of_another_gpu_are_no_pairs(tmp_path):
    made_up.sweep(tmp_path)
    Store(tmp_path, "z-2").append(
        made_up.ok(
            made_up.job(made_up.STRATEGIES["compile"], seed=9), provenance={**made_up.GPU, "gpu": "another"}
        )
    )
    Store(tmp_path, "z-2").append(made_up.ok(made_up.job(seed=9)))
    compiled = [s for s in strategies(open_sweep(tmp_path)) if s.name == "compile"]
    assert {s.machine: s.latency.n for s in compiled} == {"NVIDIA RTX 4090": 6, "another": 0}


def test_what_another_beats_in_all_is_not_on_the_front(tmp_path):
    made_up.sweep(tmp_path)
    names = {s.name for s in front(strategies(open_sweep(tmp_path)))}
    assert names == {"baseline", "model_offload", "forward_chunking", "compile"}
    worse = made_up.STRATEGIES["model_offload"]
    made_up.sweep(
        tmp_path / "b",
        strategies={"baseline": made_up.STRATEGIES["baseline"], "model_offload": worse},
        change=lambda r: dataclasses.replace(r, values={**r.values, "vram_allocated_peak_gib": 30.0}),
    )
    assert [s.name for s in front(strategies(open_sweep(tmp_path / "b")))] == ["baseline"]


def test_a_strategy_with_an_oom_fits_no_card_and_stays_in_the_table(tmp_path):
    def full(row: Row) -> Row:
        if row.job.memory.name == "compile" and row.job.seed == 1:
            return Row(row.job, "oom", error="CUDA out of memory", phase="denoise", provenance=made_up.GPU)
        return row

    made_up.sweep(tmp_path, change=full)
    found = strategies(open_sweep(tmp_path))
    compiled = next(s for s in found if s.name == "compile")
    assert compiled.statuses == {"ok": 3, "oom": 3}
    assert not compiled.complete
    assert compiled not in front(found)
    choices = {c.gib: (c.fastest and c.fastest.name, c.faithful and c.faithful.name) for c in best_for(found)}
    assert choices[16] == (None, None)
    assert choices[24] == ("forward_chunking", None)
    assert choices[48] == ("baseline", "baseline")


def test_of_only_failures_there_is_a_table_and_no_ratio(tmp_path):
    made_up.sweep(tmp_path, change=lambda r: Row(r.job, "failed", error="boom", phase="load"))
    for s in strategies(open_sweep(tmp_path)):
        assert s.total_s is None
        assert s.latency.value is None
    assert json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))["name"]
