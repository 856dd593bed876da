"""What a tracker is given of a row."""

import dataclasses
import json
import os

import made_up
import pytest

from svdsweep.export.entries import LONGEST, Entries
from svdsweep.store.rows import Row, Store


def entries_of(folder, rows):
    made = Entries(folder, [row.job for row in rows.values()])
    return [made.of(row) for row in rows.values()]


def test_what_is_not_known_is_left_out_and_never_0(folder, rows):
    entry = entries_of(folder, rows)[0]
    assert entry.metrics["total_s"] == rows[entry.key].values["total_s"]
    assert not {"vram_process_peak_gib", "psnr_to_baseline_db"} & {*entry.metrics, *entry.tags}
    assert entry.series["series/motion_px"] == [(0, 1.0), (2, 3.0)]
    assert "gpu.memory_limit_gib" not in entry.settings


def test_steps_are_a_series_for_each_run(folder, rows):
    series = entries_of(folder, rows)[0].series
    assert series["series/step_s/run1"] == [(0, 0.1), (1, 0.2)]
    assert series["series/step_s/run2"] == [(0, 0.3)]
    assert len(series["series/total_s"]) == 2


def test_a_run_is_named_by_what_sets_it_apart_and_tagged_with_its_status_weights_and_machine(folder, rows):
    first, _, failed = entries_of(folder, rows)
    assert "motion_bucket_id=60" in first.name
    assert (first.whole, first.tags["weights"], first.tags["gpu"]) == (True, "pretrained", "NVIDIA RTX 4090")
    assert first.tags["dynamic"] == "true"
    assert (failed.whole, failed.status, failed.tags["weights"]) == (False, "failed", "random")
    assert "    RuntimeError: x" in failed.notes


def test_secrets_of_this_process_are_masked(folder, rows):
    assert os.environ["MY_TOKEN"] not in str(entries_of(folder, rows))
    assert "***MY_TOKEN***" in entries_of(folder, rows)[0].tags["remark"]


def test_a_row_has_one_version_before_it_is_stored_and_after_and_another_when_it_says_something_else(
    tmp_path,
):
    row = Row(
        made_up.job(), "failed", error="\ud800", values={"total_s": 0.1 + 0.2}, series={"x": [[1], [2.0]]}
    )
    Store(tmp_path).append(row)
    (read,) = Store(tmp_path).rows().values()
    entries = Entries(tmp_path, [row.job])
    assert entries.of(row).version == entries.of(read).version
    again = dataclasses.replace(read, attempt=2)
    assert entries.of(again).version != entries.of(read).version


def test_long_texts_are_cut(tmp_path):
    row = Row(made_up.job(), "failed", error="x" * 10_000, values={"remark": "y" * 10_000})
    entry = Entries(tmp_path, [row.job]).of(row)
    assert len(entry.notes) == len(entry.tags["remark"]) == LONGEST


@pytest.mark.parametrize("told", ["yesterday", "", "9999-99-99", "0001-01-01T00:00:00+14:00"])
def test_a_row_that_does_not_tell_when_it_began_is_of_1970(tmp_path, told):
    row = Row(made_up.job(), "ok", values={"started_at": told})
    assert Entries(tmp_path, [row.job]).of(row).began.year == 1970


def test_a_link_in_the_place_of_a_video_is_passed_by(folder, rows, tmp_path):
    key = next(iter(rows))
    video = folder / "videos" / f"{key}.mp4"
    video.unlink()
    (tmp_path / "mine").write_text("secret", encoding="utf-8")
    try:
        os.symlink(tmp_path / "mine", video)
    except OSError:
        pytest.skip("this system makes no links")
    assert [path.suffix for path in entries_of(folder, rows)[0].files] == [".png"]


def test_hostile_words_are_words(tmp_path):
    row = Row(dataclasses.replace(made_up.job(), seed=3), "ok", notes=["a\x1b[2Jb\n# c"])
    assert Entries(tmp_path, [row.job]).of(row).notes == "* a\\x1b[2Jb\\n# c"
    assert json.loads(row.to_json())["notes"] == row.notes
