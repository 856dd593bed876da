"""The table is what pandas makes of one dictionary a line, however the lines differ."""

import dataclasses
import math

import made_up
import numpy as np
import pandas as pd
import pytest

from svdsweep.analysis.table import (
    comparison,
    first_measured,
    for_comparison,
    machine,
    mean_and_variance,
    table_of,
    timed_runs,
    workload,
)
from svdsweep.config import Gpu, Memory, Model
from svdsweep.store.rows import Row

MIXED = [
    made_up.ok(made_up.job(seed=0), count=1, share=0.5, flag=True, word="a", several=[1, 2], never=None),
    made_up.ok(made_up.job(seed=1), count=None, share=1, flag=None, word=None, several=3, never=None),
    made_up.ok(made_up.job(seed=2), [3.0], count=2**63, share=None, word="b", late=1.5),
    made_up.ok(made_up.job(made_up.STRATEGIES["compile"]), provenance={"cpu": "x", "total_s": "hidden"}),
    Row(made_up.job(made_up.STRATEGIES["model_offload"]), "oom", 2, "too much", "denoise"),
    made_up.ok(
        made_up.job(seed=3), **{"memory.offload": "as measured", "fps": 1.5, "repeats": 9, "key": "x"}
    ),
    made_up.ok(made_up.job(seed=4, decode_chunk_size=2), [1.0, 0.0], share=True, late="word"),
]


@pytest.mark.parametrize(
    "rows",
    [[*MIXED, *MIXED[::-1], *MIXED[::2]], *([row] * 5 for row in MIXED)],
    ids=["different", *map(str, range(len(MIXED)))],
)
def test_lines_of_the_same_and_of_different_columns_and_types(rows):
    records = [for_comparison(row) for row in rows]
    pd.testing.assert_frame_equal(table_of(records), pd.DataFrame(records))


def test_a_sweep(tmp_path):
    records = [for_comparison(row) for row in made_up.sweep(tmp_path)]
    pd.testing.assert_frame_equal(table_of(iter(records)), pd.DataFrame(records))


def test_no_line_is_an_empty_table():
    assert table_of([]).empty


def test_what_is_derived_for_comparisons_stands_beside_what_was_measured():
    job = made_up.job(made_up.STRATEGIES["compile"], seed=2)
    record = for_comparison(made_up.ok(job, [1.0, math.e, 0.0], motion_px=2.5))
    assert record["key"] == job.key
    assert record["baseline_key"] == made_up.job(seed=2).key
    assert (record["memory.compile"], record["motion_px"]) == ("whole", 2.5)
    assert (record["machine"], record["workload"]) == (made_up.GPU["gpu"], workload(job))
    assert record["log_total_s"] == pytest.approx(0.5)
    assert record["log_total_s_variance"] == pytest.approx(0.5)
    assert record["repeats"] == 3


def test_measured_values_count_over_provenance_and_settings_of_the_same_name():
    (hidden,) = (for_comparison(row) for row in MIXED if row.provenance.get("total_s"))
    assert hidden["total_s"] == 10.0
    assert for_comparison(MIXED[5])["memory.offload"] == "as measured"


def test_a_row_without_runs_has_no_mean_and_one_run_no_variance():
    assert mean_and_variance([]) == mean_and_variance([0.0]) == (None, None)
    assert mean_and_variance([1.0]) == (0.0, None)
    logs = np.log([1.0, 2.0, 5.0])
    assert mean_and_variance([1.0, 2.0, 0.0, 5.0]) == pytest.approx((logs.mean(), logs.var(ddof=1)))


def test_runs_that_are_no_numbers_are_no_runs():
    row = made_up.ok(made_up.job(), [2.0])
    assert timed_runs(dataclasses.replace(row, series={"total_s": [2.0, None, 3, "word"]})) == [2.0, 3]
    assert timed_runs(dataclasses.replace(row, series={})) == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "tiny float32, 14 × 64×64 px, 10 steps"),
        ({"height": 576, "width": 1024, "num_frames": 25}, "tiny float32, 25 × 1024×576 px, 10 steps"),
        ({"max_guidance_scale": 1.0}, "tiny float32, 14 × 64×64 px, 10 steps, no guidance"),
        ({"model": Model("svd+source=a", "/d/a")}, "svd+source=a float32, 14 × 64×64 px, 10 steps"),
        (
            {"model": Model(dtype="float16", weights="random"), "gpu": Gpu(memory_limit_gib=7.5)},
            "tiny float16, 14 × 64×64 px, 10 steps, random weights, at most 7.5 GiB",
        ),
    ],
)
def test_a_workload_is_all_that_decides_the_cost_beside_the_strategy(settings, told):
    assert workload(made_up.job(**settings)) == workload(made_up.job(Memory(offload="model"), **settings))
    assert workload(made_up.job(**settings)) == told


def test_chunk_sizes_are_a_workload_of_their_own_unless_the_strategys_name_tells_them():
    jobs = [made_up.job(decode_chunk_size=size) for size in ("all", 2)]
    table = comparison([made_up.ok(job) for job in jobs])
    assert table["workload"].str.rpartition(", ")[2].tolist() == [
        "decode_chunk_size all",
        "decode_chunk_size 2",
    ]
    chunked = made_up.job(Memory("chunked", forward_chunk_size=2), decode_chunk_size=2)
    assert comparison([made_up.ok(jobs[0]), made_up.ok(chunked)])["workload"].nunique() == 1


def test_of_some_columns_the_first_with_a_number_counts():
    table = pd.DataFrame({"empty": [None, None], "words": ["a", "b"], "some": ["3", None], "all": [1, 2]})
    assert first_measured(table, ["absent", "empty", "words", "some", "all"]) == "some"
    assert first_measured(table, ["empty", "absent"]) is None


def test_a_machine_is_its_gpu_else_its_processor():
    assert machine({"gpu": "a card", "cpu": "x", "device": "cuda:0"}) == "a card"
    assert machine({"gpu": None, "cpu": "x", "device": "cpu"}) == "x"
    assert machine({"gpu": "a card", "cpu": "x", "threads": 4}) == "a card"


def test_a_processor_with_other_threads_is_another_machine():
    assert [machine({"cpu": "x", "threads": n}) for n in (1, 2)] == ["x, 1 thread", "x, 2 threads"]
    assert machine({"device": "mps"}) == "mps"
    assert machine({}) == "unknown"
