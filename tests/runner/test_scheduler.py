"""Which job a worker does next, tried on a simulated clock."""

import heapq
import random
from dataclasses import replace
from itertools import pairwise

import fakes
import pytest

from svdsweep.config import Measure
from svdsweep.runner.scheduler import Scheduler, cost


def simulate(jobs, workers, seconds, load_s):
    """Give all jobs to workers on a simulated clock: (end, busy seconds with loads, order of (worker, job))."""
    schedule = Scheduler(jobs)
    clock = [(0.0, str(i), None) for i in range(workers)]
    loaded, busy, order, end = {}, 0.0, [], 0.0
    waiting = []
    while clock:
        now, worker, done = heapq.heappop(clock)
        end = max(end, now)
        if done:
            schedule.learn(*done)
        for name in [worker, *waiting]:
            if job := schedule.take(name):
                load = 0.0 if loaded.get(name) == job.pipeline_key else load_s
                loaded[name] = job.pipeline_key
                took = seconds(job) + load
                busy += took
                order.append((name, job))
                heapq.heappush(clock, (now + took, name, (job, took, load)))
                if name in waiting:
                    waiting.remove(name)
            elif name not in waiting:
                waiting.append(name)
    assert len(order) == len(jobs)
    assert not len(schedule)
    return end, busy, order


def groups(count, jobs_each):
    return [
        fakes.job(seed, forward_chunk_size=group or None, num_inference_steps=steps)
        for group in range(count)
        for seed, steps in enumerate(jobs_each(group))
    ]


def test_one_worker_loads_each_settings_once():
    jobs = groups(5, lambda g: [10] * 6)
    random.Random(0).shuffle(jobs)
    _, _, order = simulate(jobs, 1, cost, 1.0)
    settings = [job.pipeline_key for _, job in order]
    assert sum(a != b for a, b in pairwise(settings)) == 4


def test_the_longest_group_is_begun_first_and_within_it_the_longest_job():
    jobs = groups(3, lambda g: [5, 10 * (g + 1)])
    _, _, order = simulate(jobs, 1, cost, 1.0)
    assert [job.num_inference_steps for _, job in order] == [30, 5, 20, 5, 10, 5]


def test_baselines_come_before_all_others():
    long = [fakes.job(i, forward_chunk_size=2, num_inference_steps=50) for i in range(4)]
    base = fakes.job(7)
    late = fakes.job(9, num_inference_steps=40)
    jobs = [*(replace(job, baseline=base.key) for job in long), late, base]
    _, _, order = simulate(jobs, 1, cost, 1.0)
    assert [job.key for _, job in order[:2]] == [base.key, late.key]


def test_eight_devices_are_busy_for_95_percent_of_200_uneven_jobs_in_10_groups():
    draw = random.Random(1)
    jobs = groups(10, lambda g: [draw.randint(4, 50) for _ in range(20)])
    noise = {job.key: draw.uniform(0.8, 1.25) for job in jobs}
    end, busy, _ = simulate(jobs, 8, lambda job: job.num_inference_steps * noise[job.key], load_s=30.0)
    print(f"utilisation {busy / (8 * end):.3f}, makespan {end:.0f} s")
    assert busy / (8 * end) > 0.95


def test_uneven_groups_are_shared_so_that_no_device_is_left_with_the_longest():
    jobs = groups(10, lambda g: [10] * (110 if g == 0 else 10))
    end, busy, _ = simulate(jobs, 8, lambda job: 10.0, load_s=5.0)
    assert busy / (8 * end) > 0.95


def test_a_worker_does_not_load_for_one_last_short_job():
    jobs = groups(2, lambda g: [10, 10] if g == 0 else [10])
    end, _, order = simulate(jobs, 2, lambda job: 1.0, load_s=60.0)
    assert end == 62.0
    assert len({name for name, job in order if job.pipeline_key == jobs[0].pipeline_key}) == 1


def test_a_worker_that_has_idled_longer_than_a_load_takes_helps_after_all():
    jobs = groups(1, lambda g: [10] * 6)
    schedule = Scheduler(jobs)
    schedule.learn(schedule.take("a"), 61.0, load_s=60.0)
    schedule.take("a")
    assert schedule.take("b") is None
    assert schedule.take("b", idle_s=59.0)


def test_a_job_that_is_put_back_comes_again_and_nothing_is_lost():
    jobs = groups(2, lambda g: [10] * 3)
    schedule = Scheduler(jobs)
    first = schedule.take("a")
    schedule.learn(first, 10.0)
    left_s = schedule.left_s(1, [])
    second = schedule.take("a")
    schedule.put_back(second)
    assert schedule.left_s(1, []) == left_s == 50.0
    assert schedule.take("a") is second, "it is the next of its group"
    schedule.put_back(second)
    schedule.put_back(first)
    assert len(schedule) == 6
    seen = {job.key for _ in range(6) if (job := schedule.take("a"))}
    assert seen == {job.key for job in jobs}
    assert schedule.take("a") is None


def test_the_time_left_is_learnt_from_what_jobs_took():
    jobs = groups(1, lambda g: [10] * 5)
    schedule = Scheduler(jobs)
    assert schedule.left_s(2, []) is None
    schedule.learn(schedule.take("a"), 9.0, load_s=5.0)
    assert schedule.left_s(2, []) == 8.0


def test_the_cost_of_a_job_counts_all_that_its_time_grows_with():
    job = fakes.job(num_inference_steps=10, num_frames=8, height=64, width=96, max_guidance_scale=1.0)
    plain = 10 * 8 * 64 * 96
    assert cost(replace(job, measure=Measure(warmup=0, repeats=1))) == plain
    assert cost(replace(job, measure=Measure(warmup=2, repeats=3, rounds=4))) == 5 * plain, "of one round"
    guided = replace(job, measure=Measure(warmup=0, repeats=1), max_guidance_scale=1.5)
    assert cost(guided) == 2 * plain


def test_the_time_left_counts_what_waits_whole_and_what_is_under_way_by_half():
    fast, slow = groups(2, lambda g: [10] * 3)[:3], groups(2, lambda g: [10] * 3)[3:]
    schedule = Scheduler([*fast, *slow])
    given = [schedule.take(worker) for worker in ("a", "b")]
    seconds = {fast[0].pipeline_key: 2.0, slow[0].pipeline_key: 20.0}
    for job in given:
        schedule.learn(job, seconds[job.pipeline_key])
    under_way = [schedule.take("a"), schedule.take("b")]
    assert schedule.left_s(1, []) == pytest.approx(22)
    assert schedule.left_s(1, under_way) == pytest.approx(22 + 11)
    assert schedule.left_s(3, under_way) == pytest.approx(11)
    assert schedule.left_s(0, []) == pytest.approx(22)
    other = fakes.job(forward_chunk_size=9, num_inference_steps=10)
    assert schedule.left_s(1, [*under_way, other]) == pytest.approx(
        33 + 11 / 2
    )  # half of what both took in the mean
    schedule.take("b")
    assert schedule.left_s(1, []) == pytest.approx(2), "one of the fast ones"
    schedule.clear()
    assert (len(schedule), schedule.left_s(1, [])) == (0, 0.0)


def helped(left, workers=1, **idle):
    """Whether one more worker takes one of so many jobs that are left to a group's workers: of 10 s each, where a load
    took 10 s and another 30."""
    schedule = Scheduler(groups(1, lambda g: [10] * (left + workers + 3)))
    schedule.learn(schedule.take("a"), 10.0)  # without a load
    for worker, load_s in (("a", 10.0), ("a", 30.0)):
        schedule.learn(schedule.take(worker), 10.0 + load_s, load_s)
    for i in range(workers):
        schedule.take("ab"[i], idle_s=1e9)
    return schedule.take("c", **idle) is not None


def test_a_worker_helps_where_that_ends_sooner_than_its_load_and_half_a_job_take():
    assert [helped(left) for left in (2, 3)] == [
        False,
        True,
    ]  # 20 s of load in the mean and half of a job's 10
    assert [helped(3, workers=2), helped(5, workers=2), helped(6, workers=2)] == [False, False, True]
    assert [helped(2, idle_s=idle_s) for idle_s in (4.0, 6.0)] == [False, True]


def test_a_helper_goes_where_most_time_is_left_for_each_worker():
    slow, crowded = groups(2, lambda g: [10] * 6)[:6], groups(2, lambda g: [10] * 6)[6:]
    schedule = Scheduler([*slow, *crowded])
    for worker, seconds in (("a", 40.0), ("b", 10.0)):
        schedule.learn(schedule.take(worker), seconds)
    for _ in range(3):
        schedule.take("a")  # two jobs of 40 s are left to one, five of 10 s to the other
    assert schedule.take("c").pipeline_key == slow[0].pipeline_key
    equal = Scheduler([*slow, *crowded])
    for worker in "ab":
        equal.learn(equal.take(worker), 10.0)
    equal.take("b")  # five are left to one; of four, the helper makes two of it
    assert equal.take("c").pipeline_key == slow[0].pipeline_key
    assert equal.take("d").pipeline_key == crowded[0].pipeline_key


def test_a_helper_goes_where_the_most_is_left_and_keeps_to_it():
    jobs = groups(2, lambda g: [10] * (2 if g else 6))
    schedule = Scheduler(jobs)
    long, short = schedule.take("a"), schedule.take("b")
    assert (long.pipeline_key, short.pipeline_key) == (jobs[0].pipeline_key, jobs[6].pipeline_key)
    assert [schedule.take("c").pipeline_key for _ in range(2)] == [jobs[0].pipeline_key] * 2


def test_a_worker_that_left_has_nothing_loaded_and_takes_what_no_other_has():
    jobs = groups(2, lambda g: [10] * (3 if g else 6))
    schedule = Scheduler(jobs)
    assert [schedule.take("a").pipeline_key for _ in range(2)] == [jobs[0].pipeline_key] * 2
    schedule.leave("a")
    assert schedule.take("b").pipeline_key == jobs[0].pipeline_key
    assert schedule.take("a").pipeline_key == jobs[6].pipeline_key
