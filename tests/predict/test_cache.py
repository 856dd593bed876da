import ast
import dataclasses
import subprocess
import sys
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from foreseen import made_up, under
from settings import SETTINGS, with_another

from svdsweep.config import Job
from svdsweep.predict import cache
from svdsweep.predict.batch import Unpredicted, outcomes, predictions
from svdsweep.predict.prediction import Prediction


def test_what_was_kept_is_known(tiny_job: Job, cache_home: Path) -> None:
    assert cache.known(tiny_job) is None
    cache.keep(tiny_job, made_up(3.0))
    assert cache.known(tiny_job) == made_up(3.0)
    assert list(cache_home.rglob("*.json"))
    assert not list(cache_home.rglob("*.part"))


def test_only_what_matters_tells_predictions_apart(tiny_job: Job) -> None:
    cache.keep(tiny_job, made_up(3.0))
    others = {name: with_another(tiny_job, name) for name in SETTINGS}
    others["max_guidance_scale"] = dataclasses.replace(tiny_job, max_guidance_scale=1.0)
    apart = {name for name, job in others.items() if cache.known(job) is None}
    sizes = {
        "num_frames",
        "height",
        "width",
        "num_inference_steps",
        "max_guidance_scale",
        "decode_chunk_size",
    }
    strategy = {name for name in SETTINGS if name.startswith("memory.")}
    strategy -= {"memory.sigmas"}
    assert apart == {"model.architecture", "model.decoder", "model.dtype", *sizes, *strategy}


def test_other_versions_predict_anew(tiny_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.keep(tiny_job, made_up(3.0))
    monkeypatch.setattr(cache, "versions", lambda: "other")
    assert cache.known(tiny_job) is None


def test_a_damaged_file_is_no_prediction(tiny_job: Job, cache_home: Path) -> None:
    cache.keep(tiny_job, made_up(3.0))
    for path in cache_home.rglob("*.json"):
        path.write_text(path.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    assert cache.known(tiny_job) is None


def test_a_users_function_is_never_cached(tiny_job: Job) -> None:
    job = under(tiny_job, extra=["a.b"])
    cache.keep(job, made_up(3.0))
    assert cache.known(job) is None


def test_a_second_time_nothing_is_simulated(tiny_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [
        tiny_job,
        dataclasses.replace(tiny_job, decode_chunk_size=1),
        dataclasses.replace(tiny_job, seed=1),
    ]
    assert predictions(jobs, compute=False) == dict.fromkeys(job.key for job in jobs)
    first = predictions(jobs, compute=True)
    monkeypatch.setattr(sys.modules["svdsweep.predict.batch"], "simulate_group", None)
    assert predictions(jobs, compute=True) == first == predictions(jobs, compute=False)
    assert all(first.values())


def test_a_pool_that_is_there_simulates(tiny_job: Job) -> None:
    sent: list[list[Job]] = []

    class Pool(Executor):
        def submit(self, _: Any, group: list[Job], /) -> Future[Any]:  # type: ignore[override]
            sent.append(group)
            done: Future[Any] = Future()
            done.set_result({2: made_up(3.0)})
            return done

    assert outcomes([tiny_job], pool=Pool()) == {tiny_job.key: made_up(3.0)}
    assert sent == [[tiny_job]]


def test_jobs_that_differ_in_their_decode_are_simulated_together_and_all_others_apart(
    tiny_job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[list[Job]] = []

    def simulated(jobs: list[Job]) -> dict[int, Prediction]:
        groups.append(jobs)
        return {cache.chunk_of(job): made_up(10.0 * len(groups) + cache.chunk_of(job)) for job in jobs}

    monkeypatch.setattr(sys.modules["svdsweep.predict.batch"], "simulate_group", simulated)
    whole, auto = (dataclasses.replace(tiny_job, decode_chunk_size=size) for size in ("all", "auto"))
    high = dataclasses.replace(tiny_job, height=128)
    offload = under(tiny_job, offload="sequential")  # which a GPU alone can do
    found = predictions([tiny_job, high, whole, offload, auto], compute=True)
    assert groups == [[tiny_job, whole, auto], [high], [offload]]
    assert [p.peak_gib if p else None for p in found.values()] == [12.0, 22.0, 16.0, 32.0, 11.0]
    assert cache.known(whole) == made_up(16.0)


def test_an_impossible_job_has_its_reason(tiny_job: Job) -> None:
    (outcome,) = outcomes([under(tiny_job, forward_chunk_size=5)]).values()
    assert isinstance(outcome, Unpredicted)
    assert "does not divide" in outcome.reason


def imported_with(path: Path) -> set[Path]:
    """The files of the package that are executed when that of a module is, itself among them."""
    found, ahead = set(), [path]
    while ahead:
        here = ahead.pop()
        if here in found or not here.is_file():
            continue
        found.add(here)
        for node in ast.parse(
            here.read_text(encoding="utf-8")
        ).body:  # not what only a type checker or a call imports
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("svdsweep."):
                module = cache.PACKAGE.parent / Path(*node.module.split("."))
                ahead += [module.with_suffix(".py"), *(module / f"{alias.name}.py" for alias in node.names)]
                ahead.append(module / "__init__.py")
    return found


def test_every_module_that_a_simulation_runs_through_makes_another_folder() -> None:
    """But for settings, which are in the key, and where weights lie and whether whole: that decides nothing."""
    paths = {
        path.relative_to(cache.PACKAGE) for path in imported_with(cache.PACKAGE / "predict" / "simulate.py")
    }
    modules = {
        path for path in paths if path.parts[0] not in ("config", "platforms") and path.name != "__init__.py"
    }
    sources = {
        path.relative_to(cache.PACKAGE) for pattern in cache.SOURCES for path in cache.PACKAGE.glob(pattern)
    }
    folders = ("contents", "headers", "hub", "judge", "layout", "locate", "mistaken", "sizes", "tensors")
    where = (*folders, "comfyui", "fingerprint", "fuse", "lora", "original", "pieces", "single", "unet")
    assert modules - sources == {
        Path("errors.py"),
        Path("store/files.py"),
        *(Path("models", f"{name}.py") for name in where),
    }
    simulator = {path for path in sources if path.parts[0] == "predict"}
    assert simulator - modules == {Path("predict/cache.py")}


def test_reading_needs_no_torch() -> None:
    code = "import sys, svdsweep.commands.fit; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
