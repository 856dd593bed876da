"""A pick spends its budget where it pays, refuses where the pilot says so, and tells what it did."""

import pytest
import seeded

from svdsweep.config import Image, Job, Memory, Model
from svdsweep.errors import UserError
from svdsweep.memory.per_run import unet_calls_of
from svdsweep.search.answer import chance_of, cost_of, document, fates, record, sentences
from svdsweep.search.bounds import Bound
from svdsweep.search.candidates import candidates_of, with_steps
from svdsweep.search.ladder import ladder_of
from svdsweep.search.pick import pick, ranked


def told(choice):
    return " ".join(sentences(choice, "AGAIN"))


@pytest.fixture(scope="module")
def picked():
    runs = seeded.Runs(seeded.values(0.8))
    return pick(seeded.wish(), runs), runs


def test_the_finalists_are_the_best_of_those_that_ran_in_full_within_the_budget(picked):
    choice, runs = picked
    assert (
        cost_of(choice).calls == sum(unet_calls_of(row.job) for row in runs.rows.values()) <= 0.45 * 64 * 25
    )
    assert [sorted(set(steps)) for steps in runs.ran] == [[3], [25], [25]]
    assert choice.finalists == ranked(choice.wish.aim, choice.full)[:4]
    whole = pick(choice.wish, seeded.Runs(seeded.values(0.8)), in_full=True)
    assert len(set(choice.finalists) & set(whole.finalists)) >= 3


def test_the_answer_tells_the_pilot_the_cost_and_how_far_chance_would_have_come(picked):
    choice, _ = picked
    assert "rank the 12 seeds of the pilot by adj_psnr_db as all steps do" in told(choice)
    assert "717 of the full sweep's 1600 UNet calls (45 %), 717 of about 1600 s" in told(choice)
    apart = chance_of(choice)
    assert apart.mean > apart.random_best > apart.drawn_mean
    assert apart.random_runs == 717 // 25


def test_every_candidate_has_a_fate(picked):
    choice, _ = picked
    ends = fates(choice)
    assert [i for i, fate in enumerate(ends) if not fate] == sorted(choice.finalists)
    assert sum("left out at 3 steps" in fate for fate in ends) == 64 - 21
    assert sum("in full, 5th of 21" in fate for fate in ends) == 1


def test_a_pick_that_was_interrupted_runs_nothing_twice(picked):
    choice, _ = picked
    runs = seeded.Runs(seeded.values(0.8))
    runs(choice.wish.candidates.at(3)[:40])
    again = pick(choice.wish, runs)
    assert again.finalists == choice.finalists
    assert [len(steps) for steps in runs.ran] == [40, 24, 12, 9]


def test_where_few_steps_tell_nothing_nothing_is_pruned_and_the_full_sweep_is_offered():
    runs = seeded.Runs(seeded.values(0.0))
    choice = pick(seeded.wish(), runs)
    assert choice.refused
    assert not choice.finalists
    assert "the interval holds 0, so few steps may not prune" in told(choice)
    assert "take 1300 UNet calls more (about 1300 s): AGAIN" in told(choice)
    whole = pick(seeded.wish(budget=None), runs, in_full=True)
    assert [len(steps) for steps in runs.ran] == [64, 12, 52]
    assert len(whole.finalists) == 4
    assert "All 64 ran in full" in told(whole)
    assert cost_of(whole).calls == 64 * 28


def test_all_in_full_from_the_start_runs_no_few_steps():
    runs = seeded.Runs(seeded.values(0.5))
    choice = pick(seeded.wish(budget=None), runs, in_full=True)
    assert runs.ran == [[25] * 64]
    assert [stage.steps for stage in record(choice, "").stages] == [25]
    assert "nothing was pruned" in told(choice)


def with_motion(few_px, full_px):
    """Values whose motion is known, and grows as the aim falls: what leads by the one is out of the other's bounds."""
    aim = seeded.values(0.9)

    def of(seed, steps):
        columns = aim(seed, steps)
        px = 40 - columns["adj_psnr_db"]
        return {**columns, "motion_px": px + (full_px if steps == 25 else few_px)}

    return of


def test_whom_the_pilot_foresees_outside_a_bound_goes_last():
    bound = Bound("motion_px", 5, None)
    choice = pick(seeded.wish(bounds=[bound]), seeded.Runs(with_motion(few_px=3, full_px=0)))
    assert len(choice.finalists) == 4
    assert "foreseen outside motion_px 5.." in told(choice)
    assert all(choice.full[i].values["motion_px"] >= 5 for i in choice.finalists)
    assert any("in full, but motion_px is" in fate for fate in fates(choice))


def test_a_bound_that_nobody_meets_is_answered_with_the_nearest():
    choice = pick(seeded.wish(bounds=[Bound("motion_px", 50, None)]), seeded.Runs(with_motion(0, 0)))
    assert not choice.finalists
    assert "meets motion_px 50... Nearest are seed " in told(choice)
    nearest = max(row.values["motion_px"] for row in choice.full if row)
    assert f"(motion_px is {nearest:.4g})" in told(choice)


def test_fewer_than_are_kept_may_meet_a_bound():
    runs = seeded.Runs(with_motion(0, 0))
    most = sorted((row.values["motion_px"] for row in runs(seeded.jobs()).values()), reverse=True)
    wish = seeded.wish(bounds=[Bound("motion_px", most[1], None)], budget=None)
    choice = pick(wish, runs, in_full=True)
    assert len(choice.finalists) == 2
    assert "Only 2 of 4" in told(choice)


def test_seeds_that_failed_take_no_part_and_say_so():
    best = ranked(seeded.wish().aim, pick(seeded.wish(), seeded.Runs(seeded.values(0.9))).few)[0]
    runs = seeded.Runs(seeded.values(0.9), broken=[(best, 25), (5, 3)])
    choice = pick(seeded.wish(), runs)
    ends = fates(choice)
    assert ends[best] == "no adj_psnr_db at 25 steps (failed)"
    assert ends[5] == "no adj_psnr_db at 3 steps (failed)"


def test_a_column_that_no_row_has_is_answered_at_once():
    runs = seeded.Runs(lambda seed, steps: {"adj_psnr_db": None})
    assert "None of the runs (ok) has a adj_psnr_db" in told(pick(seeded.wish(), runs))
    assert len(runs.ran) == 1


def test_json_tells_the_same():
    choice = pick(seeded.wish(), seeded.Runs(seeded.values(0.8)))
    told = document(choice, "AGAIN")
    assert told["pruned"]
    assert told["cost"]["calls"] == 717
    assert told["finalists"] == choice.finalists
    assert told["pilot"]["n"] == 12


@pytest.mark.parametrize("n", [16, 64, 300])
@pytest.mark.parametrize("steps", [8, 25, 50])
@pytest.mark.parametrize("budget", [0.2, 0.45, 0.8])
def test_a_ladder_keeps_to_its_budget_or_tells_which_would_do(n, steps, budget):
    candidates = candidates_of(seeded.jobs(n, steps), 4)
    try:
        ladder = ladder_of(candidates, 4, budget)
    except UserError as e:
        percent = str(e).partition("--budget ")[2].partition(" ")[0]
        assert percent
        ladder = ladder_of(candidates, 4, budget := int(percent) / 100)
    assert ladder.calls <= budget * candidates.full_calls
    assert 6 <= ladder.pilot <= ladder.full_runs <= n


@pytest.mark.parametrize(
    ("jobs", "keep", "why"),
    [
        (seeded.jobs(1), 1, "One job is no choice"),
        (seeded.jobs(4), 4, "leaves none out"),
        (seeded.jobs(8, steps=3), 2, "none to spare"),
        ([*seeded.jobs(4), *seeded.jobs(4, steps=10)], 2, "differ in num_inference_steps too"),
        ([*seeded.jobs(4), *seeded.jobs(4, image=Image(name="b", path="b"))], 2, "differ in image too"),
        (seeded.jobs(8, model=Model(sigmas=[700, 50, 5, 0.5, 0.1, 0])), 2, "sigmas is a list"),
        (seeded.jobs(8, memory=Memory(step_cache="linear")), 2, "caches steps"),
    ],
)
def test_what_is_no_choice_is_refused_in_a_paragraph(jobs, keep, why):
    with pytest.raises(UserError, match=why):
        candidates_of(jobs, keep)


def test_few_steps_are_set_where_the_strategy_has_them():
    plain, strategy = Job(), Job(num_inference_steps=25, memory=Memory(denoise_steps=10))
    assert with_steps(plain, 3).num_inference_steps == 3
    assert with_steps(plain, 10) is plain
    short = with_steps(strategy, 3)
    assert (short.num_inference_steps, short.memory.denoise_steps) == (25, 3)


def test_candidates_are_called_by_what_they_differ_in():
    jobs = [Job(seed=seed, motion_bucket_id=bucket) for seed in (1, 2) for bucket in (60, 120)]
    assert candidates_of(jobs, 2).names[:2] == ["seed 1, motion_bucket_id 60", "seed 1, motion_bucket_id 120"]
    assert not any(job.baseline for job in candidates_of(jobs, 2).jobs)
