"""The documentation's claims: answered by figures, marked where nothing can answer, never invented."""

import dataclasses

import made_up
import pytest

from svdsweep.analysis.documentation import claims
from svdsweep.analysis.sweep import open_sweep
from svdsweep.config import Memory
from svdsweep.store.rows import Row, Store


def verdicts(folder):
    return [c.verdict for c in claims(open_sweep(folder))]


def test_nothing_is_answered_by_an_empty_sweep(tmp_path):
    assert set(verdicts(tmp_path)) == {"unanswerable"}


def test_a_processor_answers_nothing_about_gpus(tmp_path):
    cpu = {k: v for k, v in made_up.GPU.items() if k != "gpu"}
    made_up.sweep(tmp_path, change=lambda r: dataclasses.replace(r, provenance=cpu))
    found = claims(open_sweep(tmp_path))
    for claim in found[:3]:
        assert claim.verdict == "unanswerable"
        assert claim.measured == ""


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "holds"), (1.15, "does not hold"), (1.4, "does not hold")]
)
def test_compiling_is_judged_by_its_interval(tmp_path, factor, verdict):
    def compiled(row: Row) -> Row:
        times = [v * (factor if row.job.memory.name == "compile" else 1) for v in row.series["total_s"]]
        return dataclasses.replace(row, series={"total_s": times})

    made_up.sweep(tmp_path, seeds=range(3), change=compiled, model=made_up.SVD, **made_up.FULL)
    claim = claims(open_sweep(tmp_path))[0]
    assert claim.verdict == verdict
    assert "VRAM" in claim.measured


def test_compiling_is_not_judged_by_what_does_more_than_compile(tmp_path):
    more = Memory(name="fastest", compile="whole", compile_vae=True, fused_qkv=True)
    made_up.sweep(
        tmp_path,
        seeds=range(3),
        change=lambda r: dataclasses.replace(
            r, job=dataclasses.replace(r.job, memory=more if r.job.memory.name == "compile" else r.job.memory)
        ),
        model=made_up.SVD,
        **made_up.FULL,
    )
    claim = claims(open_sweep(tmp_path))[0]
    assert (claim.verdict, claim.measured) == ("unanswerable", "")


@pytest.mark.parametrize(("peak", "verdict"), [(7.2, "holds"), (7.46, "does not hold")])
def test_eight_gigabytes_are_gigabytes(tmp_path, peak, verdict):
    memory = Memory(name="under_8gb", offload="model", forward_chunk_size=1)
    job = made_up.job(memory, model=made_up.SVD, decode_chunk_size=2, **made_up.FULL)
    Store(tmp_path, "w-1").append(made_up.ok(job, vram_reserved_peak_gib=peak))
    assert verdicts(tmp_path)[1] == verdict


def test_a_prediction_is_called_one(tmp_path):
    memory = Memory(name="under_8gb", offload="model", forward_chunk_size=1)
    job = made_up.job(memory, model=made_up.SVD, decode_chunk_size=2, **made_up.FULL)
    Store(tmp_path, "w-1").append(Row(job, "failed", values={"predicted_vram_gib": 5.1}))
    claim = claims(open_sweep(tmp_path))[1]
    assert (claim.verdict, "5.10 GiB predicted" in claim.measured) == ("predicted", True)


def test_the_tiny_model_says_nothing_about_eight_gigabytes(tmp_path):
    memory = Memory(name="under_8gb", offload="model", forward_chunk_size=1)
    Store(tmp_path, "w-1").append(
        made_up.ok(made_up.job(memory, decode_chunk_size=2), vram_reserved_peak_gib=0.1)
    )
    assert verdicts(tmp_path)[1] == "unanswerable"


def chunks(folder, peaks, flicker):
    store = Store(folder, "w-1")
    for seed in range(4):
        for chunk in ("all", 1):
            job = made_up.job(seed=seed, decode_chunk_size=chunk)
            store.append(
                made_up.ok(
                    job,
                    vae_decode_vram_allocated_peak_gib=peaks[chunk],
                    mc_flicker_255=1 + (flicker + 0.01 * seed if chunk == 1 else 0),
                )
            )


@pytest.mark.parametrize(
    ("peaks", "flicker", "wanted"),
    [
        ({"all": 30.0, 1: 9.0}, 0.3, ["holds", "holds"]),
        ({"all": 8.0, 1: 9.0}, -0.3, ["does not hold", "does not hold"]),
    ],
)
def test_frame_by_frame_decoding_is_judged_by_peak_and_flicker(tmp_path, peaks, flicker, wanted):
    chunks(tmp_path, peaks, flicker)
    assert verdicts(tmp_path)[2:4] == wanted


@pytest.mark.parametrize(("sign", "wanted"), [(1, "holds"), (-1, "does not hold")])
def test_motion_is_judged_over_images_and_seeds(tmp_path, sign, wanted):
    def moves(row: Row) -> Row:
        motion = 2 + sign * row.job.motion_bucket_id / 100 + 0.01 * row.job.seed
        return dataclasses.replace(row, values={**row.values, "motion_px": motion})

    made_up.sweep(tmp_path, seeds=range(4), change=moves)
    assert verdicts(tmp_path)[4] == wanted


def test_two_seeds_are_not_enough_for_a_verdict_on_motion(tmp_path):
    made_up.sweep(tmp_path, seeds=range(2))
    assert verdicts(tmp_path)[4] == "not sure"
