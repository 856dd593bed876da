"""Windows' exit codes, files that are open elsewhere, and the families of processes."""

import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import psutil
import pytest

from svdsweep.platforms import windows


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (0xC0000005, "exit code 0xC0000005 (access violation)"),
        (0xC0000FFF, "exit code 0xC0000FFF"),
    ],
)
def test_an_exit_code_is_told_in_words_and_an_ntstatus_in_hexadecimal(code, words):
    assert windows.ending(code) == words


def test_memory_that_was_refused_is_told_by_the_exit_code():
    assert windows.out_of_memory(0xC000012D, None).startswith("Windows had no memory left")
    assert windows.out_of_memory(0xC0000005, None) == windows.out_of_memory(None, None) == ""


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_file_that_is_open_elsewhere_is_replaced_or_removed_when_it_is_let_go(
    tmp_path, monkeypatch, is_replaced
):
    part, path = tmp_path / "part", tmp_path / "page.html"
    part.write_text("new", encoding="utf-8")
    path.write_text("old", encoding="utf-8")
    reader = open_as_windows_does(monkeypatch, path)
    timer = threading.Timer(0.1, reader.clear)
    timer.start()
    if is_replaced:
        windows.replace(part, path)
        assert path.read_text(encoding="utf-8") == "new"
    else:
        windows.remove(path)
        assert not path.exists()
    timer.join()


def test_a_file_that_stays_open_is_told_with_its_name(tmp_path, monkeypatch):
    path = tmp_path / "results.csv"
    path.write_text("old", encoding="utf-8")
    open_as_windows_does(monkeypatch, path)
    monkeypatch.setattr(windows, "PATIENCE_S", 0.1)
    with pytest.raises(PermissionError) as caught:
        windows.remove(path)
    assert caught.value.__notes__ == ["If another program has results.csv open, close it there."]


def open_as_windows_does(monkeypatch, path):
    """A list with the file in it; until it is cleared, nobody can rename or remove the file."""
    holders = [path]

    def refusing(act):
        def asked(*paths, **options):
            if paths[-1] in holders:
                raise PermissionError(13, "The process cannot access the file", str(path))
            return act(*paths, **options)

        return asked

    monkeypatch.setattr(os, "replace", refusing(os.replace))
    monkeypatch.setattr(os, "unlink", refusing(os.unlink))
    return holders


def test_a_family_is_of_living_children_of_the_process_and_not_of_an_earlier_one_of_its_number(monkeypatch):
    told = [(2, 1, 10.0), (3, 2, 11.0), (4, 1, 5.0), (5, 4, 12.0), (6, 9, 12.0), (7, 1, None)]
    living = [
        SimpleNamespace(pid=pid, info={"ppid": parent, "create_time": born}) for pid, parent, born in told
    ]
    monkeypatch.setattr(windows.psutil, "process_iter", lambda names: living)
    assert [process.pid for process in windows._family(1, 9.0)] == [2, 3]


def test_a_real_family_is_found():
    child = "import sys; sys.stdin.read()"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as parent:
        this = psutil.Process(parent.pid)
        while not (children := this.children()):
            pass
        assert windows._family(parent.pid, this.create_time()) == children
        parent.communicate()
