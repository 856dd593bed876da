"""Rows survive torn writes, older schemas and many writers; the last row of a job counts."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zlib

import made_up
import orjson
import pytest

from svdsweep.config import Job, Memory, Model
from svdsweep.errors import UserError
from svdsweep.store.faults import Faults
from svdsweep.store.kinds import NoRow, judged_job
from svdsweep.store.rows import Row, Store, Tail, read_rows, rows_of

STRANGE = 'it said "}, "provenance": {" and , "seed": 3, "memory": {\n\\"}, "notes": ["\u2028'
ROWS = {
    "as measured": made_up.ok(made_up.job(seed=3)),
    "all at its default": made_up.ok(Job()),
    "another strategy and size": made_up.ok(
        made_up.job(made_up.STRATEGIES["compile"], model=made_up.SVD, **made_up.FULL)
    ),
    "the largest seed": made_up.ok(made_up.job(seed=2**64 - 1, decode_chunk_size=3)),
    "one run, and steps": Row(made_up.job(), "ok", series={"step_s": [[0.1], [0.2]], "total_s": [1]}),
    "no run": Row(made_up.job(), "failed", 2, STRANGE, "denoise", notes=[STRANGE, "…"]),
    "nothing measured": Row(made_up.job(), "rejected", error="it cannot be"),
    "texts that look like its parts": made_up.ok(
        made_up.job(Memory(name=STRANGE, extra=[STRANGE])), provenance={"host": STRANGE}, remark=STRANGE
    ),
}


def row(seed=0, status="ok", **more):
    return Row(Job(seed=seed), status, **more)


def test_a_row_comes_back_as_it_was_written(tmp_path):
    written = row(
        3,
        values={"total_s": 1.5, "vram_allocated_peak_gib": None},
        series={"step_s": [0.1, 0.2]},
        notes=["n"],
    )
    folder = tmp_path / "runs" / "new"
    store = Store(folder)
    store.append(written)
    assert Store(folder).rows() == {written.key: written}
    assert store.path == folder / "rows" / f"{socket.gethostname()}-{os.getpid()}.jsonl"


def test_a_line_is_for_other_readers_too():
    written = Row(
        Job(seed=3), "failed", 2, "kaputt: ä", "denoise", {"total_s": 1.5}, {"x": [1]}, {"gpu": "A"}, ["…"]
    )
    line = written.to_json()
    body, check = line[:-1].rsplit(', "crc32": ', 1)
    assert check == f'"{zlib.crc32(body.encode() + b"}"):08x}"'
    assert json.loads(body + "}") == {
        "schema": 1,
        "key": written.key,
        "job": dataclasses.asdict(written.job),
        "status": "failed",
        "attempt": 2,
        "error": "kaputt: ä",
        "phase": "denoise",
        "values": {"total_s": 1.5},
        "series": {"x": [1]},
        "provenance": {"gpu": "A"},
        "notes": ["…"],
    }
    assert "kaputt: ä" in line


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_every_kind_come_back(name):
    faults = Faults()
    assert list(rows_of([ROWS[name].to_json().encode()], faults)) == [ROWS[name]]
    assert faults == Faults()


def test_rows_of_many_settings_are_not_taken_for_each_other(tmp_path):
    store = Store(tmp_path, "w-1")
    rows = [
        made_up.ok(Job(memory=memory, seed=seed, **own))
        for memory in made_up.STRATEGIES.values()
        for own in ({}, {"fps": 8}, {"fps": 8, "decode_chunk_size": 2}, {"noise_aug_strength": 0.5})
        for seed in (0, 1)
    ]
    for each in rows:
        store.append(each)
    assert [(r.job, r.key) for r in read_rows(tmp_path)] == [(r.job, r.key) for r in rows]


def test_the_last_row_of_a_job_counts(tmp_path):
    store = Store(tmp_path)
    store.append(row(1, "failed", attempt=1))
    store.append(row(1, "ok", attempt=2))
    store.append(row(2, "oom"))
    store.append(row(3, "oom", attempt=2))
    store.append(row(3, "ok", attempt=2))
    assert [(r.job.seed, r.status) for r in store.rows().values()] == [(1, "ok"), (2, "oom"), (3, "ok")]


def test_files_of_many_writers_are_one_table(tmp_path):
    for age, writer in enumerate(("a-1", "c-3", "b-2", "d-4")):
        Store(tmp_path, writer).append(row(age))
        os.utime(tmp_path / "rows" / f"{writer}.jsonl", (1e9 - min(age, 2), 1e9 - min(age, 2)))
    assert [r.job.seed for r in read_rows(tmp_path)] == [2, 3, 1, 0]  # the last written last, else by name


def test_a_torn_last_line_is_passed_over_and_the_next_row_is_whole(tmp_path):
    store = Store(tmp_path)
    store.append(row(1))
    with store.path.open("a", encoding="utf-8") as f:
        f.write(row(2).to_json()[:40])
    assert len(store.rows()) == 1
    store.append(row(3))
    store.append(row(4))
    assert sorted(r.job.seed for r in store.rows().values()) == [1, 3, 4]
    assert store.path.read_bytes().count(b"\n") == 4


def without_checksum(row):
    plain = json.loads(row.to_json())
    del plain["crc32"]
    return plain


def plain_row(**changed):
    return without_checksum(row(1)) | changed


def plain_job(**changed):
    return plain_row(job=dataclasses.asdict(Job(seed=1)) | changed)


DAMAGED = {
    "no JSON": "not json",
    "a number": "5",
    "a list": "[]",
    "null": "null",
    "an empty object": "{}",
    "NaN": json.dumps({"job": {}, "status": "ok", "values": {"total_s": float("nan")}}),
    "half a character": '{"job": {}, "status": "failed", "error": "\\ud800"}',
    "depth": '{"job": {}, "status": "ok", "values": ' + 10**5 * "[" + 10**5 * "]" + "}",
    "no status": json.dumps({"job": {}}),
    **{
        name: json.dumps(plain)
        for name, plain in {
            "a status that is a number": plain_row(status=5),
            "an attempt that is a word": plain_row(attempt="first"),
            "a job that is a number": plain_row(job=5),
            "a job that is a list": plain_row(job=[]),
            "a job that is a text": plain_row(job="seed"),
            "values that are a list": plain_row(values=["total_s"]),
            "provenance that is a text": plain_row(provenance="here"),
            "series that are a list": plain_row(series=[1.0]),
            "a series that is a number": plain_row(series={"total_s": 1.0}),
            "notes that are a number": plain_row(notes=3),
            "a seed below its range": plain_job(seed=-1),
            "a seed above its range": plain_job(seed=2**64),
            "a bucket above its range": plain_job(motion_bucket_id=999),
            "a width that is no multiple of 8": plain_job(width=63),
            "guidance that falls": plain_job(min_guidance_scale=9.0),
            "one frame with guidance": plain_job(num_frames=1),
            "a part that is a number": plain_job(memory=3),
            "a part that is a list": plain_job(memory=[]),
            "a strategy that only a newer version has": plain_job(memory={"offload": "elsewhere"}),
            "a strategy whose number is too low": plain_job(memory={"denoise_steps": 0}),
            "a status that only a newer version has": plain_row(status="paused"),
            "a row of a newer version": plain_row(schema=2),
            "a schema that is a word": plain_row(schema="one"),
            "an attempt that is true": plain_row(attempt=True),
            "an attempt beyond counting": plain_row(attempt=1e300),
            "an error that is a list": plain_row(error=["x"]),
            "a note that is a number": plain_row(notes=[5]),
            "a list among the values": plain_row(values={"total_s": [1.0]}),
            "text where seconds belong": plain_row(values={"total_s": "fast"}),
            "true where GiB belong": plain_row(values={"vram_allocated_peak_gib": True}),
            "a value that is called as a setting": plain_row(values={"memory": "x"}),
            "a value that is called as no value can be": plain_row(values={"=1+1": 1}),
            "a series of words": plain_row(series={"total_s": ["1"]}),
            "a series of lists of lists": plain_row(series={"step_s": [[[1.0]]]}),
            "numbers beside lists": plain_row(series={"step_s": [[1.0], 1.0]}),
            "a seed that is a text": plain_job(seed="3"),
            "a seed that is true": plain_job(seed=True),
            "frames without end": plain_job(num_frames=10**12),
            "half a frame": plain_job(num_frames=1.5),
            "a height that follows the picture": plain_job(height="auto"),
            "a path with a NUL": plain_job(image={"path": "a\0b"}),
            "a name without end": plain_job(memory={"name": "x" * 10**4}),
            "families that are no names": plain_job(metrics={"families": [["x"]]}),
            "a baseline that is a number": plain_job(baseline=5),
            "a baseline that leads elsewhere": plain_job(baseline="../../x"),
        }.items()
    },
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_line_costs_only_itself(tmp_path, name):
    store, tail = Store(tmp_path), Tail(tmp_path)
    store.append(row(1))
    with store.path.open("a", encoding="utf-8") as f:
        f.write(DAMAGED[name] + "\n\n")
    store.append(row(2))
    faults = Faults()
    for reading in (read_rows(tmp_path, faults), tail.new()):
        assert [r.job.seed for r in reading] == [1, 2]
    assert faults == tail.faults == Faults(unreadable=1)
    assert faults.places[0].startswith(f"rows/{store.path.name} line 2 (")
    assert faults.places == tail.faults.places


@pytest.mark.parametrize("name", ["as measured", "texts that look like its parts"])
def test_a_torn_line_is_no_row_wherever_it_is_torn(name):
    text, faults = ROWS[name].to_json().encode(), Faults()
    assert list(rows_of((text[:length] for length in range(1, len(text))), faults)) == []
    assert faults.unreadable == len(text) - 1


def test_rows_of_another_schema_are_read_and_counted(tmp_path):
    store, tail = Store(tmp_path), Tail(tmp_path)
    store.append(row(1))
    with store.path.open("a", encoding="utf-8") as f:
        f.write(2 * (json.dumps(plain_row(schema=0)) + "\n"))
    store.append(row(1))
    faults = Faults()
    assert [r.job.seed for r in read_rows(tmp_path, faults)] == [r.job.seed for r in tail.new()] == [1] * 4
    assert faults == tail.faults == Faults(other_schema=2)


def test_a_line_that_was_altered_is_no_row_or_says_the_same():
    text = ROWS["one run, and steps"].to_json().encode()
    told = []
    for place in range(0, 8 * len(text), 7):
        flipped = bytearray(text)
        flipped[place // 8] ^= 1 << place % 8
        told += rows_of([bytes(flipped)], Faults())
    assert len(told) < 20  # of some thousand: a name of the checksum is then unknown
    assert all(row == ROWS["one run, and steps"] for row in told)


def test_what_cannot_be_read_is_counted_with_its_places_and_reasons(tmp_path):
    store = Store(tmp_path, "w-1")
    store.append(row(1))
    altered = row(2).to_json().replace('"seed": 2', '"seed": 3')
    more = ["not json", json.dumps(plain_row(schema=2)), "[]", "5"]
    store.path.write_text(
        store.path.read_text(encoding="utf-8") + "\n".join([altered, *more]), encoding="utf-8"
    )
    assert list(store.rows()) == [row(1).key]
    assert str(store.faults) == (
        "5 rows could not be read: rows/w-1.jsonl line 2 (it was altered after it was written), rows/w-1.jsonl line 3 "
        "(torn, or no JSON), rows/w-1.jsonl line 4 (a newer svdsweep wrote it) and 2 more"
    )
    assert not str(Faults())


@pytest.mark.parametrize(
    "bad", [{"values": {"total_s": "fast"}}, {"series": {"x": [[[1]]]}}, {"status": "great"}]
)
def test_what_no_reader_would_take_for_a_row_is_not_written(tmp_path, bad):
    with pytest.raises(ValueError):
        Store(tmp_path).append(Row(**{"job": Job(), "status": "ok", **bad}))


def by_other_writers(row):
    """The same row in lines that are not as the store writes them."""
    plain = without_checksum(row)
    job = plain["job"]
    return [
        json.dumps(plain | {"job": {**job, "gone": {"seed": 5}, "also_gone": 1}}).encode(),
        json.dumps(plain | {"job": dict(reversed(job.items()))}).encode(),
        json.dumps(plain | {"job": {**job, "memory": {**job["memory"], "gone": 1, "seed": 4}}}).encode(),
        json.dumps(dict(reversed(plain.items()))).encode(),
        json.dumps(plain | {"gone": [1]}).encode(),
        orjson.dumps(json.loads(row.to_json())),
    ]


@pytest.mark.parametrize("name", ROWS)
def test_lines_of_other_writers_are_the_same_rows(name):
    lines = by_other_writers(ROWS[name])
    assert list(rows_of(lines, Faults())) == [ROWS[name]] * len(lines)


@pytest.mark.parametrize("name", ROWS)
def test_what_a_line_lacks_or_has_as_null_is_empty(name):
    plain = without_checksum(ROWS[name])
    lines = [
        {"job": plain["job"], "status": plain["status"]},
        plain | dict.fromkeys(("attempt", "values", "series", "provenance", "notes", "error", "phase")),
    ]
    bare = Row(ROWS[name].job, ROWS[name].status)
    assert list(rows_of((json.dumps(line).encode() for line in lines), Faults())) == [bare, bare]


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        (plain_row(status=5), "its status is unknown: 5"),
        (plain_row(values=[1]), "list stands where names and values should"),
    ],
)
def test_what_is_no_row_says_why(plain, words):
    with pytest.raises(NoRow, match=f"^{words}$"):
        Row.from_plain(plain)


def test_a_row_of_an_older_schema_keeps_its_place(tmp_path):
    plain = without_checksum(row(4))
    plain["key"] = "stale"
    del plain["job"]["fps"], plain["notes"]
    plain["job"]["forgotten"] = 1
    store = Store(tmp_path)
    store.path.parent.mkdir(parents=True)
    store.path.write_text(json.dumps(plain) + "\n", encoding="utf-8")
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
        "import sys; from pathlib import Path; from svdsweep.config import Job\n"
        "from svdsweep.store.rows import Row, Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for i in range(10**6): store.append(Row(Job(seed=i), 'ok')); print(i, flush=True)"
    )
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", writer, str(tmp_path)], stdout=subprocess.PIPE, encoding="utf-8"
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().splitlines()
        process.wait()
        acknowledged = int(rest[-1]) if rest and rest[-1].isdigit() else 0
        assert len(Store(tmp_path).rows()) >= acknowledged


def test_rows_are_followed_in_whole_lines(tmp_path):
    line = row().to_json().encode() + b"\n"
    path = tmp_path / "rows" / "a.jsonl"
    path.parent.mkdir()
    path.write_bytes(line + line[:30])
    tail = Tail(tmp_path)
    assert len(list(tail.new())) == 1
    with path.open("ab") as f:
        f.write(line[30:])
    assert len(list(tail.new())) == 1
    assert list(tail.new()) == []
    Store(tmp_path, "b").append(row(7))
    assert [r.job.seed for r in tail.new()] == [7]


def test_what_a_store_has_read_is_not_followed_again_and_a_line_under_way_then_is(tmp_path):
    store, other = Store(tmp_path, "a"), Store(tmp_path, "b")
    for seed, writer in ((1, store), (2, other)):
        writer.append(row(seed))
    line = row(3).to_json().encode() + b"\n"
    with other.path.open("ab") as f:
        f.write(line[:30])
    assert len(store.rows()) == 2
    every, others = store.tail(), store.tail(but="a.jsonl")
    assert [*every.new(), *others.new()] == []
    with other.path.open("ab") as f:
        f.write(line[30:] + b"torn\n")
    store.append(row(4))
    assert [r.job.seed for r in every.new()] == [4, 3]
    assert [r.job.seed for r in others.new()] == [3]
    assert others.faults.places == ["rows/b.jsonl line 3 (torn, or no JSON)"]


def test_of_the_file_that_the_follower_writes_only_what_was_there_at_first_is_news(tmp_path):
    own, other = (Store(tmp_path, name) for name in ("a", "b"))
    own.append(row(1))
    tail = Tail(tmp_path, but="a.jsonl")
    assert [r.job.seed for r in tail.new()] == [1]
    own.append(row(2))
    for seed in (3, 4):
        other.append(row(seed))
        assert [r.job.seed for r in tail.new()] == [seed]


def test_a_list_of_noise_levels_is_read_as_written_and_anything_else_in_its_place_is_no_job():
    job = Job(model=Model(sigmas=[700, 5.5, 0], scheduler="heun"))
    plain = dataclasses.asdict(job)
    assert judged_job(json.loads(json.dumps(plain))).key == job.key
    for wrong in ({"a": 1}, [[700], 0], 5, "[700,0]", [0, 700]):
        with pytest.raises((NoRow, UserError)):
            judged_job(plain | {"model": {**plain["model"], "sigmas": wrong}})
