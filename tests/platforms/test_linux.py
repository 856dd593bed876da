"""What Linux tells of its machine, read from a /proc of the test's own."""

import signal
from types import SimpleNamespace

import psutil
import pytest

from svdsweep.platforms import linux

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows knows no SIGKILL")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder in which /proc and /sys are looked for."""
    real = linux.Path
    monkeypatch.setattr(linux, "Path", lambda *parts: real(f"{tmp_path}{real(*parts)}"))
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_the_peak_counts_children_and_is_unknown_where_no_kernel_tells_it(root, monkeypatch):
    asked = []

    def children(recursive=False):
        asked.append(recursive)
        return [SimpleNamespace(pid=pid) for pid in (7, 8, 9)]

    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(children=children))
    assert not linux.reset_memory_peak()
    assert linux.memory_peak_bytes() is None
    for pid, line in (("self", "VmHWM:\t 2097152 kB"), ("7", "VmPeak:\t 9 kB"), ("8", "VmHWM:\t 1048576 kB")):
        write(root / "proc" / pid / "status", f"Name:\t süß\n{line}\nVmRSS:\t 5 kB\n")
    assert linux.memory_peak_bytes() == 3 * 2**30
    assert asked == [True, True], "children of children hold memory too"
    assert linux.reset_memory_peak()
    assert (root / "proc" / "self" / "clear_refs").read_text(encoding="utf-8") == "5"


@pytest.mark.parametrize(
    ("lines", "kills"),
    [
        ({"/proc/vmstat": ["oom_kill 3", "oom_kill_x 9"]}, 3),
        ({"/proc/vmstat": ["oom_kill 0"]}, 0),
        ({"/proc/vmstat": ["oom_kill 3"], "/sys/fs/cgroup/a/b/memory.events": ["oom 9", "oom_kill 2"]}, 5),
        ({"/proc/vmstat": ["pgfault 1"]}, None),
        ({}, None),
    ],
)
def test_what_the_kernel_killed_is_counted_here_and_in_the_cgroup(monkeypatch, lines, kills):
    lines = {"/proc/self/cgroup": ["1:name=x:/c", "0::/a/b"], **lines}
    monkeypatch.setattr(
        linux, "_text", lambda path: "".join(f"{line}\n" for line in lines.get(path.as_posix(), []))
    )
    linux._counters.cache_clear()
    assert linux.oom_kills() == kills
    linux._counters.cache_clear()


@pytest.mark.parametrize(
    ("code", "before", "now", "is_told"),
    [(-9, 5, 6, True), (-9, 5, 5, False), (-9, None, 6, False), (-9, 5, None, False), (1, 5, 6, False)],
)
def test_a_kill_is_for_memory_where_the_kernel_has_counted_one_more(monkeypatch, code, before, now, is_told):
    monkeypatch.setattr(linux, "oom_kills", lambda: now)
    assert ("out-of-memory killer" in linux.out_of_memory(code, before)) == is_told


def test_the_processor_is_named_by_its_model(root):
    write(root / "proc" / "cpuinfo", "processor\t: 0\nmodel name\t: Fast CPU: 9\nprocessor\t: 1\n")
    assert linux.cpu_name.__wrapped__() == "Fast CPU: 9"
