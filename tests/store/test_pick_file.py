"""pick.json: whole and back; whoever wrote it, nothing but a pick is read."""

import dataclasses
import json

import pytest

from svdsweep.store.pick import FILE, Pick, Road, Stage, read_pick, write_pick

PICK = Pick(
    by="adj_psnr_db",
    unit="dB",
    higher=True,
    stages=[Stage(3, 3, 2), Stage(25, 25, 1)],
    roads=[
        Road("seed 0", ["0123456789ab", "ab0123456789"], [30.5, 35.25], ""),
        Road("seed 1", ["0123456789ac", None], [29.0, None], "left out at 3 steps, 2nd of 2"),
    ],
    finalists=[0],
    answer=["One."],
)


def test_a_pick_comes_back_as_it_was_written(tmp_path):
    write_pick(tmp_path, PICK)
    assert read_pick(tmp_path) == PICK


def test_a_sweep_without_one_has_none(tmp_path):
    assert read_pick(tmp_path) is None


@pytest.mark.parametrize(
    "spoilt",
    [
        {"schema": 2},
        {"by": 3},
        {"higher": "yes"},
        {"answer": ["x" * 10_000]},
        {"answer": None},
        {"stages": [{"steps": 3, "calls": 0, "runs": 1}] * 2},
        {"stages": [{"steps": True, "calls": 1, "runs": 1}] * 2},
        {"stages": [{"steps": 1, "calls": 1, "runs": 1}] * 1000, "roads": [], "finalists": []},
        {"finalists": [2]},
        {"stages": [], "roads": [{"name": "a", "keys": [], "values": [], "fate": ""}]},
        {"finalists": [-1]},
        {"finalists": [0.0]},
        {"roads": [{"name": "a", "keys": ["../../etc/pwd", None], "values": [1.0, None], "fate": ""}]},
        {"roads": [{"name": "a", "keys": [None], "values": [1.0, None], "fate": ""}]},
        {"roads": [{"name": "a", "keys": [None, None], "values": ["1", None], "fate": ""}]},
        {"roads": [{"name": "a", "keys": [None, None], "values": [1e300, None], "fate": ""}]},
        {"roads": ["a"]},
        {"roads": {"a": 1}},
    ],
)
def test_what_no_pick_has_written_is_refused(tmp_path, spoilt):
    plain = {"schema": 1, **dataclasses.asdict(PICK), **spoilt}
    (tmp_path / FILE).write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(ValueError, match=r"\w"):
        read_pick(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"schema": 1}', "\x00"])
def test_what_is_no_pick_at_all_is_refused(tmp_path, text):
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"\w"):
        read_pick(tmp_path)


def test_a_link_is_not_followed(tmp_path):
    write_pick(tmp_path / "elsewhere", PICK)
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / FILE).symlink_to(tmp_path / "elsewhere" / FILE)
    with pytest.raises(ValueError, match="no plain file"):
        read_pick(tmp_path / "sweep")
