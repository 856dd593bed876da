"""A folder of rows is read as the store reads it, whatever state it is in."""

import json
from dataclasses import replace

import made_up
import pytest

from svdsweep.analysis.sweep import open_sweep
from svdsweep.errors import UserError
from svdsweep.store.rows import STATUSES, Row, Store


def test_jobs_and_keys_are_those_of_the_store(tmp_path):
    made_up.sweep(tmp_path / "a")
    strange = made_up.job(made_up.STRATEGIES["compile"], model=made_up.SVD, noise_aug_strength=0.3)
    Store(tmp_path / "a", "other-2").append(made_up.ok(strange))
    opened = open_sweep(tmp_path / "a")
    assert dict(opened.jobs) == {key: row.job for key, row in Store(tmp_path / "a").rows().items()}
    assert {key: job.key for key, job in opened.jobs.items()} == {key: key for key in opened.jobs}
    assert set(opened.table["key"]) == set(opened.jobs)
    assert opened.problems == []


def test_the_row_of_the_highest_attempt_counts(tmp_path):
    job = made_up.job()
    store = Store(tmp_path, "w-1")
    store.append(Row(job, "failed", attempt=1, error="boom"))
    store.append(replace(made_up.ok(job, [7.0]), attempt=2))
    opened = open_sweep(tmp_path)
    assert opened.table[["status", "total_s"]].values.tolist() == [["ok", 7.0]]


def test_repeats_and_notes_are_those_of_the_row_that_counts(tmp_path):
    job = made_up.job()
    second = replace(made_up.ok(job, [7.0]), attempt=2, notes=["slow"])
    for row in (second, Row(job, "failed", attempt=1, notes=["it broke"])):
        Store(tmp_path, "w-1").append(row)
    opened = open_sweep(tmp_path)
    assert opened.table["status"].tolist() == ["ok"]
    assert (opened.repeats, opened.notes) == ({job.key: [7.0]}, {job.key: ["slow"]})


def test_a_sweep_that_is_being_written_is_read_up_to_its_last_whole_line(tmp_path):
    rows = made_up.sweep(tmp_path)
    path = next((tmp_path / "rows").glob("*.jsonl"))
    written = path.read_bytes()
    for torn in (1, 100, 500):
        path.write_bytes(written[:-torn])
        opened = open_sweep(tmp_path)
        assert list(opened.jobs.values()) == [row.job for row in rows[: len(rows) - (torn > 1)]]
        assert len(opened.table) == len(opened.jobs)
        assert opened.problems == (
            [f"1 row could not be read: rows/{path.name} line {len(rows)} (torn, or no JSON)"]
            if torn > 1
            else []
        )


def test_damage_is_told_and_the_rest_is_read(tmp_path):
    rows = made_up.sweep(tmp_path)
    path = next((tmp_path / "rows").glob("*.jsonl"))
    lines = path.read_text(encoding="utf-8").splitlines()
    old = json.loads(lines[3]) | {"schema": 0}
    del old["crc32"], old["job"]["measure"]
    path.write_text(
        "\n".join([*lines[:3], json.dumps(old), "not json", "[1]", *lines[5:-1], lines[-1][:100]]),
        encoding="utf-8",
    )
    (tmp_path / "sweep.json").write_text("{torn", encoding="utf-8")
    opened = open_sweep(tmp_path)
    assert len(opened.table) == len(rows) - 2
    said = " ".join(opened.problems)
    for part in ("3 rows could not be read", "1 rows are of another schema", "sweep.json"):
        assert part in said


def test_missing_files_are_told_and_those_that_are_there_are_not(tmp_path):
    for name in "xy":
        files = {"video": f"videos/{name}.mp4", "contact_sheet": f"sheets/{name}.png"}
        Store(tmp_path, "w-1").append(made_up.ok(made_up.job(seed=ord(name)), **files))
    for there in ("videos/y.mp4", "sheets/x.png"):
        (tmp_path / there).parent.mkdir()
        (tmp_path / there).touch()
    assert open_sweep(tmp_path).problems[1:] == [
        "1 videos named by rows are missing, videos/x.mp4 for one",
        "1 contact sheets named by rows are missing, sheets/y.png for one",
    ]


def test_only_jobs_that_ended_well_stand_in_comparisons_and_tell_which_memory_was_counted():
    rows = [replace(made_up.ok(made_up.job(seed=i)), status=status) for i, status in enumerate(STATUSES)]
    rows[2] = replace(rows[2], values={**rows[2].values, "vram_allocated_peak_gib": 3.0})
    sweep = made_up.in_memory(*rows)
    assert sweep.ok["status"].tolist() == ["ok"]
    assert sweep.memory_column == "host_ram_peak_gib"


def test_an_empty_folder_is_an_empty_sweep_and_no_folder_is_an_error(tmp_path):
    assert open_sweep(tmp_path).table.empty
    with pytest.raises(UserError, match="no such folder"):
        open_sweep(tmp_path / "none")


def test_jobs_of_the_command_without_a_row_are_waiting(tmp_path):
    made_up.sweep(tmp_path, change=lambda row: replace(row, status="failed") if row.job.seed else row)
    manifest = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8")) | {"name": "mine"}
    manifest["keys"] += ["aaaaaaaaaaaa", "bbbbbbbbbbbb"]
    (tmp_path / "sweep.json").write_text(json.dumps(manifest), encoding="utf-8")
    opened = open_sweep(tmp_path)
    assert (opened.waiting, opened.name) == (2, "mine")
    (tmp_path / "sweep.json").unlink()
    assert open_sweep(tmp_path).name == tmp_path.name
