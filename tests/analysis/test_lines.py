"""A line is read quickly where it is as the store writes it, and to the same row as by parsing all of it."""

import dataclasses
import json
import random

import made_up
import orjson
import pytest

from svdsweep.analysis import lines
from svdsweep.analysis.lines import UNREADABLE, Line, plainly, quickly, read_lines
from svdsweep.config import Job, Measure, Memory, job_from
from svdsweep.store.rows import Row, Store

STRANGE = 'it said "}, "provenance": {" and , "seed": 3, "memory": {\n\\"}, "notes": ["'
ROWS = {
    "as measured": made_up.ok(made_up.job(seed=3)),
    "all at its default": made_up.ok(Job()),
    "another strategy and size": made_up.ok(
        made_up.job(made_up.STRATEGIES["compile"], model=made_up.SVD, **made_up.FULL)
    ),
    "the largest seed": made_up.ok(made_up.job(seed=2**63 - 1, decode_chunk_size=3)),
    "settings on both sides of the seed": made_up.ok(
        made_up.job(seed=7, fps=8, width=128, motion_bucket_id=0, noise_aug_strength=1e-7)
    ),
    "one run, and steps": Row(made_up.job(), "ok", series={"step_s": [[0.1], [0.2]], "total_s": [1]}),
    "no run": Row(made_up.job(), "failed", 2, STRANGE, "denoise", notes=[STRANGE, "…"]),
    "nothing measured": Row(made_up.job(), "rejected", error="it cannot be"),
    "texts that look like its parts": made_up.ok(
        made_up.job(Memory(name=STRANGE, extra=[STRANGE])), provenance={"host": STRANGE}, remark=STRANGE
    ),
}


def text_of(row: Row, **changed: object) -> bytes:
    return json.dumps(json.loads(row.to_json()) | changed, ensure_ascii=False).encode() + b"\n"


def job_of(row: Row, **changed: object) -> dict[str, object]:
    return dataclasses.asdict(row.job) | changed


def either(text: bytes) -> Line:
    try:
        return quickly(text)
    except UNREADABLE:
        return plainly(text)


@pytest.mark.parametrize("name", ROWS)
def test_a_line_of_the_store_is_read_quickly_and_whole(name):
    row = ROWS[name]
    line = quickly(text_of(row))
    assert line == plainly(text_of(row))
    assert (line.job, line.job.key, line.values, line.provenance, line.runs, line.notes) == (
        *(row.job, job_from(dataclasses.asdict(row.job)).key, row.values, row.provenance),
        *(row.series.get("total_s", []), row.notes),
    )
    assert (line.status, line.attempt, line.error, line.phase) == (
        *(row.status, row.attempt, row.error, row.phase),
    )


def older(row: Row) -> list[bytes]:
    """Lines that are not as the store writes them now, but rows all the same."""
    plain, job = json.loads(row.to_json()), job_of(row)
    without = {name: value for name, value in job.items() if name not in ("gpu", "fps", "baseline")}
    return [
        text_of(row, schema=0),
        text_of(row, job=without),
        text_of(row, job={**without, "gone": {"seed": 5}, "also_gone": 1}),
        text_of(row, job=dict(reversed(job.items()))),
        text_of(row, job={**job, "memory": {**job["memory"], "gone": 1, "seed": 4}}),
        text_of(row, job={"model": {"name": "x", "seed": 4, "memory": {}}, **job}),
        text_of(row, job={**job, "gpu": {"memory_limit_gib": 4.0, "baseline": "of a part"}}),
        text_of(row, job={**job, "seed": 1.0}),
        json.dumps(dict(reversed(plain.items()))).encode(),
        json.dumps({name: plain[name] for name in ("job", "status")}).encode(),
        orjson.dumps(plain),
        text_of(row, values=None, series=None, provenance=None, notes=None),
    ]


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_other_writers_are_read_as_they_would_be_by_parsing_them(name):
    for text in older(ROWS[name]):
        assert either(text) == plainly(text)
        assert either(text).key == job_from(json.loads(text)["job"]).key


DAMAGED = {
    "a seed below its range": {"seed": -1},
    "a seed above its range": {"seed": 2**63},
    "a width that is no multiple of 8": {"width": 63},
    "guidance that falls": {"min_guidance_scale": 9.0},
    "one frame with guidance": {"num_frames": 1},
    "a part that is a number": {"memory": 3},
    "a strategy that never was": {"memory": {"offload": "elsewhere"}},
    "a strategy whose number is too low": {"memory": {"denoise_steps": 0}},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_no_job_is_no_row_on_either_road(name):
    row = ROWS["as measured"]
    for road in (quickly, plainly):
        with pytest.raises(UNREADABLE):
            road(text_of(row, job=job_of(row, **DAMAGED[name])))


@pytest.mark.parametrize("name", ["as measured", "texts that look like its parts"])
def test_a_torn_line_is_no_row_wherever_it_is_torn(name):
    text = text_of(ROWS[name])
    for length in range(len(text) - 2):
        with pytest.raises(UNREADABLE):
            quickly(text[:length])


@pytest.mark.parametrize("put", [b"", b'"', b"x"])
def test_a_line_in_which_a_byte_is_lost_or_spoilt_is_never_another_row(put):
    text = text_of(ROWS["settings on both sides of the seed"])
    series = range(text.index(b'"series"'), text.index(b'"provenance"'))
    for at in range(len(text) - 1):
        spoilt = text[:at] + put + text[at + 1 :]
        try:
            quick = quickly(spoilt)
        except UNREADABLE:
            continue
        try:
            assert quick == plainly(spoilt)
        except UNREADABLE:
            assert at in series  # of which only total_s is looked at


def test_what_is_remembered_of_one_line_is_not_taken_for_another(tmp_path):
    store = Store(tmp_path, "w-1")
    rows = [
        made_up.ok(Job(memory=memory, measure=measure, seed=seed, **own))
        for memory in made_up.STRATEGIES.values()
        for measure in (Measure(), Measure(repeats=3))
        for own in ({}, {"fps": 8}, {"fps": 8, "decode_chunk_size": 2}, {"noise_aug_strength": 0.5})
        for seed in (0, 1)
    ]
    random.Random(0).shuffle(rows)
    for row in rows:
        store.append(row)
    found = list(read_lines(tmp_path, []))
    assert [line.job for line in found] == [row.job for row in rows]
    assert [line.key for line in found] == [row.key for row in rows]
    assert len({id(line.settings) for line in found}) == 8


def test_lines_of_the_store_need_no_parsing_of_the_whole(tmp_path, monkeypatch):
    rows = made_up.sweep(tmp_path)
    monkeypatch.setattr(lines, "plainly", lambda text: pytest.fail(f"parsed as a whole: {text[:80]!r}"))
    assert [line.job for line in read_lines(tmp_path, [])] == [row.job for row in rows]
