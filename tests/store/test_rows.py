"""Rows survive torn writes, older schemas and many writers; the last row of a job counts."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from svdsweep.config import Job
from svdsweep.store.rows import Row, Store, read_rows


def row(seed=0, status="ok", **more):
    return Row(Job(seed=seed), status, **more)


def test_a_row_comes_back_as_it_was_written(tmp_path):
    written = row(
        3,
        values={"total_s": 1.5, "vram_allocated_peak_gib": None},
        series={"step_s": [0.1, 0.2]},
        notes=["n"],
    )
    Store(tmp_path).append(written)
    assert Store(tmp_path).rows() == {written.key: written}


def test_the_last_row_of_a_job_counts(tmp_path):
    store = Store(tmp_path)
    store.append(row(1, "failed", attempt=1))
    store.append(row(1, "ok", attempt=2))
    store.append(row(2, "oom"))
    assert [(r.job.seed, r.status) for r in store.rows().values()] == [(1, "ok"), (2, "oom")]


def test_files_of_many_writers_are_one_table(tmp_path):
    for writer in ("a-1", "b-2"):
        Store(tmp_path, writer).append(row(len(writer) if writer == "a-1" else 9))
    assert len(Store(tmp_path).rows()) == 2


def test_a_torn_last_line_is_passed_over_and_the_next_row_is_whole(tmp_path):
    store = Store(tmp_path)
    store.append(row(1))
    with store.path.open("a") as f:
        f.write(row(2).to_json()[:40])
    assert len(store.rows()) == 1
    store.append(row(3))
    assert sorted(r.job.seed for r in store.rows().values()) == [1, 3]


@pytest.mark.parametrize(
    "line", ["not json", "{}", '{"job": 5}', "[]", '{"job": {"motion_bucket_id": 999}, "status": "ok"}']
)
def test_a_damaged_line_costs_only_itself(tmp_path, line):
    store = Store(tmp_path)
    store.append(row(1))
    with store.path.open("a") as f:
        f.write(line + "\n")
    store.append(row(2))
    assert len(list(read_rows(tmp_path))) == 2


def test_a_row_of_an_older_schema_keeps_its_place(tmp_path):
    plain = json.loads(row(4).to_json())
    plain["key"] = "stale"
    del plain["job"]["fps"], plain["notes"]
    plain["job"]["forgotten"] = 1
    store = Store(tmp_path)
    store.path.parent.mkdir(parents=True)
    store.path.write_text(json.dumps(plain) + "\n")
    (read,) = store.rows().values()
    assert read.key == Job(seed=4).key


def test_numbers_that_json_has_not_are_refused(tmp_path):
    with pytest.raises(ValueError):
        Store(tmp_path).append(row(values={"total_s": float("nan")}))
    assert not Store(tmp_path).rows()


def test_a_folder_that_does_not_exist_has_no_rows(tmp_path):
    assert Store(tmp_path / "nowhere").rows() == {}


def test_killed_in_mid_append_loses_at_most_the_row_in_flight(tmp_path):
    writer = (
        "import sys; from pathlib import Path; from svdsweep.store.rows import Row, Store; from svdsweep.config import Job\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for i in range(10**6): store.append(Row(Job(seed=i), 'ok')); print(i, flush=True)"
    )
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", writer, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().splitlines()
        process.wait()
        acknowledged = int(rest[-1]) if rest and rest[-1].isdigit() else 0
        assert len(Store(tmp_path).rows()) >= acknowledged
