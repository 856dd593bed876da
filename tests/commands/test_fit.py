import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from foreseen import made_up

from svdsweep.commands import fit, fit_measured
from svdsweep.config import Job, Memory
from svdsweep.errors import UserError
from svdsweep.grid.expand import expand, expand_without_weights
from svdsweep.predict import calibration, search
from svdsweep.predict.allowance import ALLOWANCE
from svdsweep.predict.calibration import Calibration
from svdsweep.predict.gpus import known_gpus
from svdsweep.predict.prediction import Kernel, Prediction, Stage
from svdsweep.store.columns import STAGES
from svdsweep.store.rows import Row, Store

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
    assert {j.decode_chunk_size for j in asked if j.memory.decode == "streamed"} == {"all"}
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
        ["--vram", "0"],
        ["--vram", "8", "memory=fp8"],
        ["--vram", "8", "memory.offload=model"],
        ["--vram", "8", "decode_chunk_size=2"],
        ["--vram", "8", "num_frames=7,14"],
        ["--vram", "8", "--frob"],
    ],
)
def test_wrong_input_is_a_sentence(argv: list[str]) -> None:
    with pytest.raises(UserError):
        fit.main(argv)


def candidate(tmp_path: Path, peak_gib: float, stage: str, tflop: int, **settings: Any) -> search.Candidate:
    """A combination of the tiny model that was predicted so; its allowance is larger in the decode."""
    sweep = ["model=tiny", "num_frames=4", f"runs_dir='{tmp_path}'"]
    wish = search.Wish(8.0, sweep, fit.card_of(8.0), ALLOWANCE, lambda _: [])
    (job,) = expand(sweep).jobs
    job = dataclasses.replace(job, **settings)
    return search.Candidate(wish, job, made_up(peak_gib, stage, flop=tflop * 10**12))


@pytest.fixture
def three(tmp_path: Path) -> list[search.Candidate]:
    """One that keeps the latents; a fast one of the frames with the lower peak; a slow one that needs less."""
    return [
        candidate(tmp_path, 6.0, "denoise", 1, decode_chunk_size=2),
        candidate(tmp_path, 9.9, "vae_decode", 1),
        candidate(tmp_path, 10.0, "denoise", 50, memory=Memory(name="model_offload", offload="model")),
    ]


def test_what_keeps_most_comes_first_then_the_fastest_then_the_smallest(tmp_path: Path) -> None:
    def one(peak_gib: float, tflop: int, **settings: Any) -> search.Candidate:
        return candidate(tmp_path, peak_gib, "denoise", tflop, **settings)

    frames = [one(6.0, 30), one(5.0, 40), one(5.5, 40)]
    latents, too_large = one(3.0, 2, decode_chunk_size=2), one(10.0, 1)
    nothing = [
        one(2.0, 1, memory=Memory(**knobs)) for knobs in ({"guidance": False}, {"unet_weights": "fp8"})
    ]
    assert [c.keeps for c in (*frames, latents, *nothing)] == [search.FRAMES] * 3 + [search.LATENTS] + [
        search.OTHER
    ] * 2
    ranked = search.fitting([*nothing, latents, *frames[::-1], too_large], 8.0)
    assert [(c.prediction.peak_gib, c.prediction.tflop) for c in ranked[:4]] == [
        *((6.0, 90.0), (5.0, 120.0), (5.5, 120.0), (3.0, 6.0))
    ]
    assert {c.command for c in ranked[4:]} == {c.command for c in nothing}


def test_a_whole_decode_may_fit_if_its_activations_do(three: list[search.Candidate]) -> None:
    chunked, whole, _ = three
    decode = dataclasses.replace(whole.prediction.stages["vae_decode"], peak_gib=9.0, weights_gib=5.0)
    whole = dataclasses.replace(whole, prediction=Prediction({"vae_decode": decode}))
    assert [search._frames_possible([chunked, whole], gib) for gib in (4.0, 3.9)] == [True, False]
    assert not search._frames_possible([chunked], 80.0)


@pytest.mark.parametrize(("frames", "chunks"), [(8, "all,2,1"), (9, "all,8,2,1"), (2, "all,1")])
@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_chunks_are_smaller_than_the_clip_and_guidance_is_split_or_left_out_where_there_is_any(
    three: list[search.Candidate], frames: int, chunks: str, guidance: float
) -> None:
    job = dataclasses.replace(three[0].job, num_frames=frames, max_guidance_scale=guidance)
    wish = dataclasses.replace(three[0].wish, jobs_of=lambda _: [job])
    exact, other = (search._space(wish, "baseline", exact) for exact in (True, False))
    assert f"decode_chunk_size={chunks}" in exact
    assert (
        ("memory.split_guidance=false,true" in exact) is ("memory.guidance=false" in other) is (guidance > 1)
    )


def test_what_would_keep_the_frames_is_what_needs_least(three: list[search.Candidate]) -> None:
    chunked, _, least = three
    lines = fit.text(chunked.wish, [chunked], three).splitlines()
    assert lines[1].split()[-6:-2] == ["latents", "6.00", "6.80", "denoise"]
    assert f"To keep the frames takes 11.00 GiB: {least.command}" in lines
    assert [line.partition(":")[0] for line in lines if line.startswith("keeps ")][1:] == [
        "keeps the latents"
    ]
    assert not any(line.startswith("To keep") for line in fit.text(least.wish, [least], three).splitlines())


def test_the_nearest_is_what_needs_least_and_is_told_where_nothing_fits(
    three: list[search.Candidate],
) -> None:
    chunked, light, least = three
    told = fit.text(least.wish, [], [light, least])
    assert "The nearest needs 11.00 GiB (10.00 GiB of live tensors in denoise, " in told
    assert told.endswith(least.command)
    near = fit.plain(least.wish, [], [light, least])["nearest"]
    assert (near["predicted_vram_gib"], near["needed_vram_gib"]) == (10.0, 11.0)
    assert fit.plain(least.wish, [chunked], three)["nearest"] is None


def test_a_card_of_that_size_or_the_next_larger_ranks_and_the_largest_above_all() -> None:
    sizes = sorted({gpu.memory_gib for gpu in known_gpus().values() if gpu.kind == "cuda"})
    assert [fit.card_of(size).memory_gib for size in sizes] == sizes
    assert [fit.card_of(size - 0.1).memory_gib for size in sizes] == sizes
    assert fit.card_of(sizes[-1] + 1).memory_gib == sizes[-1]


@pytest.mark.parametrize("show", [1, 5])
def test_as_many_are_shown_as_asked_for(capsys: pytest.CaptureFixture[str], show: int) -> None:
    assert len(answer(capsys, "--vram", "80", "--show", str(show))["best"]) == show


def test_the_named_gpu_ranks_and_brings_its_own_allowance(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    calibration.write(
        tmp_path / "measured", {"NVIDIA L4": Calibration("NVIDIA L4", 2.25, 1, 1.25, True, 9, 90.0)}
    )
    asked = ["--vram", "80", f"runs_dir='{tmp_path}'"]
    for flags, gpu, beside in ((["--gpu", "l4"], "NVIDIA L4", 2.25), ([], fit.card_of(80).title, None)):
        document = answer(capsys, *asked, *flags)
        best = document["best"][0]
        assert document["gpu"] == gpu
        assert (best["needed_vram_gib"] == best["predicted_vram_gib"] + 2.25) == bool(beside)


def test_measured_tells_each_job_and_fails_if_any_did(
    monkeypatch: pytest.MonkeyPatch, three: list[search.Candidate], capsys: pytest.CaptureFixture[str]
) -> None:
    codes, asked = iter([1, 0, 0]), []

    def run(settings: list[str], config_dir: str | None) -> int:
        grid, code = expand(settings, config_dir), next(codes)
        asked.append(grid)
        if len(asked) < 3:
            peak: dict[str, Any] = {} if code else {"vram_allocated_peak_gib": 7.25}
            Store(grid.folder).append(Row(grid.jobs[0], "failed" if code else "ok", values=peak))
        return code

    monkeypatch.setattr("svdsweep.commands.run.run", run)
    code, _ = fit.measured(dataclasses.replace(three[0].wish, vram_gib=7.5), three)
    assert code == 1
    assert [
        line.partition(":  ")[0].partition(": svdsweep")[0] for line in capsys.readouterr().out.splitlines()
    ] == [
        "failed: no peak measured, 6.00 GiB predicted",
        "ok: 7.25 GiB measured, 9.90 GiB predicted",
        "no row: no peak measured, 10.00 GiB predicted",
    ]
    assert {(grid.name, grid.jobs[0].gpu.memory_limit_gib) for grid in asked} == {("fit-7.5gb", 7.5)}


@pytest.mark.parametrize("setting", ["model.dtype=float32", "model=svd"])
def test_a_setting_of_the_model_leaves_the_usual_one_unless_it_names_another(setting: str) -> None:
    asked = fit.parser().asked(["--vram", "8", setting])
    (job,) = fit.wish_of(asked).jobs_of(fit.wish_of(asked).settings)
    assert job.num_frames == (14 if setting == "model=svd" else 25)


def test_measuring_wants_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_measured, "discover", lambda _: ["cpu"])
    with pytest.raises(UserError, match="GPU"):
        fit.main(["--vram", "8", "--measure"])
