"""Measured peaks against predicted ones: which rows count, ratios by stage, and what has no prediction."""

import dataclasses

import made_up
import pytest
from made_up import in_memory

from svdsweep.analysis.prediction import Ratio, comparison, measured_rows
from svdsweep.analysis.sweep import open_sweep
from svdsweep.predict import cache
from svdsweep.predict.prediction import Prediction, Stage

pytestmark = pytest.mark.usefixtures("cache_home")
CHUNKING = made_up.STRATEGIES["forward_chunking"]


def foresee(job, notes=(), **peaks):
    cache.keep(
        job, Prediction({n: Stage(gib, 0, "", "", [], [], 0, 0) for n, gib in peaks.items()}, list(notes))
    )


def counted(job, allocated, gpu="a card", **peaks):
    return made_up.ok(job, provenance={"gpu": gpu}, vram_allocated_peak_gib=allocated, **peaks)


def test_rows_count_that_ended_well_on_a_gpu_that_counted_with_their_peaks_alone():
    good = counted(made_up.job(seed=1), 3.0, denoise_vram_allocated_peak_gib=2.0, motion_px=1.0)
    rows = [
        good,
        counted(made_up.job(seed=2), 3.0, vram_process_peak_gib=5.0, vram_reserved_peak_gib=4.0),
        counted(made_up.job(seed=3), None),
        counted(made_up.job(seed=4), 3.0, gpu=None),
        dataclasses.replace(counted(made_up.job(seed=5), 3.0), status="failed"),
    ]
    one, other = measured_rows(in_memory(*rows))
    assert (one.job, one.status, one.provenance) == (good.job, "ok", {"gpu": "a card"})
    assert one.values == {"vram_allocated_peak_gib": 3.0, "denoise_vram_allocated_peak_gib": 2.0}
    expected = {"vram_allocated_peak_gib": 3.0, "vram_reserved_peak_gib": 4.0, "vram_process_peak_gib": 5.0}
    assert (other.job.seed, other.values) == (2, expected)


def test_without_a_gpu_or_without_a_count_there_is_nothing_to_compare(tmp_path):
    bare = made_up.ok(made_up.job(), provenance={"cpu": "x"}, vram_allocated_peak_gib=1.0)
    uncounted = made_up.ok(made_up.job(), provenance={"gpu": "a card"})
    for sweep in (in_memory(bare), in_memory(uncounted), open_sweep(tmp_path)):
        assert measured_rows(sweep) == []
        result = comparison(sweep)
        assert (result.lines, result.calibrations, result.measured, result.unpredicted) == ([], {}, 0, [])
        assert result.table.empty


def test_ratios_are_measured_by_predicted_with_their_range_by_stage_gpu_and_strategy():
    foresee(made_up.job(), vae_encode=0.2, denoise=2.0, vae_decode=0.25)
    foresee(made_up.job(CHUNKING), ["a note"], denoise=1.0)
    lone = made_up.job(made_up.STRATEGIES["compile"])
    rows = [
        *(
            counted(
                made_up.job(seed=seed),
                allocated,
                gpu,
                vae_encode_vram_allocated_peak_gib=0.4,
                denoise_vram_allocated_peak_gib=allocated - 0.5,
                vae_decode_vram_allocated_peak_gib=0.5,
            )
            for seed, allocated, gpu in ((1, 2.5, "A"), (2, 3.5, "A"), (3, 2.75, "A"), (4, 8.0, "B"))
        ),
        counted(made_up.job(CHUNKING, seed=1), 1.5, "A"),
        counted(lone, 1.0, "A"),
    ]
    result = comparison(in_memory(*rows))
    base, elsewhere, chunked = result.lines
    assert (base.gpu, base.memory, base.rows) == ("A", "baseline", 3)
    assert (base.predicted_gib, base.measured_gib, base.notes) == (2.0, 2.75, [])
    assert base.ratios == {
        "denoise": Ratio(1.125, 1.0, 1.5, 3),
        "vae_decode": Ratio(2.0, 2.0, 2.0, 3),
        "run": Ratio(1.375, 1.25, 1.75, 3),
    }
    assert (elsewhere.gpu, elsewhere.rows, elsewhere.ratios["run"].median) == ("B", 1, 4.0)
    assert (chunked.memory, chunked.notes, chunked.ratios) == (
        "forward_chunking",
        ["a note"],
        {"run": Ratio(1.5, 1.5, 1.5, 1)},
    )
    assert (result.measured, result.unpredicted, len(result.table)) == (6, [lone], 17)
    assert set(result.calibrations) == {"A", "B"}
    assert result.calibrations["A"].rows == 3


def test_a_run_that_is_predicted_to_hold_little_is_compared_as_a_whole_all_the_same():
    foresee(made_up.job(), denoise=0.125)
    (line,) = comparison(in_memory(counted(made_up.job(), 0.25, denoise_vram_allocated_peak_gib=0.5))).lines
    assert line.ratios == {"run": Ratio(2.0, 2.0, 2.0, 1)}
