"""`svdsweep fit --vram … --seconds …`: what fits both, what takes fewer steps, and the nearest on each side."""

import json

import pytest

from svdsweep import cli
from svdsweep.commands import fit, fit_measured
from svdsweep.errors import UserError
from svdsweep.grid.expand import expand, expand_without_weights
from svdsweep.memory.per_run import unet_calls_of
from svdsweep.predict import search
from svdsweep.predict.gpus import gpu_named
from svdsweep.predict.prediction import Kernel, Prediction, Stage
from svdsweep.store.rows import Row, Store

A_SECOND = int(gpu_named("rtx4090").float16_tflops * 1e12)
WEIGHTS_GIB = {"none": 4.0, "model": 3.0, "group_leaf": 0.2, "group_block": 0.4, "sequential": 0.1}
PACE = {"none": 1, "model": 2, "group_leaf": 3, "group_block": 4, "sequential": 9}


def imagined(job):
    """A second a call, half of it without guidance, times the pace of the offload; a second of decode, or two in
    halves. The decode of all frames holds 10 GiB, in chunks 2."""
    m = job.memory
    pace = PACE[m.offload]
    half = 1 if m.guidance else 2
    chunked = job.frames_per_decode < job.num_frames
    held = {"denoise": 4.0, "vae_decode": 2.0 if chunked or m.decode == "streamed" else 10.0}
    slow = m.decode == "streamed"
    work = {
        "denoise": Kernel("float16", A_SECOND * pace // half, 1, unet_calls_of(job)),
        "vae_decode": Kernel("float16", A_SECOND // 2, 1, 4 if slow else 2),
    }
    return Prediction(
        {
            n: Stage(WEIGHTS_GIB[m.offload] + gib, 0.1, "", "", [], [work[n]], 0.0, 0.0)
            for n, gib in held.items()
        }
    )


@pytest.fixture(autouse=True)
def no_simulation(monkeypatch):
    monkeypatch.setattr(search, "outcomes", lambda jobs, pool, kind: {j.key: imagined(j) for j in jobs})


def asked(capsys, vram, seconds, *more):
    argv = ["--vram", str(vram), "--seconds", str(seconds), "--gpu", "rtx4090", "--json", *more]
    assert fit.main(argv) == 0
    return json.loads(capsys.readouterr().out)


def test_what_fits_memory_and_time_in_all_its_steps_is_the_answer(capsys):
    best = asked(capsys, 80, 27)["best"][0]
    assert (best["keeps"], best["unet_calls"]) == ("the frames", 25)
    assert best["eager_floor_s"] == pytest.approx(26)


def test_what_is_too_slow_takes_as_many_steps_as_the_time_has_room_for(capsys):
    document = asked(capsys, 80, 12.5)
    best = document["best"][0]
    assert (best["keeps"], best["unet_calls"]) == ("a likeness", 11)
    assert "memory.denoise_steps=11 memory.sigmas=ays" in best["command"]
    assert document["best"] == [c for c in document["best"] if c["eager_floor_s"] <= 12.5]


def test_what_is_printed_can_be_typed_and_is_what_was_predicted(capsys):
    best = asked(capsys, 10, 12.5)["best"][0]
    (job,) = expand_without_weights(best["command"].split()[1:]).jobs
    assert unet_calls_of(job) == best["unet_calls"]
    assert job.memory.sigmas == "ays"


def test_a_decode_without_seams_goes_before_a_call_more(capsys):
    best = asked(capsys, 10, 12.5, "--show", "9")["best"]
    assert "memory.decode=streamed" in best[0]["command"]
    calls = {c["unet_calls"] for c in best}
    assert best[0]["unet_calls"] == 10
    assert 11 in calls


def test_guidance_is_left_out_only_where_the_least_calls_are_too_slow(capsys):
    assert {c["keeps"] for c in asked(capsys, 80, 5.5)["best"]} == {"a likeness"}
    best = asked(capsys, 80, 4.5)["best"][0]
    assert best["keeps"] == "nothing"
    assert "memory.guidance=false" in best["command"]
    assert best["unet_calls"] == 7


def test_the_nearest_on_each_side_is_told_where_nothing_fits_both(capsys):
    """8 GiB holds no more than model_offload, which takes two seconds a call."""
    assert fit.main(["--vram", "8", "--seconds", "4", "--gpu", "rtx4090"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Nothing of ")
    assert "is within 8 GiB and 4 s." in said
    assert "8 GiB takes 5.0 s or more (keeps nothing, 4 calls of the UNet)" in said
    assert "4 s takes 8.90 GiB (keeps nothing, " in said
    assert said.count("svdsweep model=svd_xt") == 2
    assert "no run can take less" in said
    document = asked(capsys, 8, 4)
    assert document["best"] == []
    assert document["nearest_in_memory"]["eager_floor_s"] == pytest.approx(5)
    assert document["nearest_in_time"]["needed_vram_gib"] == pytest.approx(8.9)


@pytest.mark.parametrize(
    ("vram", "seconds", "told"),
    [
        (80, 0.5, "No combination takes 0.5 s; the fastest takes 3.0 s or more"),
        pytest.param(2, 99, "No combination fits 2 GiB; the nearest needs", marks=pytest.mark.slow),
    ],
)
def test_one_side_that_nothing_reaches_is_told_as_such(capsys, vram, seconds, told):
    fit.main(["--vram", str(vram), "--seconds", str(seconds), "--gpu", "rtx4090"])
    assert told in capsys.readouterr().out


@pytest.fixture
def presets(tmp_path):
    """Two of fewer steps, as `tune` writes them, and one that does something else."""
    folder = tmp_path / "presets" / "memory"
    folder.mkdir(parents=True)
    (folder / "tuned_6.yaml").write_text(
        "# found\nname: tuned_6\ndenoise_steps: 6\nsigmas: ays\n", encoding="utf-8"
    )
    (folder / "cached.yaml").write_text("name: c\nstep_cache: linear\ndenoise_steps: 9\n", encoding="utf-8")
    (folder / "other.yaml").write_text(
        "name: other\nvae_dtype: float16\ndenoise_steps: 7\n", encoding="utf-8"
    )
    return str(folder.parent)


def test_presets_of_fewer_steps_are_candidates_under_any_strategy(capsys, presets):
    best = asked(capsys, 80, 7.5, "--config-dir", presets, "--show", "99")["best"]
    tuned = [c for c in best if "memory=tuned_6" in c["command"]]
    assert best[0] == tuned[0]
    assert tuned[0]["unet_calls"] == 6
    assert f"svdsweep --config-dir {presets} " in tuned[0]["command"]
    assert not any("memory=other" in c["command"] for c in best)
    assert any(
        "memory=cached" in c["command"] for c in asked(capsys, 80, 10.5, "--config-dir", presets)["best"]
    )
    offloaded = asked(capsys, 8, 14, "--config-dir", presets, "--show", "99")["best"]
    command = next(c["command"] for c in offloaded if "memory=tuned_6" in c["command"])
    (job,) = expand_without_weights(command.split()[3:], presets).jobs
    assert (job.memory.offload, unet_calls_of(job)) == ("model", 6)


def test_noise_levels_that_the_job_names_stay(capsys):
    best = asked(capsys, 80, 12.5, "model.sigmas=ays")["best"][0]
    assert "memory.denoise_steps=11 " in best["command"]
    assert "memory.sigmas" not in best["command"]


@pytest.mark.parametrize("seconds", ["much", "0", "-3", "nan", "1e9"])
def test_wrong_seconds_are_a_sentence(seconds):
    with pytest.raises(UserError, match=r"--seconds .* is not possible"):
        fit.main(["--vram", "8", "--seconds", seconds])


@pytest.fixture
def card(monkeypatch, tmp_path):
    """A GPU on which each run takes twice its floor; what was run."""
    ran = []

    def run(settings, config_dir):
        small = [s for s in settings if not s.startswith("model=")]
        grid = expand([*small, "num_inference_steps=25"], config_dir)
        monkeypatch.setattr(fit_measured, "expand", lambda *_: grid)
        (job,) = grid.jobs
        ran.append(job)
        seconds = 2 * (1.0 * unet_calls_of(job) + 1)
        Store(grid.folder).append(
            Row(job, "ok", values={"vram_allocated_peak_gib": 7.25, "total_s": seconds})
        )
        return 0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("svdsweep.commands.run.run", run)
    monkeypatch.setattr(fit_measured, "discover", lambda _: ["GPU-1"])
    return ran


def test_where_all_measured_are_too_slow_a_second_search_asks_for_as_much_less(card, capsys):
    argv = ["fit", "--vram", "80", "--seconds", "12", "--gpu", "rtx4090", "--measure", "--show", "1"]
    assert cli.main(argv) == 0
    said = capsys.readouterr().out
    assert [unet_calls_of(job) for job in card] == [11, 5]
    assert "24.0 s measured, too slow, 12.0 s at least by prediction" in said
    assert "12.0 s measured, in time, 6.0 s at least" in said
    assert said.splitlines()[-1].startswith(
        "Measured, within 80 GiB and 12 s: svdsweep model=svd_xt memory=baseline"
    )
    assert all(job.gpu.memory_limit_gib == 80 for job in card)


def test_measured_json_is_one_document(card, capsys):
    document = asked(capsys, 80, 60, "--measure", "--show", "1")
    assert [(m["memory_holds"], m["time_holds"], m["total_s"]) for m in document["measured"]] == [
        (True, True, 52.0)
    ]


def test_where_even_the_second_is_too_slow_it_is_said(card, capsys):
    assert (
        cli.main(["fit", "--vram", "80", "--seconds", "3.2", "--gpu", "rtx4090", "--measure", "--show", "1"])
        == 0
    )
    assert "none of these is within 80 GiB and 3.2 s; the fastest took" in capsys.readouterr().out
