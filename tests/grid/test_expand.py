"""A command line becomes the jobs that Hydra itself would compose, each once, and all are checked before any runs."""

import dataclasses
from pathlib import Path

import PIL.Image
import pytest
from hydra import compose
from omegaconf import OmegaConf
from settings import SETTINGS, with_another

from svdsweep import images
from svdsweep.config import Job
from svdsweep.config.rules import typed
from svdsweep.errors import UserError
from svdsweep.grid.expand import _product, expand
from svdsweep.grid.jobs import Points
from svdsweep.grid.presets import CONF, configs


def refusal(*arguments: str) -> str:
    with pytest.raises(UserError) as refused:
        expand(list(arguments))
    return str(refused.value)


def test_comma_lists_ranges_choices_and_globs_make_the_product_with_the_last_axis_fastest():
    grid = expand(["seed=range(2)", "motion_bucket_id=60,120,180", "noise_aug_strength=choice(0.02,0.1)"])
    assert [(j.seed, j.motion_bucket_id, j.noise_aug_strength) for j in grid.jobs] == [
        (s, m, n) for s in (0, 1) for m in (60, 120, 180) for n in (0.02, 0.1)
    ]
    assert {j.metrics.name for j in expand(["metrics=glob(f*)"]).jobs} == {
        p.stem for p in (CONF / "metrics").glob("f*.yaml")
    }


@pytest.mark.parametrize(
    "line",
    [
        ["seed=3"],
        ["memory=under_8gb", "seed=7", "motion_bucket_id=60"],
        ["memory=under_8gb", "decode_chunk_size=4", "noise_aug_strength=1"],
        ["model=svd_xt", "memory=baseline", "num_frames=14", "model.revision=null"],
        ["image=coffee", "measure.repeats=3", "metrics=none"],
        ["decode_chunk_size=all", "gpu.memory_limit_gib=8"],
        ["seed=5", "motion_bucket_id=${seed}"],
        ["metrics.families=[temporal]", "min_guidance_scale=2", "max_guidance_scale=4"],
    ],
)
def test_a_point_is_what_hydra_composes_for_the_same_line(line):
    with configs() as known:
        point = dict(argument.split("=", 1) for argument in line)
        assert Points(known, []).composed(point) == OmegaConf.to_object(compose("config", line)).job


def test_a_mixed_grid_equals_hydra_at_points_with_each_value_twice():
    axes = {
        "memory": ["baseline", "under_8gb"],
        "seed": ["0", "1"],
        "image": ["rocket", "coffee"],
        "fps": ["7", "14"],
    }
    with configs() as known:
        points = Points(known, [])
        jobs = [(point, points.composed(point)) for point in _product(axes)]
        for point, job in jobs[::5]:
            line = [f"{k}={v}" for k, v in point.items()]
            assert job == OmegaConf.to_object(compose("config", line)).job


def test_duplicates_are_removed_and_order_is_kept():
    assert [j.seed for j in expand(["seed=2,1,2,1"]).jobs] == [2, 1]


def test_the_same_command_finds_the_same_folder_and_another_grid_another():
    a, b, c = expand(["seed=1,2"]), expand(["seed=2,1"]), expand(["seed=1,3"])
    assert a.name == b.name != c.name
    assert expand(["seed=1", "name=study", "runs_dir=elsewhere"]).folder == Path("elsewhere/study")


def test_every_job_knows_its_baseline():
    grid = expand(["memory=baseline,under_8gb", "seed=0,1"])
    baseline = {j.seed: j.key for j in grid.jobs if j.memory.name == "baseline"}
    assert all(j.baseline == baseline[j.seed] for j in grid.jobs)


def test_a_baseline_has_every_setting_of_its_job_but_the_strategys_and_the_cards(monkeypatch):
    monkeypatch.setattr("svdsweep.grid.jobs.resolve", lambda model: model)
    astray = []
    with configs() as known:
        points = Points(known, [])
        plain = {"memory": "baseline", "max_guidance_scale": "9"}
        usual = points.job(plain)
        typed_in = {name: typed(_value(with_another(usual, name), name)) for name in SETTINGS}
        del typed_in["image.sha256"]  # that of the file, whatever one types
        for name, text in {**typed_in, "image": str(images.PACKAGED / "coffee.jpg")}.items():
            strategy = {} if name.startswith("memory.") else {"memory.offload": "model"}
            alike, job = points.job(plain | {name: text}), points.job(plain | strategy | {name: text})
            if job.baseline != (usual if name.startswith(("memory.", "gpu.")) else alike).key:
                astray.append(name)
            assert alike.key != usual.key, name
    assert not astray


def _value(part, name):
    for word in name.split("."):
        part = getattr(part, word)
    return part


def test_the_baseline_keeps_what_was_typed_and_drops_what_the_strategy_brings():
    (job,) = expand(["memory=under_8gb", "motion_bucket_id=60"]).jobs
    (same,) = expand(["memory=baseline", "motion_bucket_id=60"]).jobs
    assert job.decode_chunk_size == 2
    assert job.baseline == same.key
    (chunked,) = expand(["memory=under_8gb", "decode_chunk_size=4"]).jobs
    (whole,) = expand(["memory=baseline", "decode_chunk_size=4"]).jobs
    assert chunked.baseline == whole.key


def test_a_strategy_changed_by_hand_is_named_after_its_changes():
    job, plain = expand(["memory.offload=model,none"]).jobs
    assert job.memory.name == "baseline+offload=model"
    assert plain.key == job.baseline


def test_models_are_pinned_and_images_hashed():
    (job,) = expand([]).jobs
    assert job.model.revision
    assert len(job.image.sha256) == 64


def test_an_image_by_path_by_folder_and_by_glob(tmp_path):
    for name in ("a.png", "b.png", "notes.txt"):
        if name.endswith(".png"):
            PIL.Image.new("RGB", (80, 60), "red" if name == "a.png" else "blue").save(tmp_path / name)
        else:
            (tmp_path / name).write_text("no picture", encoding="utf-8")
    by_file = expand([f"image={tmp_path}/a.png"]).jobs
    by_folder = expand([f"image={tmp_path}"]).jobs
    by_glob = expand([f"image={tmp_path}/*.png,rocket"]).jobs
    assert [j.image.name for j in by_file] == ["a"]
    assert [j.image.name for j in by_folder] == ["a", "b"]
    assert [j.image.name for j in by_glob] == ["a", "b", "rocket"]
    assert by_file[0].image.sha256 == images.identify(tmp_path / "a.png")


def test_a_moved_picture_is_the_same_job_and_a_changed_one_another(tmp_path):
    PIL.Image.new("RGB", (80, 60), "red").save(tmp_path / "a.png")
    PIL.Image.new("RGB", (80, 60), "red").save(tmp_path / "b.png")
    PIL.Image.new("RGB", (80, 60), "blue").save(tmp_path / "c.png")
    a, c = expand([f"image={tmp_path}/a.png,{tmp_path}/b.png,{tmp_path}/c.png"]).jobs
    assert (a.image.name, c.image.name) == ("a", "c")


def test_presets_bring_a_grid_which_the_command_line_narrows_and_widens(tmp_path):
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "# @package _global_\nnoise_aug_strength: 0.3\n"
        "hydra:\n  sweeper:\n    params:\n      seed: range(3)\n      fps: 7,14\n",
        encoding="utf-8",
    )
    (folder / "more.yaml").write_text(
        "# @package _global_\nhydra:\n  sweeper:\n    params:\n      motion_bucket_id: 1,2\n",
        encoding="utf-8",
    )
    grid = expand(["+experiment=mine"], str(tmp_path))
    assert len(grid.jobs) == 6
    assert grid.name == "mine"
    assert {j.noise_aug_strength for j in grid.jobs} == {0.3}
    joined = expand(["+experiment=[mine,more]", "seed=7,8,7", "height=72,80"], str(tmp_path))
    assert len(joined.jobs) == 2 * 2 * 2 * 2
    assert {job.seed for job in joined.jobs} == {7, 8}
    assert joined.name == "mine-more"
    with pytest.raises(UserError, match=r"\+experiment=\[mine,more\]"):
        expand(["+experiment=mine,more"], str(tmp_path))


def test_presets_of_a_users_folder_stand_beside_the_packages(tmp_path):
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "mine.yaml").write_text("name: mine\noffload: model\n", encoding="utf-8")
    names = [j.memory.name for j in expand(["memory=glob([mi*,base*])"], str(tmp_path)).jobs]
    assert names == ["baseline", "mine"]


@pytest.mark.parametrize("preset", sorted(p.stem for p in (CONF / "experiment").glob("*.yaml")))
def test_every_shipped_experiment_expands(preset):
    assert expand([f"+experiment={preset}", "model.weights=random"]).jobs


@pytest.mark.slow
def test_every_shipped_strategy_composes_with_every_model():
    jobs = expand(["memory=glob(*)", "model=glob(*)", "model.weights=random"]).jobs
    strategies = {p.stem for p in (CONF / "memory").glob("*.yaml")}
    models = {p.stem for p in (CONF / "model").glob("*.yaml")} - {
        "svd_xt_1_1"
    }  # without weights it is svd_xt
    assert {(j.memory.name, j.model.name) for j in jobs} == {(s, m) for s in strategies for m in models}


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_preset_begins_with_the_command_that_uses_it(path):
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")
    ]
    assert lines[0].startswith("# python -m svdsweep")
    assert lines[1].startswith("# ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["motion_bucket_id=300"], ["0–255"]),
        (["motion_bucket_id=60,abc"], ["motion_bucket_id=abc", "whole number"]),
        (["memory=nonexistent"], ["baseline"]),
        (["memory=basline"], ["Did you mean baseline?"]),
        (["seeed=1"], ["Did you mean seed?"]),
        (["image=missing.png"], ["no such file"]),
        (["num_frames=1"], ["guidance"]),
        (["height=100"], ["multiple of 8"]),
        (["seed=1 2,"], ["seed=1 2,"]),
        (["seed=interval(0,1)"], ["range("]),
        (["runner.timeout_s=1,2"], ["one value"]),
        (["name=a/b"], ["folder"]),
        (["+experiment=nonexistent"], ["no such experiment"]),
        (["+seed=1"], ["leave out the `+`"]),
        (["~seed"], ["cannot be removed"]),
        (["model.source=nowhere"], ["organisation/name"]),
        (["runner=nonexistent"], ["local"]),
    ],
)
def test_wrong_input_is_one_paragraph_that_says_what_is_allowed(arguments, words):
    text = refusal(*arguments)
    assert all(word in text for word in words)
    assert "\n" not in text


def test_a_wrong_member_of_a_long_list_is_found_before_anything_runs():
    assert "motion_bucket_id=256" in refusal("seed=range(50)", "motion_bucket_id=range(0,257)")


def test_devices_are_one_value_not_a_sweep():
    grid = expand(["runner.devices=0,1,3", "seed=0,1"])
    assert grid.runner.devices == "0,1,3"
    assert len(grid.jobs) == 2


def test_odd_sizes_and_long_videos_are_warned_of():
    assert "multiples of 64" in " ".join(expand(["height=72"]).warnings)
    assert "trained for 14" in " ".join(expand(["num_frames=20"]).warnings)
    assert not expand([]).warnings


@pytest.mark.slow
def test_ten_thousand_jobs_have_ten_thousand_keys():
    grid = expand(["seed=range(2500)", "motion_bucket_id=60,120", "memory=baseline,under_8gb"])
    assert len({job.key for job in grid.jobs}) == 10_000
    assert isinstance(grid.jobs[-1], Job)
    assert dataclasses.asdict(grid.jobs[-1])["seed"] == 2499


def test_a_baseline_keeps_its_frames_only_where_another_job_is_compared_with_it():
    assert {job.baseline for job in expand(["seed=0,1"]).jobs} == {""}
    assert all(job.baseline for job in expand(["seed=0,1", "memory=baseline,under_8gb"]).jobs)


def test_a_strategy_under_a_cap_is_compared_with_the_baseline_without_one():
    capped, whole = expand(["gpu.memory_limit_gib=8,null", "memory=baseline"]).jobs
    assert capped.baseline == whole.key


def test_an_unknown_metric_is_refused_before_anything_runs():
    assert "Did you mean temporal?" in refusal("metrics.families=[temporl]")
