"""Two sweeps: which jobs are pairs, what got worse and by how much, and what else differs between them."""

import dataclasses
import math

import made_up
import pytest
from made_up import in_memory

from svdsweep.analysis.pairs import NO_PAIR, Estimate
from svdsweep.analysis.versus import Change, compare_sweeps, flattened, settings_apart
from svdsweep.config import Image, Job, Memory
from svdsweep.store.rows import Row

COMPILE = made_up.STRATEGIES["compile"]


def jobs(*found: Job) -> dict[str, Job]:
    return {job.key: job for job in found}


def ratio(value, verdict, low=0.0):
    return Estimate(value, low, low, 9, verdict)


def change(latency=NO_PAIR, memory=NO_PAIR, lost=0):
    return Change("s", "w", 3, lost, 0, latency, memory, {})


@pytest.mark.parametrize(
    ("found", "worst", "told"),
    [
        (change(), 0.0, []),
        (change(ratio(1.2, "slower"), ratio(1.3, "more")), 1.3, ["latency +20.0%", "VRAM +30.0%"]),
        (change(ratio(1.2, "slower"), ratio(0.9, "less")), 1.2, ["latency +20.0%"]),
        (change(ratio(1.2, "no difference seen"), ratio(1.2, "no difference seen")), 1.2, []),
        (change(ratio(1.25, "slower"), ratio(1.125, "more")), 1.25, ["latency +25.0%"]),
        (change(ratio(1.125, "slower")), 1.125, []),
        (change(ratio(1.2, "not enough data", None)), 1.2, ["latency +20.0% (too few runs for an interval)"]),
        (change(ratio(0.8, "faster"), lost=2), math.inf, ["2 jobs no longer end well"]),
    ],
)
def test_what_is_worse_by_more_than_an_eighth_is_told(found, worst, told):
    assert found.worst() == worst
    assert found.regressed(0.125) == told


def test_every_strategy_is_a_change_with_its_ratios_metrics_and_jobs_lost_and_won():
    base, compiled = ([made_up.job(m, seed=s) for s in range(6)] for m in (Memory(), COMPILE))

    def rows(factor, peak, flicker, failed):
        return [
            *(made_up.ok(j, [10.0], vram_allocated_peak_gib=30.0, mc_flicker_255=2.0) for j in base),
            *(
                Row(j, "oom", provenance=made_up.GPU)
                if n in failed
                else made_up.ok(
                    j,
                    [8.0 * factor],
                    vram_allocated_peak_gib=peak,
                    host_ram_peak_gib=peak,
                    mc_flicker_255=flicker + n / 1000,
                )
                for n, j in enumerate(compiled)
            ),
        ]

    first, second = in_memory(*rows(1, 20.0, 2.0, {0})), in_memory(*rows(1.5, 30.0, 2.0, {1, 2}))
    result = compare_sweeps(first, second)
    worse, same = result.changes
    assert (worse.strategy, worse.pairs, worse.lost, worse.won) == ("compile", 3, 2, 1)
    assert worse.workload == first.table["workload"].iloc[0]
    assert (worse.latency.value, worse.memory.value) == (pytest.approx(1.5), 1.5)
    assert worse.metrics["mc_flicker_255"].verdict == "equal"
    assert (same.strategy, same.pairs, same.lost, same.won) == ("baseline", 6, 0, 0)
    assert (same.latency.value, same.memory.verdict) == (1.0, "no difference seen")
    assert (result.only_first, result.only_second, result.differing) == (0, 0, {})
    assert compare_sweeps(second, first).changes[0].lost == 1


def test_a_slower_strategy_stands_before_a_larger_one_and_a_lost_job_before_both():
    names = ("same", "larger", "slower", "slowest", "lost")
    named = {name: [made_up.job(Memory(name=name, extra=[name]), seed=s) for s in range(3)] for name in names}

    def rows(times, peaks, lost=""):
        return [
            Row(j, "failed", provenance=made_up.GPU)
            if name == lost
            else made_up.ok(j, [times.get(name, 10.0)], vram_allocated_peak_gib=peaks.get(name, 10.0))
            for name, js in named.items()
            for j in js
        ]

    first, second = rows({}, {}), rows({"slower": 11.0, "slowest": 12.0}, {"larger": 50.0}, "lost")
    found = [c.strategy for c in compare_sweeps(in_memory(*first), in_memory(*second)).changes]
    assert found == ["lost", "slowest", "slower", "larger", "same"]


def test_metrics_are_compared_where_both_sweeps_have_them_and_are_no_comparisons_already():
    def rows(*metrics):
        return [
            made_up.ok(made_up.job(seed=s), psnr_to_baseline_db=30.0, **dict.fromkeys(metrics, 1.0))
            for s in range(3)
        ]

    first = in_memory(*rows("mc_flicker_255", "warp_psnr_db", "no_metric"))
    second = in_memory(*rows("mc_flicker_255", "motion_px", "no_metric"))
    (found,) = compare_sweeps(first, second).changes
    assert list(found.metrics) == ["mc_flicker_255"]
    unmeasured = in_memory(
        *(dataclasses.replace(r, values={**r.values, "mc_flicker_255": None}) for r in rows("mc_flicker_255"))
    )
    assert compare_sweeps(first, unmeasured).changes[0].metrics == {}


def test_jobs_without_a_partner_are_counted_and_workloads_are_told_apart():
    def row(**settings):
        return made_up.ok(made_up.job(**settings))

    first = in_memory(row(num_frames=7), row(seed=1), row(seed=2), row(seed=3))
    second = in_memory(row(num_frames=7), row(seed=4), row(seed=3))
    result = compare_sweeps(first, second)
    assert [c.pairs for c in result.changes] == [1, 1]
    assert [c.workload[14:16] for c in result.changes] == ["7 ", "14"]
    assert (result.only_first, result.only_second) == (2, 1)


def test_sweeps_without_a_common_job_have_no_change():
    first = in_memory(*(made_up.ok(made_up.job(seed=s)) for s in (1, 2)))
    second = in_memory(*(made_up.ok(made_up.job(seed=s)) for s in (3, 4, 5)))
    result = compare_sweeps(first, second)
    assert (result.changes, result.only_first, result.only_second) == ([], 2, 3)


def test_where_one_setting_differs_throughout_jobs_are_paired_by_the_rest():
    first = in_memory(*(made_up.ok(made_up.job(seed=s, fps=7), [10.0 + s]) for s in (1, 2, 3)))
    second = in_memory(*(made_up.ok(made_up.job(seed=s, fps=8), [5.0 + s / 2]) for s in (3, 2, 1)))
    result = compare_sweeps(first, second)
    (found,) = result.changes
    assert (found.pairs, found.latency.value, found.latency.p) == (3, pytest.approx(0.5), pytest.approx(0))
    assert result.differing == {"fps": ("default", "8")}


def test_a_setting_is_apart_where_each_side_has_one_value_of_it():
    first = jobs(Job(seed=1, fps=8, num_frames=7), Job(seed=2, fps=8, num_frames=9))
    second = jobs(
        Job(seed=1, num_inference_steps=3, fps=9, num_frames=7),
        Job(seed=2, num_inference_steps=3, fps=9, num_frames=9),
    )
    expected = {"fps": ("8", "9"), "num_inference_steps": ("default", "3")}
    assert settings_apart(first, second) == expected
    assert settings_apart(second, first) == {name: (b, a) for name, (a, b) in expected.items()}
    nothing = {"motion_bucket_id": ("0", "default"), "noise_aug_strength": ("0.0", "default")}
    assert settings_apart(jobs(Job(motion_bucket_id=0, noise_aug_strength=0.0)), jobs(Job())) == nothing


def test_nothing_is_apart_between_sweeps_that_share_a_job_or_lack_any():
    one, other = jobs(Job(fps=8)), jobs(Job(fps=9))
    assert settings_apart(one, other) == {"fps": ("8", "9")}
    assert settings_apart(one, one | other) == settings_apart(one, {}) == settings_apart({}, one) == {}


def test_a_job_is_flattened_to_what_it_has_off_its_defaults():
    job = Job(seed=3, image=Image(name="a label", sha256="5127"), memory=Memory(offload="model"))
    assert flattened(job) == {"seed": 3, "image.sha256": "5127", "memory.offload": "model"}


def test_places_that_differ_are_told_with_all_their_values_and_what_is_unknown_by_a_dash():
    def sweep(*places):
        return in_memory(
            *(made_up.ok(made_up.job(seed=s), provenance=place) for s, place in enumerate(places))
        )

    same = {"gpu": "a card", "threads": 8, "host": "one"}
    first = sweep(same | {"torch": "2.9", "git": "f1"}, same | {"torch": "2.8"}, same | {"torch": "2.9"})
    second = sweep(*[{"gpu": "a card", "threads": 8, "host": "two", "torch": "2.9", "cudnn": None}] * 3)
    assert compare_sweeps(first, second).differing == {"torch": ("2.8, 2.9", "2.9"), "git": ("f1", "–")}
    assert compare_sweeps(second, first).differing == {"torch": ("2.9", "2.8, 2.9"), "git": ("–", "f1")}
    numbers_depend_on = {
        *("gpu", "cpu", "driver", "cuda", "cudnn", "torch", "diffusers", "transformers", "accelerate"),
        *("python", "git", "allocator", "sdpa_kernels", "gpu_power_limit_w", "threads"),
    }
    here, there = ({name: f"{name} {side}" for name in numbers_depend_on} for side in "ab")
    assert compare_sweeps(sweep(here), sweep(there)).differing == {
        name: (here[name], there[name]) for name in numbers_depend_on
    }
