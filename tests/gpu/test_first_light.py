"""The first quarter of an hour on a GPU, rehearsed: nothing measured is lost by a cut, and what comes home can be read.

No GPU here: the steps are small programs, or the true ones with the tiny model on the CPU."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import answers
import first_light
import publish
import pytest
from first_light import Archive, Step

from svdsweep.config import Image, Job, Memory
from svdsweep.grid.expand import expand
from svdsweep.store.rows import Row, Store

HERE = Path(__file__).parent
needs_filters = pytest.mark.skipif(
    not hasattr(tarfile, "data_filter"), reason="tarfile has no filters before Python 3.11.4"
)
H200 = HERE.parents[1] / "runs" / "published" / "h200"
WRITES = """
import sys, time
from pathlib import Path
from svdsweep.config import Image, Job, Memory
from svdsweep.grid.expand import expand
from svdsweep.store.rows import Row, Store
folder, name, stays = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
job = Job(image=Image(path="rocket.jpg"), seed=len(name), memory=Memory(name=name))
Store(folder / "first_light", name).append(Row(job, "ok"))
(folder / "first_light" / "videos").mkdir(exist_ok=True)
(folder / "first_light" / "videos" / "a.mp4").write_bytes(b"video")
time.sleep(stays)
"""
"""A step that writes one row, as a sweep does, and then stays for a while."""
SCRIPT = """
import sys, tempfile
from pathlib import Path
import first_light
from first_light import Step
writes, every = sys.argv.pop(1), float(sys.argv.pop(1))
first_light.SAVE_EVERY_S = every
first_light.LAST_S = 1.0
def steps(part, device, work):
    def step(name, stays, needs):
        return Step(name, [sys.executable, "-c", writes, str(work), name, str(stays)], needs, 30)
    return [step("short", 0, 1), step("long", 60, 1), step("never", 0, 1000), step("last", 0, 0.1)]
first_light.steps = steps
first_light.main()
"""


def begun(tmp_path: Path, *arguments: str, every_s: float = 0.3) -> "subprocess.Popen[str]":
    """first_light with four made-up steps, in a process of its own."""
    (tmp_path / "tmp").mkdir()
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, WRITES, str(every_s), "1", "--out", str(tmp_path / "out"), *arguments],
        env={**os.environ, "PYTHONPATH": paths, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )


def inside(archive: Path) -> set[str]:
    with tarfile.open(archive) as tar:
        return set(tar.getnames())


def until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


@needs_filters
def test_what_was_measured_before_a_kill_is_there(tmp_path: Path) -> None:
    process = begun(tmp_path, "--budget-s", "100")
    archive = tmp_path / "out" / "first_light_1.tar.gz"
    rows = {"first_light/rows/short.jsonl", "first_light/rows/long.jsonl"}
    try:
        until(lambda: archive.exists() and rows <= inside(archive))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not [name for name in inside(archive) if "videos" in name]
    publish.gather([archive], tmp_path / "home")
    assert {r.job.memory.name for r in answers.Measured(tmp_path / "home").sweeps["first_light"]} == {
        "short",
        "long",
    }
    assert "short" in (tmp_path / "out" / "first_light.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_no_step_outlives_the_budget_and_none_begins_that_would(tmp_path: Path) -> None:
    process = begun(tmp_path, "--budget-s", "20")
    began = time.monotonic()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert time.monotonic() - began < 40
    assert "short: done" in said
    assert "long: cut off" in said
    assert "never: not begun" in said
    work = tmp_path / "tmp" / "svdsweep-first-light"
    assert [r.job.memory.name for r in Store(work / "first_light").rows().values()][:2] == ["short", "long"]


def test_an_archive_that_would_be_too_large_loses_its_largest_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work, archive = tmp_path / "work", tmp_path / "out" / "first_light_1.tar.gz"
    Store(work / "first_light", "a").append(Row(Job(image=Image(path="rocket.jpg")), "ok"))
    (work / "first_light" / "differences.bin").write_bytes(os.urandom(100_000))
    for folder in ("videos", "cache"):
        (work / folder).mkdir()
        (work / folder / "large").write_bytes(os.urandom(100_000))
    monkeypatch.setattr(first_light, "ARCHIVE_BYTES", 50_000)
    Archive(work, archive).save()
    assert archive.stat().st_size <= 50_000
    assert inside(archive) == {"first_light/rows/a.jsonl", "first_light.md"}
    assert "differences.bin" in capsys.readouterr().out


def test_a_step_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    marks = tmp_path / "work"
    marks.mkdir()
    child = (
        f"import time, pathlib\nwhile True: pathlib.Path({str(marks / 'alive')!r}).touch(); time.sleep(0.05)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    step = Step("stays", [sys.executable, "-c", parent], 0, 2)
    archive = Archive(marks, tmp_path / "out" / "a.tar.gz")
    archive.saved_at = time.monotonic()
    assert first_light.run(step, time.monotonic() + 60, archive) == "cut off"
    (marks / "alive").unlink()
    time.sleep(0.5)
    assert not (marks / "alive").exists()


@needs_filters
def test_archives_of_one_machine_and_of_two_come_together(tmp_path: Path) -> None:
    def archive(name: str, **rows: list[str]) -> Path:
        work = tmp_path / name
        for writer, strategies in rows.items():
            for strategy in strategies:
                memory = Memory(name=strategy, offload="model" if strategy == "b" else "none")
                job = Job(image=Image(path="rocket.jpg"), memory=memory, seed=ord(strategy[0]))
                Store(work / "first_light", writer).append(Row(job, "ok"))
        with tarfile.open(tmp_path / f"{name}.tar.gz", "w:gz") as tar:
            tar.add(work, ".")
        return tmp_path / f"{name}.tar.gz"

    one = archive("one", vm=["a"])
    later = archive("later", vm=["a", "b"])
    other = archive("other", vm=["c"])
    publish.gather([one, later, other, one], tmp_path / "home")
    assert len(list((tmp_path / "home" / "first_light" / "rows").iterdir())) == 2
    names = {row.job.memory.name for row in answers.Measured(tmp_path / "home").sweeps["first_light"]}
    assert names == {"a", "b", "c"}


@needs_filters
def test_an_archive_that_writes_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evil").write_text("x", encoding="utf-8")
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "evil", "../evil-was-here")
    with pytest.raises(tarfile.OutsideDestinationError):
        publish.gather([tmp_path / "evil.tar.gz"], tmp_path / "home")
    assert not (tmp_path / "evil-was-here").exists()


def test_nothing_measured_is_no_answer(tmp_path: Path) -> None:
    told = answers.text(answers.Measured(tmp_path))
    assert "No probe has answered yet." in told
    assert "| yes |" not in told
    assert "| no |" not in told


def test_answers_follow_the_figures(tmp_path: Path) -> None:
    def row(
        memory: str,
        total_s: float,
        step_s: float,
        decode_s: float,
        gib: float,
        sweep: str = "first_light",
        **more: Any,
    ) -> None:
        job = Job(image=Image(path="rocket.jpg"), memory=Memory(name=memory), seed=sum(map(ord, memory)))
        values = {
            "total_s": total_s,
            "step_s": step_s,
            "vae_decode_s": decode_s,
            "vram_allocated_peak_gib": gib,
        }
        Store(tmp_path / sweep, "vm").append(Row(job, "ok", values={**values, **more}))

    row("baseline", 8.0, 0.6, 2.0, 32.0)
    row("baseline", 8.0, 0.6, 2.0, 32.0, "fastest")
    row("fastest", 4.0, 0.3, 1.0, 22.0, "fastest", psnr_to_baseline_db=60.0)
    row("smallest", 24.0, 2.0, 4.0, 2.2, equality="equivalent")
    told = {
        a.question.partition("?")[0]: a
        for q in (answers.fastest, answers.smallest)
        for a in q(answers.Measured(tmp_path))
    }
    assert (
        told["fastest: a step and the decode at least 1.8 times as fast as the baseline's"].verdict == "yes"
    )
    assert (
        "step × 2.00, decode × 2.00"
        in told["fastest: a step and the decode at least 1.8 times as fast as the baseline's"].figures
    )
    assert told["smallest: at most 2.5 times the baseline's time"].verdict == "no"
    assert told["smallest: less than 3.0 GiB allocated"].verdict == "yes"
    assert told["smallest: are the frames the baseline's, up to rounding"].verdict == "yes"
    assert told["smallest: does it run under a cap of 4 GiB"].verdict == "not measured"


def test_a_setting_that_is_added_to_a_preset_is_found_under_its_name() -> None:
    (job,) = expand(["memory=fastest", "memory.norms_by_channel=false"]).jobs
    assert job.memory.name == "fastest+norms_by_channel=False"


def test_the_published_answers_are_those_of_the_published_rows() -> None:
    measured = answers.Measured(H200)
    published = (H200 / answers.FILE).read_text(encoding="utf-8").split("## Steps")[0]
    assert answers.text(measured).rstrip() == published.rstrip()
    assert publish.gpu_of(measured) == "h200"


@pytest.mark.slow
def test_a_rehearsal_on_the_cpu_comes_home_as_sweeps_that_people_can_read(tmp_path: Path) -> None:
    """The true steps `memory` and `4 GiB` of the first command, then the command that publishes."""
    steps = first_light.steps(1, "cpu", tmp_path / "work")
    (tmp_path / "work").mkdir()
    archive = Archive(tmp_path / "work", tmp_path / "out" / "first_light_1.tar.gz")
    for step in steps[-2:]:
        assert first_light.run(step, time.monotonic() + 280, archive) == "done", step.name
    archive.save()
    subprocess.run(
        [sys.executable, HERE / "publish.py", archive.path, "--into", tmp_path / "published"],
        check=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
    )
    home = tmp_path / "published" / "cpu"
    statuses = {r.job.memory.name: r.status for r in Store(home / "first_light").rows().values()}
    assert statuses == {
        "baseline": "ok",
        "chunked_decode": "ok",
        "streamed_decode": "ok",
        "smallest": "rejected",
    }
    assert "streamed_decode: are the frames" in (home / "first_light.md").read_text(encoding="utf-8")
    assert (home / "first_light" / "report.html").stat().st_size > 10_000
    assert (
        json.loads((home / "first_light" / "sweep.json").read_text(encoding="utf-8"))["name"] == "first_light"
    )
    assert "tests/gpu/first_light.sh" in (home / "README.md").read_text(encoding="utf-8")
