"""The wide table is what pandas makes of one dictionary a line, however the lines differ."""

import dataclasses

import made_up
import pandas as pd
import pytest

from svdsweep.analysis import table
from svdsweep.analysis.lines import read_lines
from svdsweep.analysis.table import DERIVED, Table, machine, mean_and_variance, workload
from svdsweep.store.columns import asked_for
from svdsweep.store.rows import Row, Store

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


def plainly(folder) -> pd.DataFrame:
    records = []
    for line in read_lines(folder, []):
        job, runs, provenance = line.job, line.runs, line.provenance
        derived = (
            job.baseline or None,
            machine(provenance),
            workload(job),
            *mean_and_variance(runs),
            len(runs),
        )
        identity = {name: getattr(line, name) for name in ("key", "status", "attempt", "error", "phase")}
        last = dict(zip(DERIVED, derived, strict=True))
        records.append({**identity, **asked_for(job), **provenance, **line.values, **last})
    return pd.DataFrame(records)


def table(folder) -> pd.DataFrame:
    made = Table()
    for line in read_lines(folder, []):
        made.add(line)
    return made.table()


@pytest.mark.parametrize("at_once", [1, 2, 3, 500])
def test_lines_of_different_columns_and_types(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(table, "PACKED_AT_ONCE", at_once)
    store = Store(tmp_path, "w-1")
    for row in (*MIXED, *MIXED[::-1], *MIXED[::2]):
        store.append(row)
    pd.testing.assert_frame_equal(table(tmp_path), plainly(tmp_path))


@pytest.mark.parametrize("row", MIXED, ids=range(len(MIXED)))
def test_lines_that_are_all_alike(tmp_path, monkeypatch, row):
    monkeypatch.setattr(table, "PACKED_AT_ONCE", 2)
    store = Store(tmp_path, "w-1")
    for attempt in range(1, 6):
        store.append(dataclasses.replace(row, attempt=attempt))
    pd.testing.assert_frame_equal(table(tmp_path), plainly(tmp_path))


def test_a_sweep(tmp_path):
    made_up.sweep(tmp_path)
    pd.testing.assert_frame_equal(table(tmp_path), plainly(tmp_path))


def test_no_line_is_an_empty_table():
    assert Table().table().columns.tolist() == ["key", "status"]
