"""Files are whole or not there, and a sweep's manifest is read as far as it can be."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from running import wait_for

from svdsweep.config.version import __version__
from svdsweep.errors import UserError
from svdsweep.store.files import clear_unfinished, renamed_when_done, write_asked
from svdsweep.store.manifest import Manifest, read_manifest, wanted_keys, write_manifest

ASKED = Manifest("study ä", ["seed=0,1"], None, {"seed": ["0", "1"]}, ["a1", "b2"])


def test_a_file_is_seen_by_nobody_before_it_is_whole(tmp_path):
    path = tmp_path / "new" / "folders" / "a.txt"
    with renamed_when_done(path) as part:
        part.write_text("whole", encoding="utf-8")
        assert not path.exists()
        assert re.fullmatch(rf"\.[0-9a-f]{{8}}-{os.getpid()}-a\.txt", part.name)
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]
    with renamed_when_done(path) as part:
        part.write_text("newer", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "newer"


def test_what_dead_processes_of_this_machine_were_writing_goes_and_nothing_else(tmp_path):
    write = "import sys, pathlib; from svdsweep.store.files import renamed_when_done as r\n"
    write += "with r(pathlib.Path(sys.argv[1])) as part: part.touch(); print(part, flush=True); input()"
    command = [sys.executable, "-c", write, str(tmp_path / "videos" / "a.mp4")]
    with subprocess.Popen(command, stdin=-1, stdout=-1, encoding="utf-8") as process:
        part = Path(process.stdout.readline().strip())
        elsewhere = part.with_name(f".00000000-{process.pid}-a.mp4")
        elsewhere.touch()
        (tmp_path / "linked").symlink_to(tmp_path.parent / f"{tmp_path.name}-outside")
        outside = tmp_path / "linked" / part.name
        outside.parent.resolve().mkdir()
        outside.touch()
        clear_unfinished(tmp_path)
        assert part.exists()
        process.kill()  # dead, though nobody has asked for its exit code yet
        wait_for(lambda: clear_unfinished(tmp_path) or not part.exists())
    clear_unfinished(tmp_path)
    assert elsewhere.exists()
    assert outside.exists()
    clear_unfinished(tmp_path / "nowhere")


def test_what_was_asked_for_is_written_or_the_user_is_told_why_not(tmp_path):
    write_asked(tmp_path / "a" / "b.md", "ein Häuschen\n")
    assert (tmp_path / "a" / "b.md").read_bytes().decode("utf-8").splitlines() == ["ein Häuschen"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError) as refused:
        write_asked(tmp_path / "folder", "text")
    with pytest.raises(OSError) as reason:
        os.replace(tmp_path / "a" / "b.md", tmp_path / "folder")
    assert str(refused.value) == f"{tmp_path / 'folder'} cannot be written ({reason.value.strerror})."


def test_a_manifest_says_what_was_asked_by_which_version_and_when(tmp_path):
    write_manifest(tmp_path / "new", ASKED)
    facts = read_manifest(tmp_path / "new")
    written_at = datetime.fromisoformat(facts["written_at"])
    assert abs(datetime.now(UTC) - written_at) < timedelta(minutes=10)
    assert (written_at.microsecond, written_at.utcoffset()) == (0, timedelta(0))
    assert facts == {
        "name": "study ä",
        "settings": ["seed=0,1"],
        "config_dir": None,
        "axes": {"seed": ["0", "1"]},
        "keys": ["a1", "b2"],
        "tags": [],
        "note": "",
        "svdsweep": __version__,
        "written_at": facts["written_at"],
    }
    text = (tmp_path / "new" / "sweep.json").read_text(encoding="utf-8")
    assert text.startswith('{\n "name": ')
    assert text.endswith("}\n")
    assert wanted_keys(tmp_path / "new") == {"a1", "b2"}


@pytest.mark.parametrize(
    ("text", "facts", "keys"),
    [
        ('{"name": 5, "settings": "seed=0", "axes": [], "keys": {}, "more": 1}', {"more": 1}, None),
        ('{"name": "ä", "settings": ["seed=0"], "keys": [1, "b"]}', None, {"1", "b"}),
        ('{"axes": {"seed": ["0"]}}', None, None),
        ("[]", {}, None),
    ],
)
def test_of_a_manifest_of_another_form_what_is_as_it_should_be_is_read(tmp_path, text, facts, keys):
    (tmp_path / "sweep.json").write_text(text, encoding="utf-8")
    assert read_manifest(tmp_path) == (json.loads(text) if facts is None else facts)
    assert wanted_keys(tmp_path) == keys


def test_a_manifest_that_is_damaged_or_missing_tells_no_keys(tmp_path):
    assert wanted_keys(tmp_path) is None
    (tmp_path / "sweep.json").write_text('{"keys": [', encoding="utf-8")
    assert wanted_keys(tmp_path) is None
