import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from svdsweep.commands import fit
from svdsweep.config import Job
from svdsweep.errors import UserError
from svdsweep.grid.expand import expand_without_weights
from svdsweep.predict import search
from svdsweep.predict.prediction import Kernel, Prediction, Stage
from svdsweep.store.columns import STAGES

WEIGHTS = {"none": 4.2, "model": 3.0, "group_leaf": 0.2, "group_block": 0.4, "sequential": 0.1}
SECONDS = {"none": 1, "model": 2, "group_leaf": 3, "group_block": 4, "sequential": 9}


def imagined(job: Job) -> Prediction:
    """Weights by offload, activations less by split guidance and parts, a GiB for each frame of a whole decode."""
    m = job.memory
    weights = WEIGHTS[m.offload] * (0.6 if m.unet_weights == "fp8" else 1)
    activations = (
        8.0 * (0.5 if m.split_guidance or not m.guidance else 1) * (0.6 if m.transformer_parts else 1)
    )
    spilled = m.decode == "streamed" and m.decode_budget_gib == 0
    seconds = SECONDS[m.offload] + bool(m.transformer_parts) + spilled
    work = [Kernel("float16", 10**12 * seconds, 1, 1)]
    decode = 1.5 + min(m.decode_budget_gib, 6) if m.decode == "streamed" else float(job.frames_per_decode)
    held = dict.fromkeys(STAGES, 0.8) | {"denoise": activations, "vae_decode": decode}
    return Prediction({n: Stage(weights + held[n], weights, "", "", [], work, 0.0, 0.0) for n in STAGES})


@pytest.fixture(autouse=True)
def no_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "outcomes", lambda jobs, pool, kind: {j.key: imagined(j) for j in jobs})


def answer(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    assert fit.main([*argv, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_large_card_keeps_the_frames_and_offloads_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    best = answer(capsys, "--vram", "80")["best"][0]
    assert best["keeps"] == "the frames"
    assert "memory=baseline" in best["command"]
    assert "decode_chunk_size=all" in best["command"]


def test_frames_win_over_speed_by_a_streamed_decode(capsys: pytest.CaptureFixture[str]) -> None:
    document = answer(capsys, "--vram", "30")  # 25 GiB of decode would fit beside no weights only
    assert document["best"][0]["keeps"] == "the frames"
    assert "memory=baseline " in document["best"][0]["command"]
    assert "memory.decode=streamed memory.decode_budget_gib=8" in document["best"][0]["command"]


def test_a_small_card_keeps_the_frames_too_by_the_fastest_offload(capsys: pytest.CaptureFixture[str]) -> None:
    document = answer(capsys, "--vram", "7")
    assert document["best"][0]["keeps"] == "the frames"
    assert all(c["needed_vram_gib"] <= 7 for c in document["best"])
    assert "memory=model_offload" in document["best"][0]["command"]
    assert "memory.decode=streamed memory.decode_budget_gib=0" in document["best"][0]["command"]
    seconds = [c["eager_floor_s"] for c in document["best"] if c["keeps"] == "the frames"]
    assert seconds == sorted(seconds)


def test_chunks_keep_the_latents_where_a_streamed_decode_is_too_large(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_streamed(jobs: Any, pool: Any, kind: str) -> dict[str, Any]:
        return {j.key: "refused" if j.memory.decode == "streamed" else imagined(j) for j in jobs}

    monkeypatch.setattr(search, "outcomes", without_streamed)
    document = answer(capsys, "--vram", "7")
    assert {c["keeps"] for c in document["best"]} == {"the latents"}
    assert "memory=model_offload" in document["best"][0]["command"]


def test_what_cannot_fit_before_the_decode_is_not_asked_about_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Job] = []

    def remembering(jobs: Any, pool: Any, kind: str) -> dict[str, Any]:
        asked.extend(jobs)
        return {j.key: imagined(j) for j in asked}

    monkeypatch.setattr(search, "outcomes", remembering)
    answer(capsys, "--vram", "4")
    streamed = [j.memory for j in asked if j.memory.decode == "streamed"]
    assert {(m.offload, m.decode_budget_gib, m.transformer_parts) for m in streamed} == {
        ("group_leaf", 0, None)
    }


def test_one_pool_of_processes_serves_the_whole_search(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pools: list[object] = []
    used: list[object] = []

    @contextlib.contextmanager
    def counted(processes: int) -> Iterator[object]:
        pools.append(object())
        yield pools[-1]

    def remembering(jobs: Any, pool: object, kind: str) -> dict[str, Any]:
        used.append(pool)
        return {j.key: imagined(j) for j in jobs}

    monkeypatch.setattr(search, "simulators", counted)
    monkeypatch.setattr(search, "outcomes", remembering)
    answer(capsys, "--vram", "7")
    assert len(used) > len(pools) == 1
    assert set(used) == set(pools)


def test_what_keeps_nothing_is_the_last_resort(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing" not in {c["keeps"] for c in answer(capsys, "--vram", "4")["best"]}


@pytest.mark.slow
def test_none_fits_and_the_nearest_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit.main(["--vram", "1"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("None of ")
    assert "svdsweep model=svd_xt memory=" in text


def test_what_is_printed_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    fit.main(["--vram", "8", "model=svd"])
    commands = [line for line in capsys.readouterr().out.splitlines() if line.startswith("svdsweep ")]
    assert len(commands) == fit.parser().asked([]).show
    for command in commands:
        (job,) = expand_without_weights(command.split()[1:]).jobs
        assert job.num_frames == 14


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--vram", "much"],
        ["--vram", "-3"],
        ["--vram", "8", "--show", "1.5"],
        ["--vram", "8", "memory=fp8"],
        ["--vram", "8", "decode_chunk_size=2"],
        ["--vram", "8", "num_frames=7,14"],
        ["--vram", "8", "--frob"],
    ],
)
def test_wrong_input_is_a_sentence(argv: list[str]) -> None:
    with pytest.raises(UserError):
        fit.main(argv)


def test_measuring_wants_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("svdsweep.probes.devices.discover", lambda _: ["cpu"])
    with pytest.raises(UserError, match="GPU"):
        fit.main(["--vram", "8", "--measure"])
