"""Fake workers: what a job does is written in its image's name, so that a test can say it in the grid."""

import errno
import faulthandler
import gc
import os
import subprocess
import sys
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from svdsweep.config import Image, Job, Memory
from svdsweep.errors import UserError
from svdsweep.store.files import renamed_when_done
from svdsweep.store.rows import Row
from svdsweep.worker.contract import Report, Slot, Work


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


def job(seed: int = 0, does: str = "", **settings: object) -> Job:
    """A job whose fake worker `does` something: `raise`, `exit 3`, `sleep 0.1` …; `offload=` parts it into groups."""
    memory = Memory(**{k: settings.pop(k) for k in list(settings) if k in Memory.__dataclass_fields__})
    return Job(seed=seed, image=Image(name=does), memory=memory, **settings)


def load(slot: Slot) -> Work:
    """Answer `ok`, unless the job's image's name says otherwise. Every run leaves a line in <folder>/ran."""
    loaded = []

    def work(job: Job, attempt: int, report: Report) -> Row:
        with (slot.folder / "ran").open("a", encoding="utf-8") as f:
            f.write(f"{job.key} {os.getpid()} {job.pipeline_key}\n")
        values = {"pid": os.getpid(), "total_s": 0.1, "threads": os.environ["OMP_NUM_THREADS"]}
        values["looks_for_garbage"] = gc.isenabled()
        if loaded != [job.pipeline_key]:
            report("load", None)
            values |= {"load_s": 0.05, "loads": 1}
            loaded[:] = [job.pipeline_key]
        report("denoise", 1.5)
        print(f"working on {job.seed}\n… and on")
        answer = act(job, slot, attempt)
        return answer or Row(job, "ok", values=values)

    return work


def load_never(slot: Slot) -> Work:
    raise UserError("planted: the weights are gone")


def load_tells(slot: Slot) -> Work:
    raise RuntimeError(f"401 for {os.environ['HF_TOKEN']}")


def load_dies(slot: Slot) -> Work:
    print("dying words")
    os._exit(7)


def load_hangs(slot: Slot) -> Work:
    time.sleep(3000)
    raise AssertionError


def load_once_in_two(slot: Slot) -> Work:
    """Every second process dies while it loads."""
    marks = slot.folder / "starts"
    marks.mkdir(exist_ok=True)
    mark = marks / str(os.getpid())
    mark.touch()
    if len(list(marks.iterdir())) % 2:
        os._exit(9)
    return load(slot)


def load_dies_before_its_first_job(slot: Slot) -> Work:
    """The first process dies when it has been given a job and has not yet taken it."""
    mark, receive = slot.folder / "started", Connection.recv
    if not mark.exists():
        mark.touch()
        Connection.recv = lambda self: (receive(self), os._exit(5))  # type: ignore[method-assign]
    return load(slot)


def load_noop(slot: Slot) -> Work:
    return lambda job, attempt, report: Row(job, "ok")


def act(job: Job, slot: Slot, attempt: int) -> object:
    name, _, value = job.image.name.partition(" ")
    match name:
        case "":
            pass
        case "sleep":
            time.sleep(float(value))
        case "timed":  # and dead at the attempt that is named
            if value and attempt == int(value):
                os._exit(3)
            return Row(job, "ok", values={"load_s": 0.01}, series={"total_s": [float(attempt)]})
        case "judge":  # for so many seconds, or until something happens, beside the next job
            return partial(judged, job, slot, value)
        case "raise":
            raise ValueError("planted")
        case "once":
            if attempt == 1:
                raise ValueError("planted once")
        case "oom":
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
        case "poison":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        case "tell":
            raise RuntimeError(f"401 for {os.environ[value]}")
        case "tell_and_die":
            print(f"401 for {os.environ[value]}")
            os._exit(5)
        case "note":
            return Row(job, "ok", values={"remark": os.environ[value]}, notes=[os.environ[value]])
        case "exit":
            os._exit(int(value))
        case "sysexit":
            sys.exit(int(value))
        case "kill":
            psutil.Process().kill()
        case "segfault":
            faulthandler._sigsegv()
        case "hang":
            subprocess.Popen([sys.executable, "-ISc", "import time; time.sleep(3000)"])
            time.sleep(3000)
        case "held":  # dies while another process holds its end of the pipe
            if os.fork() == 0:
                time.sleep(3000)
            os._exit(4)
        case "strange":
            return Row(Job(), "ok", values={"x": lambda: 0})  # type: ignore[dict-item]
        case "nan":
            return Row(Job(), "ok", values={"x": float("nan")})
        case "norow":
            return {"status": "ok"}
        case "full":
            raise OSError(errno.ENOSPC, "No space left on device", str(slot.folder / "videos" / "x.mp4"))
        case "torch":
            return Row(job, "ok", provenance={"torch": value, "gpu": None})
        case "video":
            (slot.folder / "videos").mkdir(exist_ok=True)
            (slot.folder / "videos" / f"{job.key}.mp4").write_bytes(job.key.encode() * 1000)
        case "encode":  # a real video, after so many seconds
            time.sleep(float(value))
            return Row(job, "ok", values={"video": encode(job, slot.folder)})
        case "half":  # dead while it writes
            with renamed_when_done(slot.folder / "videos" / f"{job.key}.mp4") as part:
                part.touch()
                os._exit(6)
        case "fullrow":
            return Row(job, "failed", phase="write", error="OSError: [Errno 28] No space left on device")
        case "badvideo":
            return Row(job, "failed", phase="write", error="RuntimeError: ffmpeg ended with code 1")
        case "denied":
            raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/picture.png")
        case "wait":
            while not Path(slot.folder / value).exists():
                time.sleep(0.02)
        case _:
            raise AssertionError(name)
    return None


def judged(job: Job, slot: Slot, value: str) -> Row:
    """What is left of a job: a real video after so many seconds, or when the next has begun, or something worse."""
    match value:
        case "next":
            end = time.monotonic() + 20
            while (slot.folder / "ran").read_text(encoding="utf-8").splitlines()[-1].startswith(job.key):
                assert time.monotonic() < end, "no other job has begun"
                time.sleep(0.02)
        case "raise":
            raise ValueError("planted")
        case "full":
            raise OSError(errno.ENOSPC, "No space left on device", str(slot.folder / "videos" / "x.mp4"))
        case "exit":
            time.sleep(0.3)  # the next job has begun
            os._exit(3)
        case _:
            time.sleep(float(value))
    return Row(job, "ok", values={"pid": os.getpid(), "video": encode(job, slot.folder)})


def encode(job: Job, folder: Path) -> str:
    """A small noisy video with all frames of the job; its path in the folder."""
    import numpy as np

    from svdsweep.worker.media import write_video

    frames = np.random.default_rng(job.seed).integers(0, 255, (job.num_frames, 128, 128, 3), np.uint8)
    write_video(folder / "videos" / f"{job.key}.mp4", frames, job.fps)
    return f"videos/{job.key}.mp4"
