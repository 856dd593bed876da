"""The documentation's claims: answered by figures, marked where nothing can answer, never invented."""

import dataclasses

import made_up
import pytest
from made_up import in_memory
from settings import SETTINGS, with_another

from svdsweep.analysis.documentation import (
    claims,
    compiling,
    one_frame_flicker,
    one_frame_memory,
    rising,
    under_8gb,
)
from svdsweep.analysis.pairs import Estimate, mean_difference
from svdsweep.analysis.strategies import strategies
from svdsweep.analysis.sweep import open_sweep
from svdsweep.config import Memory
from svdsweep.store.rows import Row

CPU = {k: v for k, v in made_up.GPU.items() if k != "gpu"}
COMPILE = made_up.STRATEGIES["compile"]
TRICKS = Memory(name="under_8gb", offload="model", forward_chunk_size=1)
ON_THE_CARD = "model svd_xt on NVIDIA RTX 4090"
ON_A_TOY = "model tiny (a toy: it says nothing about the true model) on NVIDIA RTX 4090"
TEXTS = [
    "Compiling the UNet makes it 20–25 % faster for slightly more memory.",
    "Model offload, forward chunking and decode_chunk_size=2 together need less than 8 GB of VRAM.",
    "decode_chunk_size=1 uses the least memory.",
    "decode_chunk_size=1 may flicker.",
    "A higher motion_bucket_id gives more motion.",
    "A higher noise_aug_strength gives more motion.",
    "A higher noise_aug_strength makes the video less like the image.",
]


def test_every_claim_of_an_empty_sweep_is_there_and_unanswerable(tmp_path):
    tmp_path.joinpath("rows").mkdir()
    for found in (claims(open_sweep(tmp_path)), claims(in_memory(Row(made_up.job(), "failed")))):
        assert [c.verdict for c in found] == ["unanswerable"] * 7
        assert {(c.measured, c.interval) for c in found} == {("", "")}
        assert all(c.why for c in found)
        assert [c.text for c in found] == TEXTS


def test_a_processor_answers_nothing_about_gpus():
    jobs = [made_up.job(m, decode_chunk_size=c) for m in (Memory(), COMPILE) for c in (1, 2)]
    sweep = in_memory(*(made_up.ok(j, provenance=CPU, vae_decode_vram_allocated_peak_gib=1.0) for j in jobs))
    assert compiling(sweep, strategies(sweep)).why == "the claim is about a GPU, and none ran this sweep"
    assert one_frame_memory(sweep).why == "the claim is about VRAM, and no GPU ran this sweep"


COMPILED = in_memory(made_up.ok(made_up.job(COMPILE, model=made_up.SVD)))


def compiled(value, low=None, high=None, vram=None, name="compile"):
    latency = Estimate(value, low, high, 9, "", "a test")
    return made_up.strategy(name, latency=latency, memory=Estimate(vram, vram, vram, 9, ""))


@pytest.mark.parametrize(
    ("low", "high", "verdict", "interval"),
    [
        (0.7, 0.74, "holds", "26.0% faster to 30.0% faster (a test); more than claimed"),
        (0.7, 0.75, "holds", "25.0% faster to 30.0% faster (a test)"),
        (0.8, 0.9, "holds", "10.0% faster to 20.0% faster (a test)"),
        (0.81, 0.9, "does not hold", "10.0% faster to 19.0% faster (a test); less than claimed"),
        (0.9, 1.1, "does not hold", "10.0% slower to 10.0% faster (a test); less than claimed"),
        (1.0, 1.1, "does not hold", "10.0% slower to 0.0% faster (a test)"),
    ],
)
def test_compiling_is_judged_by_its_interval(low, high, verdict, interval):
    claim = compiling(COMPILED, [compiled(0.78, low, high, 1.05)])
    assert (claim.verdict, claim.interval) == (verdict, interval)
    assert claim.text == TEXTS[0]
    assert claim.measured == "22.0% faster in a clip, +5.0% VRAM"
    assert claim.why == ON_THE_CARD


def test_compiling_without_an_interval_is_not_sure():
    claim = claims(COMPILED, [compiled(0.78)])[0]
    assert claim.text == TEXTS[0]
    assert (claim.measured, claim.interval) == ("22.0% faster in a clip", "")
    assert (claim.verdict, claim.why) == ("not sure", "a test")


def test_of_the_strategies_the_first_that_compiles_and_has_a_ratio_answers():
    others = [compiled(0.5, name="fp8"), compiled(None), compiled(0.9), compiled(0.8)]
    assert compiling(COMPILED, others).measured == "10.0% faster in a clip"
    claim = compiling(COMPILED, others[:2])
    assert (claim.verdict, claim.why) == (
        "unanswerable",
        "no job with compile=whole and its baseline ended well",
    )
    assert claim.text == TEXTS[0]


def test_a_failed_compilation_says_why_it_answers_nothing():
    failed = [
        Row(made_up.job(m, seed=s), "failed", error=e)
        for m, s, e in ((Memory(), 0, "other"), (COMPILE, 0, ""), (COMPILE, 1, "no compiler"))
    ]
    said = "no job with compile=whole and its baseline ended well (no compiler)"
    assert compiling(in_memory(made_up.ok(made_up.job(seed=2)), *failed), []).why == said


@pytest.mark.parametrize(
    ("knobs", "answers"),
    [
        ({"compile_mode": "max-autotune", "compile_dynamic": True}, True),
        ({"compile_vae": True}, False),
        ({"forward_chunk_size": 2}, False),
        ({"offload": "model"}, False),
        ({"compile": "regional"}, False),
    ],
)
def test_compiling_is_judged_by_what_compiles_the_unet_and_nothing_else(knobs, answers):
    job = made_up.job(Memory(**{"name": "compile", "compile": "whole", **knobs}))
    claim = compiling(in_memory(made_up.ok(job)), [compiled(0.8, 0.7, 0.9)])
    assert (claim.verdict != "unanswerable") is answers


def test_compiling_is_answered_from_a_sweeps_own_strategies(tmp_path):
    made_up.sweep(tmp_path, seeds=range(2), buckets=[60, 120])
    claim = claims(open_sweep(tmp_path))[0]
    assert claim.measured.endswith(" VRAM")
    assert claim.why == ON_A_TOY


def small(memory=TRICKS, **settings):
    return made_up.job(memory, **{"model": made_up.SVD, "decode_chunk_size": 2, **made_up.FULL, **settings})


@pytest.mark.parametrize(("peak", "verdict"), [(7.2, "holds"), (7.45, "holds"), (7.46, "does not hold")])
def test_eight_gigabytes_are_gigabytes(peak, verdict):
    claim = under_8gb(
        in_memory(*(made_up.ok(small(seed=s), vram_reserved_peak_gib=peak - s / 2) for s in (0, 1)))
    )
    gb = peak * 2**30 / 1e9
    assert claim.text == TEXTS[1]
    assert claim.measured == f"{peak:.2f} GiB ({gb:.2f} GB), the largest vram_reserved_peak_gib of 2 jobs"
    assert claim.interval == f"{peak - 0.5:.2f}–{peak:.2f} GiB over the jobs"
    assert (claim.verdict, claim.why) == (verdict, ON_THE_CARD)


def test_less_than_eight_gigabytes_is_what_the_process_took_where_that_was_counted():
    peaks = {"vram_process_peak_gib": 7.0, "vram_reserved_peak_gib": 6.0, "vram_allocated_peak_gib": 5.0}
    assert under_8gb(in_memory(made_up.ok(small(), **peaks))).measured.startswith("7.00 GiB (7.52 GB)")


@pytest.mark.parametrize(
    "settings",
    [
        {"memory": Memory(name="under_8gb", offload="sequential", forward_chunk_size=1)},
        {"memory": Memory(name="under_8gb", offload="model")},
        {"decode_chunk_size": 1},
        {"model": made_up.job().model},
        {"height": 568},
        {"width": 1016},
    ],
)
def test_another_setting_says_nothing_about_eight_gigabytes(settings):
    claim = under_8gb(in_memory(made_up.ok(small(**settings), vram_reserved_peak_gib=0.1)))
    said = "no GPU measured the full-size model in that setting; a smaller model's VRAM says nothing about it"
    assert (claim.verdict, claim.why) == ("unanswerable", said)


def test_a_setting_out_of_memory_says_so():
    claim = under_8gb(in_memory(Row(small(), "oom", error="out of memory")))
    assert (claim.verdict, claim.why[-16:]) == ("unanswerable", " (out of memory)")


@pytest.mark.parametrize(("gib", "side"), [(7.45, "below"), (7.46, "above")])
def test_a_prediction_is_called_one(gib, side):
    claim = under_8gb(
        in_memory(*(Row(small(seed=s), "failed", values={"predicted_vram_gib": gib - s}) for s in (0, 1)))
    )
    assert claim.text == TEXTS[1]
    assert claim.measured == f"{gib:.2f} GiB predicted: {side} 8 GB"
    assert (claim.interval, claim.verdict, claim.why) == ("", "predicted", "no GPU measured it")


def chunks(values, seeds=range(4), provenance=None, metric="vae_decode_vram_allocated_peak_gib"):
    """A metric by the chunk that was decoded at once, and the seed."""
    return in_memory(
        *(
            made_up.ok(
                made_up.job(seed=seed, decode_chunk_size=chunk),
                provenance=provenance,
                **{metric: value(seed) if callable(value) else value},
            )
            for seed in seeds
            for chunk, value in values.items()
        )
    )


@pytest.mark.parametrize(("one", "verdict"), [(8.0, "holds"), (8.08, "holds"), (8.09, "does not hold")])
def test_frame_by_frame_takes_the_least_memory_within_one_percent(one, verdict):
    claim = one_frame_memory(chunks({"all": 30.0, 1: lambda seed: one - seed / 8, 4: 8.0}))
    assert claim.text == TEXTS[2]
    assert claim.measured == f"decode peak {one:.2f} GiB at 1, 8.00 GiB at 4, 30.00 GiB at 14"
    assert (claim.interval, claim.verdict, claim.why) == ("an allocator's peak", verdict, ON_A_TOY)


@pytest.mark.parametrize("values", [{1: 8.0}, {2: 8.0, 4: 9.0}, {14: 8.0, "all": 9.0}, {1: None, 2: 8.0}])
def test_without_two_sizes_of_a_decode_one_frame_among_them_memory_is_unanswerable(values):
    claim = one_frame_memory(chunks(values))
    said = "there are no jobs that differ in decode_chunk_size only, 1 among them"
    assert (claim.verdict, claim.why) == ("unanswerable", said)


def test_decodes_are_compared_over_jobs_that_have_all_sizes_and_else_the_same_settings():
    rows = [
        made_up.ok(made_up.job(seed=seed, fps=fps, decode_chunk_size=chunk), mc_flicker_255=flicker)
        for seed, fps, chunk, flicker in (
            *((seed, fps, 99, 1.0) for seed in (0, 1, 2) for fps in (7, 8)),
            *((0, 7, 1, 1.25), (0, 8, 1, 1.75), (1, 7, 1, 1.5), (2, 7, 1, 1.625)),
            *((0, 7, 4, 5.0), (3, 7, 1, 9.0)),
        )
    ]
    claim = one_frame_flicker(in_memory(*rows))
    e = mean_difference([0.5, 0.5, 0.625], "lower")
    assert claim.text == TEXTS[3]
    assert claim.measured == "+0.542 levels of mc_flicker_255 against all frames at once"
    assert claim.interval == f"{e.low:+.3g} to {e.high:+.3g} (paired t on 3 (image, seed))"
    assert (claim.verdict, claim.why) == ("holds", ON_A_TOY)


OF_THE_JOB = {n for n in SETTINGS if n.startswith("memory.") or "." not in n} - {"decode_chunk_size"}
OF_THE_JOB |= {"model.dtype", "model.weights", "gpu.memory_limit_gib"}


def test_decodes_of_jobs_that_differ_in_anything_else_are_never_compared():
    def claim(*others, **place):
        peaks = [(made_up.job(decode_chunk_size=1), 3.0), *((other, 2.0) for other in others)]
        rows = [made_up.ok(j, vae_decode_vram_allocated_peak_gib=gib) for j, gib in peaks]
        rows[1:] = [dataclasses.replace(row, provenance=made_up.GPU | place) for row in rows[1:]]
        return one_frame_memory(in_memory(*rows))

    whole = made_up.job()
    longer, *others = (with_another(whole, n) for n in ("num_frames", *(OF_THE_JOB - {"num_frames"})))
    assert len(others) > 40
    assert claim(*others).verdict == claim(longer).verdict == "unanswerable"
    assert claim(whole, gpu="another").verdict == "unanswerable"
    renamed = made_up.job(Memory(name="whole_decode"))
    assert claim(renamed).measured == claim(whole).measured == "decode peak 3.00 GiB at 1, 2.00 GiB at 14"


def test_another_strategy_leaves_a_decodes_memory_as_it_was_measured():
    streamed = made_up.ok(made_up.job(Memory(decode="streamed")), vae_decode_vram_allocated_peak_gib=2.0)
    table = [
        made_up.ok(made_up.job(decode_chunk_size=c), vae_decode_vram_allocated_peak_gib=g)
        for c, g in ((1, 3.0), ("all", 30.0))
    ]
    claim = one_frame_memory(in_memory(*table, streamed))
    assert claim.measured == "decode peak 3.00 GiB at 1, 30.00 GiB at 14"


@pytest.mark.parametrize(
    ("more", "seeds", "verdict", "interval"),
    [
        (lambda seed: 0.7 + seed / 100, 4, "does not hold", None),
        (lambda seed: 1.0, 4, "does not hold", "+0 to +0 (every pair is equal)"),
        (lambda seed: 0.5 + seed % 2, 4, "not sure", None),
        (lambda seed: 1.5, 2, "not sure", "needs 3 pairs of image and seed, has 2"),
    ],
)
def test_flicker_that_is_less_or_equal_or_unsure_is_no_more_flicker(more, seeds, verdict, interval):
    claim = one_frame_flicker(chunks({"all": 1.0, 1: more}, range(seeds), metric="mc_flicker_255"))
    assert claim.verdict == verdict
    assert interval in (None, claim.interval)


def test_flicker_that_was_not_measured_frame_by_frame_is_unanswerable():
    said = "there are no jobs that differ in decode_chunk_size only, 1 and all among them"
    for sweep in (chunks({1: 8.0, "all": 8.0}), chunks({2: 1.0, "all": 1.0}, metric="mc_flicker_255")):
        assert (one_frame_flicker(sweep).verdict, one_frame_flicker(sweep).why) == ("unanswerable", said)


def moving(sign=1, seeds=3, metric="motion_px"):
    return in_memory(
        *(
            made_up.ok(
                made_up.job(seed=s, motion_bucket_id=b), **{metric: 2 + sign * b / 100 + s * b / 10_000}
            )
            for s in range(seeds)
            for b in (60, 120, 180)
        )
    )


@pytest.mark.parametrize(
    ("sign", "wanted", "verdict", "change"),
    [
        (1, "higher", "holds", "+1.21"),
        (-1, "higher", "does not hold", "-1.19"),
        (-1, "lower", "holds", "-1.19"),
        (1, "lower", "does not hold", "+1.21"),
    ],
)
def test_a_rise_is_judged_over_images_and_seeds_from_the_lowest_to_the_highest(sign, wanted, verdict, change):
    claim = rising(moving(sign), "motion_bucket_id", "gives more motion", "motion_px", wanted)
    assert claim.text == "A higher motion_bucket_id gives more motion."
    assert claim.measured == f"{change} motion_px from motion_bucket_id 60 to 180"
    assert claim.interval.endswith(" (paired t on 3 (image, seed))")
    assert (claim.verdict, claim.why) == (verdict, ON_A_TOY)


def test_two_seeds_are_not_enough_for_a_verdict_on_motion():
    claim = rising(moving(seeds=2), "motion_bucket_id", "gives more motion", "motion_px", "higher")
    assert (claim.verdict, claim.interval) == ("not sure", "needs 3 pairs of image and seed, has 2")


def test_every_rise_that_is_claimed_is_looked_for():
    sweep = in_memory(
        *(
            made_up.ok(
                made_up.job(seed=s, motion_bucket_id=bucket, noise_aug_strength=noise),
                motion_px=bucket / 60 + 10 * noise + s * bucket * (1 + noise) / 10_000,
                first_psnr_db=30 - 100 * noise - s * noise,
            )
            for s in range(3)
            for bucket in (60, 120)
            for noise in (0.02, 0.1)
        )
    )
    assert [c.verdict for c in claims(sweep)] == ["unanswerable"] * 4 + ["holds"] * 3
    said = "motion_bucket_id was not swept under the baseline strategy, or dynamic is not there"
    assert rising(sweep, "motion_bucket_id", "", "dynamic", "higher").why == said


def test_answers_name_every_model_and_machine_they_rest_on():
    rows = [
        dataclasses.replace(
            made_up.ok(made_up.job(seed=s, decode_chunk_size=c, model=model), mc_flicker_255=1.0),
            provenance={"gpu": card},
        )
        for model, card in ((made_up.SVD, "B"), (made_up.job().model, "A"))
        for s in range(3)
        for c in (1, "all")
    ]
    assert one_frame_flicker(in_memory(*rows)).why == "model svd_xt, tiny on A, B"
