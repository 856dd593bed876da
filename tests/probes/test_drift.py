"""A machine that slows down over a sweep is told; one that does not, is not."""

from dataclasses import replace

from svdsweep.config import Job, Memory
from svdsweep.probes.drift import drift_of_sweep
from svdsweep.store import Row


def rows(seconds: list[float], job: Job | None = None) -> list[Row]:
    return [
        Row(
            replace(job or Job(), seed=i),
            "ok",
            values={"started_at": f"2026-01-01T00:00:{i:02}.000+00:00", "total_s": s},
            provenance={"host": "h"},
        )
        for i, s in enumerate(seconds)
    ]


def test_a_machine_that_slows_down_is_told() -> None:
    [sentence] = drift_of_sweep(rows([1.0, 1.05, 1.1, 1.15, 1.2, 1.25]))
    assert "baseline on h: total_s rose by" in sentence


def test_noise_a_small_rise_and_few_rows_are_not() -> None:
    assert not drift_of_sweep(rows([1.0, 1.1, 1.0, 1.1, 1.0, 1.1, 1.0, 1.1]))
    assert not drift_of_sweep(rows([1.0, 1.001, 1.002, 1.003, 1.004, 1.005]))
    assert not drift_of_sweep(rows([1.0, 2.0, 3.0]))


def test_only_equal_work_is_compared() -> None:
    slow = [Job(num_frames=n) for n in range(2, 9)]
    mixed = [rows([float(j.num_frames)], j)[0] for j in slow]
    assert not drift_of_sweep(mixed)
    assert not drift_of_sweep(
        rows([1.0, 1.1, 1.2]) + rows([2.0, 2.1, 2.2], Job(memory=Memory(name="x", offload="model")))
    )


def test_rows_without_a_time_of_their_own_do_not_count() -> None:
    shared = [
        replace(r, values={**r.values, "latency_shared_with": "k"})
        for r in rows([1.0, 1.1, 1.2, 1.3, 1.4, 1.5])
    ]
    assert not drift_of_sweep(shared)
