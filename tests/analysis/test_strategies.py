"""Each strategy against its baseline, the front, and the best for a card."""

import dataclasses
import json

import made_up
import pytest
from made_up import in_memory

from svdsweep.analysis.pairs import NO_PAIR
from svdsweep.analysis.strategies import best_for, front, paired, strategies
from svdsweep.analysis.sweep import open_sweep
from svdsweep.config import Memory
from svdsweep.store.rows import Row


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


def test_a_strategy_tells_how_its_jobs_ended_what_they_took_and_how_far_its_frames_are():
    chunked = made_up.STRATEGIES["forward_chunking"]
    figures = (
        (9.0, 10.0, 20.0, 60.0, "exact"),
        (12.0, 14.0, 24.0, 50.0, "different"),
        (11.0, 12.0, 22.0, 70.0, "near"),
    )
    known_of_base = {"vram_allocated_peak_gib": 40.0, "psnr_to_baseline_db": 90.0}
    rows = [made_up.ok(made_up.job(seed=s), [20.0], **known_of_base) for s in range(3)]
    for seed, (total_s, allocated, process, psnr, equality) in enumerate(figures):
        row = made_up.ok(
            made_up.job(chunked, seed=seed),
            [total_s],
            vram_allocated_peak_gib=allocated,
            vram_process_peak_gib=process,
            psnr_to_baseline_db=psnr,
            equality=equality,
            fault="frames differ" if seed else None,
        )
        rows.append(row)
    rows.append(
        Row(
            made_up.job(chunked, seed=3),
            "oom",
            values={"vram_allocated_peak_gib": 30.0, "vram_process_peak_gib": 50.0},
            provenance=made_up.GPU,
        )
    )
    base, found = strategies(in_memory(*rows[::-1]))
    assert (found.name, found.machine) == ("forward_chunking", made_up.GPU["gpu"])
    assert found.workload == "tiny float32, 14 × 64×64 px, 10 steps"
    assert found.statuses == {"ok": 3, "oom": 1}
    assert list(found.statuses) == ["ok", "oom"]
    assert (found.total_s, found.memory_gib, found.reserved_gib) == (11.0, 30.0, 24.0)
    assert (found.psnr_db, found.equality, found.faults) == (50.0, "different", 2)
    assert found.latency.value == pytest.approx((9 * 12 * 11) ** (1 / 3) / 20)
    assert (found.memory.value, found.memory.n) == (0.3, 3)
    assert not found.complete
    assert (base.name, base.statuses, base.psnr_db, base.equality) == (
        "baseline",
        {"ok": 3},
        None,
        "baseline",
    )
    assert (base.total_s, base.memory_gib, base.reserved_gib, base.faults) == (20.0, 40.0, 40.0, 0)
    assert (base.latency, base.memory, base.metrics) == (NO_PAIR, NO_PAIR, {})
    assert base.complete


def test_a_baseline_that_did_not_end_well_is_compared_with_nothing():
    base = dataclasses.replace(made_up.ok(made_up.job()), status="defective")
    _, found = strategies(in_memory(base, made_up.ok(made_up.job(made_up.STRATEGIES["compile"]))))
    assert (found.latency, found.memory, found.metrics) == (NO_PAIR, NO_PAIR, {})


def untold(row, **values):
    return dataclasses.replace(row, values={**row.values, **values})


def test_what_no_row_knows_is_unknown():
    row = made_up.ok(made_up.job(made_up.STRATEGIES["compile"]))
    row = untold(row, total_s=None, psnr_to_baseline_db=None, equality="odd")
    (found,) = strategies(in_memory(row))
    assert (found.total_s, found.memory_gib, found.reserved_gib, found.psnr_db) == (None,) * 4
    assert (found.equality, found.faults) == (None, 0)
    assert strategies(in_memory()) == []


def test_the_baseline_is_first_of_each_workload_and_machine_then_the_quickest_and_the_untimed_last():
    def row(name, seconds, **settings):
        memory = made_up.STRATEGIES.get(name) or Memory(name=name, extra=[name])
        return untold(made_up.ok(made_up.job(memory, **settings)), total_s=seconds)

    elsewhere = dataclasses.replace(row("compile", 1.0, seed=2), provenance={"cpu": "A"})
    rows = [
        row("untimed", None),
        row("compile", None),
        row("forward_chunking", 8.0),
        row("compile", 1.0, num_frames=7),
        row("model_offload", 5.0),
        row("baseline", 9.0),
        elsewhere,
    ]
    found = [(s.workload[14:16], s.machine[:1], s.name, s.total_s) for s in strategies(in_memory(*rows))]
    assert found == [
        ("14", "A", "compile", 1.0),
        ("14", "N", "baseline", 9.0),
        ("14", "N", "model_offload", 5.0),
        ("14", "N", "forward_chunking", 8.0),
        ("14", "N", "untimed", None),
        ("14", "N", "compile", None),
        ("7 ", "N", "compile", 1.0),
    ]


def test_the_metrics_of_the_catalogue_or_those_asked_for_are_compared_and_no_comparisons():
    rows = [
        made_up.ok(made_up.job(m, seed=s), motion_px=1.0, mc_flicker_255=1.0, ssim_to_baseline=0.9, own=1.0)
        for m in (Memory(), made_up.STRATEGIES["compile"])
        for s in range(3)
    ]
    sweep = in_memory(*rows)
    assert set(strategies(sweep)[1].metrics) == {"motion_px", "mc_flicker_255"}
    assert set(strategies(sweep, ["motion_px", "warp_mse", "ssim_to_baseline"])[1].metrics) == {"motion_px"}


def test_pairs_are_of_one_machine_whose_baseline_ended_well():
    compiled = made_up.STRATEGIES["compile"]
    at = {"gpu": "another"}
    sweep = in_memory(
        *(made_up.ok(made_up.job(seed=s)) for s in (0, 1)),
        Row(made_up.job(seed=2), "failed", provenance=made_up.GPU),
        *(made_up.ok(made_up.job(compiled, seed=s)) for s in (0, 2, 3)),
        made_up.ok(made_up.job(compiled, seed=1), provenance=at),
    )
    by_key = sweep.ok.set_index("key")
    pairs = paired(sweep.ok[sweep.ok["memory"] == "compile"], by_key)
    assert (list(pairs["seed"]), list(pairs["partner"])) == ([0], [made_up.job(seed=0).key])
    counted = {s.machine: s.latency.n for s in strategies(sweep) if s.name == "compile"}
    assert counted == {made_up.GPU["gpu"]: 3, "another": 0}  # three repeats of one pair


def known(name, total_s, memory_gib, psnr_db=None, **facts):
    return made_up.strategy(name, total_s=total_s, memory_gib=memory_gib, psnr_db=psnr_db, **facts)


@pytest.mark.parametrize(
    ("other", "stays"),
    [
        (known("b", 10, 10, 50.0), True),
        (known("b", 9, 10, 50.0), False),
        (known("b", 10, 9, 50.0), False),
        (known("b", 10, 10, 51.0), False),
        (known("b", 9, 11, 50.0), True),
        (known("b", 9, 9, 49.0), True),
        (known("baseline", 10, 10), False),
        (known("b", 9, None, None), False),
        (known("b", 9, 9, 51.0, machine="other"), True),
        (known("b", 9, 9, 51.0, workload="other"), True),
        (known("b", 9, 9, 51.0, statuses={"ok": 2, "oom": 1}), True),
    ],
)
def test_on_the_front_is_what_no_complete_strategy_of_its_place_beats_in_all_that_both_tell(other, stays):
    one = known("a", 10, 10, 50.0)
    assert (one in front([one, other])) is stays
    assert other in front([one, other]) or not other.complete


def test_the_untimed_is_not_on_the_front_and_the_baseline_has_the_likeness_of_itself():
    untimed, base = known("a", None, 1, 100.0), known("baseline", 10, 10)
    assert front([untimed, base, known("b", 10, 10, 100.0), known("c", 11, 10, 99.0)]) == [
        base,
        known("b", 10, 10, 100.0),
    ]


def test_the_best_for_a_card_is_the_quickest_that_fits_and_the_quickest_that_keeps_the_frames():
    candidates = [
        known("slow", 9, None, reserved_gib=6.0, equality="exact"),
        known("base", 8, None, reserved_gib=30.0, equality="baseline"),
        known("quick", 5, None, reserved_gib=8.0, equality="near"),
        known("as quick", 5, None, reserved_gib=9.0, equality="different"),
        known("middle", 7, None, reserved_gib=16.0, equality="equivalent"),
        known("untold", 1, None),
        known("untimed", None, None, reserved_gib=1.0, equality="exact"),
        known("partial", 1, None, reserved_gib=1.0, equality="exact", statuses={"ok": 2, "failed": 1}),
    ]
    found = [
        (c.gib, c.fastest and c.fastest.name, c.faithful and c.faithful.name) for c in best_for(candidates)
    ]
    assert found == [
        (6, "slow", "slow"),
        (8, "quick", "slow"),
        (12, "quick", "slow"),
        (16, "quick", "middle"),
        (24, "quick", "middle"),
        (48, "quick", "middle"),
        (80, "quick", "middle"),
    ]
    (none,) = best_for(candidates, [5])
    assert (none.gib, none.fastest, none.faithful) == (5, None, None)


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
