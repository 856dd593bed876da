"""A command line becomes the jobs that Hydra itself would compose, each once, and all are checked before any runs."""

import dataclasses
import re
from pathlib import Path

import PIL.Image
import pytest
import torch
from hydra import compose
from omegaconf import OmegaConf
from settings import SETTINGS, with_another

from svdsweep import images
from svdsweep.config import Job, job_from
from svdsweep.config.keys import digest
from svdsweep.config.rules import typed
from svdsweep.errors import UserError
from svdsweep.grid.expand import _product, expand, expand_without_weights
from svdsweep.grid.jobs import NOT_IN_BASELINE, Points
from svdsweep.grid.presets import CONF, configs, reason_of
from svdsweep.store.columns import varying


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


def test_combinations_that_are_one_job_are_told(tmp_path):
    PIL.Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
    PIL.Image.new("RGB", (64, 64), "red").save(tmp_path / "b.png")
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    assert expand([f"image={a},{b}", "seed=1,2"]).warnings == [
        f"2 combinations are the same job as another and run once: image={b} is image={a}. "
        "Pictures of equal content are one picture."
    ]
    assert expand(["memory=baseline,chunked_decode", "decode_chunk_size=1"]).warnings == [
        "1 combination is the same job as another and runs once: memory=chunked_decode is memory=baseline. "
        "What is typed replaces what a preset sets."
    ]
    (twice,) = expand(["seed=1,1", "fps=5,6"]).warnings
    assert twice.startswith("2 combinations are")
    assert twice.endswith("a value stands twice.")
    for name in "cdef":
        PIL.Image.new("RGB", (64, 64), "red").save(tmp_path / f"{name}.png")
    (many,) = expand([f"image={tmp_path}"]).warnings
    assert many.startswith("5 combinations are")
    assert many.count(".png is image=") == 3
    assert "; …. Pictures" in many
    assert expand(["seed=1,2"]).warnings == []


def test_a_swept_setting_that_a_strategy_decides_itself_is_told():
    told = expand(["memory=baseline,ten_steps,no_guidance", "num_inference_steps=2,3"]).warnings
    assert told == [
        "num_inference_steps is swept, but memory=ten_steps decides that itself (10): "
        "its jobs along num_inference_steps are alike."
    ]
    (told,) = expand(["memory=ten_steps,no_guidance", "max_guidance_scale=2,3"]).warnings
    assert "memory=no_guidance decides that itself (off)" in told
    assert expand(["memory=ten_steps,no_guidance", "fps=5,6"]).warnings == []


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("seed=range(0,1000000000)", "This grid has 1,000,000,000 jobs; a sweep may have 1,000,000"),
        ("seed=range(3,1)", "that holds no value"),
        ("seed=range(0,3,0)", "a step other than 0"),
        ("seed=1,range(3)", "stands alone, not in a list"),
        ("noise_aug_strength=range(0,1,1e-9)", "1,000,000,000 jobs"),
    ],
)
def test_a_range_is_a_list_of_a_length_that_can_be_run(argument, told):
    with pytest.raises(UserError, match=re.escape(told)):
        expand([argument])


def test_axes_that_multiply_to_more_than_can_be_run_are_refused_at_once():
    with pytest.raises(UserError, match="This grid has 3,998,000 jobs"):
        expand(["seed=range(2000)", "fps=range(1,2000)"])


def test_a_list_of_noise_levels_is_one_value_and_says_how_many_steps_there_are():
    grid = expand(["model.scheduler=euler,heun", "model.sigmas=karras,[700,50,5,0]", "num_inference_steps=9"])
    asked = [(j.model.scheduler, j.model.sigmas, j.num_inference_steps) for j in grid.jobs]
    levels = (700.0, 50.0, 5.0, 0.0)
    assert asked == [(s, *of) for s in ("euler", "heun") for of in (("karras", 9), (levels, 3))]
    assert len({job.pipeline_key for job in grid.jobs}) == 1, "a scheduler is no reason to load again"
    assert {job.model.name for job in grid.jobs} == {"tiny"}, "columns of their own tell them apart"
    assert [job_from(dataclasses.asdict(job)).key for job in grid.jobs] == [job.key for job in grid.jobs]


def test_animatelcms_scheduler_without_weights_for_it_is_told():
    (told,) = expand(["model.scheduler=animatelcm"]).warnings
    assert "model=animatelcm_svd_xt" in told
    assert not expand_without_weights(["model=animatelcm_svd_xt"]).warnings


def test_seeds_that_draw_the_same_noise_are_told():
    def noise(seed):
        return torch.randn(3, generator=torch.Generator("cpu").manual_seed(seed)).tolist()

    assert noise(7) == noise(2**32 + 7) != noise(8)
    (told,) = expand([f"seed=7,8,{2**32 + 7}"]).warnings
    assert told.startswith("seed=7 and seed=4294967303 start from equal noise")
    assert expand(["seed=7,8"]).warnings == []


def test_a_seed_may_be_as_large_as_torch_takes_and_a_larger_one_is_refused_by_that_number():
    largest = 2**64 - 1
    torch.Generator("cpu").manual_seed(largest)
    with pytest.raises((ValueError, RuntimeError)):
        torch.Generator("cpu").manual_seed(largest + 1)
    assert expand([f"seed={largest}"]).jobs[0].seed == largest
    with pytest.raises(UserError, match=f"allowed is 0–{largest}"):
        expand([f"seed={largest + 1}"])


def test_jobs_of_a_grid_are_called_by_different_names(tmp_path):
    for folder, colour in (("x", "red"), ("y", "blue")):
        (tmp_path / folder).mkdir()
        PIL.Image.new("RGB", (8, 8), colour).save(tmp_path / folder / "1.png")
    grid = expand([f"image={tmp_path}/x/1.png,{tmp_path}/y/1.png"])
    assert [job.image.name for job in grid.jobs] == ["x/1", "y/1"]


def test_duplicates_are_removed_and_order_is_kept():
    assert [j.seed for j in expand(["seed=2,1,2,1"]).jobs] == [2, 1]


def test_the_same_command_finds_the_same_folder_and_another_grid_another():
    a, b, c = expand(["seed=1,2"]), expand(["seed=2,1"]), expand(["seed=1,3"])
    assert a.name == b.name != c.name
    assert a.name == f"sweep-{digest(sorted(job.key for job in a.jobs))[:8]}"
    assert a.folder == Path("runs") / a.name
    named = expand(["seed=1", "fps=7,8", "name='study.ä_+-1'", "runs_dir=elsewhere"])
    assert named.folder == Path("elsewhere/study.ä_+-1")
    assert expand(["runs_dir=1,[2]"]).folder.parent == Path("1,[2]")
    assert named.axes == {"fps": ["7", "8"]}
    assert a.axes == {"seed": ["1", "2"]}


def test_a_knob_at_its_default_leaves_the_baseline_its_name():
    jobs = expand(["memory=baseline,ten_steps", "memory.denoise_steps=null,4"]).jobs
    assert [job.memory.name for job in jobs][:2] == ["baseline", "baseline+denoise_steps=4"]
    assert {job.baseline for job in jobs} == {jobs[0].key}


def test_every_job_knows_its_baseline():
    grid = expand(["memory=baseline,under_8gb", "seed=0,1"])
    baseline = {j.seed: j.key for j in grid.jobs if j.memory.name == "baseline"}
    assert all(j.baseline == baseline[j.seed] for j in grid.jobs)


def test_a_baseline_has_every_setting_of_its_job_but_the_strategys_and_the_cards(monkeypatch):
    for name in ("resolve", "with_decoder"):
        monkeypatch.setattr(f"svdsweep.grid.jobs.{name}", lambda model: model)
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
            if job.baseline != (usual if name.startswith(NOT_IN_BASELINE) else alike).key:
                astray.append(name)
            assert alike.key != usual.key, name
    assert not astray


def _value(part, name):
    for word in name.split("."):
        part = getattr(part, word)
    return part


def test_another_decoder_is_compared_with_the_true_decode_of_the_same_settings():
    grid = expand(["model.decoder=temporal,taesd", "memory=baseline,under_8gb", "decode_chunk_size=all"])
    names = ["baseline", "under_8gb", "baseline+decoder=taesd", "under_8gb+decoder=taesd"]
    assert [job.memory.name for job in grid.jobs] == names
    assert {job.baseline for job in grid.jobs} == {grid.jobs[0].key}
    assert {job.model.name for job in grid.jobs} == {"tiny"}
    assert varying(grid.jobs) == ["memory"]


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
    (twice,) = expand(["memory=under_8gb", "memory.offload=none", "memory.compile=whole", "seed=1"]).jobs
    assert twice.memory.name == "under_8gb+offload=none+compile=whole"
    (named,) = expand(["memory.offload=none", "memory.name=mine"]).jobs
    assert named.memory.name == "mine"


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
    by_file = expand([f"image='{tmp_path}/a.png'"]).jobs
    by_folder = expand([f"image='{tmp_path}'"]).jobs
    by_glob = expand([f"image='{tmp_path}/*.png',rocket"]).jobs
    assert [j.image.name for j in by_file] == ["a"]
    assert [j.image.name for j in by_folder] == ["a", "b"]
    assert [j.image.name for j in by_glob] == ["a", "b", "rocket"]
    assert by_file[0].image.sha256 == images.identify(tmp_path / "a.png")


def test_a_moved_picture_is_the_same_job_and_a_changed_one_another(tmp_path):
    PIL.Image.new("RGB", (80, 60), "red").save(tmp_path / "a.png")
    PIL.Image.new("RGB", (80, 60), "red").save(tmp_path / "b.png")
    PIL.Image.new("RGB", (80, 60), "blue").save(tmp_path / "c.png")
    a, c = expand([f"image='{tmp_path}/a.png','{tmp_path}/b.png','{tmp_path}/c.png'"]).jobs
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
    (job,) = expand_without_weights(["memory=mine"], str(tmp_path)).jobs
    assert job.memory.name == "mine"


FORM = (
    "Settings have the form key=value, lists are a=1,2,3; values with blanks, brackets or umlauts stand in quotes, "
    "key=\"'a b'\"."
)
EXPERIMENTS = "Allowed is decode_chunk, docs_claims, equal_calls, memory_showdown, motion, noise_aug."


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["motion_bucket_id=300"],
            "motion_bucket_id=300 is outside its range: allowed is 0–255. Amount of motion asked for.",
        ),
        (
            ["motion_bucket_id=60,abc"],
            "motion_bucket_id=abc is not possible: allowed is a whole number (0–255). Amount of motion asked for.",
        ),
        (
            ["noise_aug_strength=x"],
            "noise_aug_strength=x is not possible: allowed is a number (≥ 0). Noise added to the conditioning image: "
            "more motion, less likeness.",
        ),
        (
            ["memory.compile_vae=3x"],
            "memory.compile_vae=3x is not possible: allowed is true or false. Compile the VAE's decoder too.",
        ),
        (
            ["decode_chunk_size=1.5"],
            "decode_chunk_size=1.5 is not possible: allowed is a whole number (≥ 1 frames or all, auto). Frames",
        ),
        (["name=[1]"], "name=[1] is not possible: allowed is text. Name of the sweep"),
        (["runner=nonexistent"], "runner=nonexistent: no such runner. Allowed is local, ray, slurm."),
        (["metrics=fst"], "metrics=fst: no such metrics. Allowed is fast, full, none, perceptual. Did"),
        (
            ["image=rockt"],
            "image=rockt: no such image. Allowed is astronaut, chelsea, coffee, rocket, sprite_pair, sprite_right, "
            "sprite_up, sprite_white. A path, folder or glob works too. Did you mean rocket?",
        ),
        (
            ["image=missing.png"],
            "image=missing.png: there is no such file. Give a picture (.png, .jpg, .jpeg, .webp, .bmp, .tif, .tiff), a "
            "folder or a glob of them.",
        ),
        (
            ["seeed=1"],
            "seeed is no setting of svdsweep. Did you mean seed? The most used are motion_bucket_id, seed, "
            "noise_aug_strength, fps, num_frames, decode_chunk_size, memory, model and image; `svdsweep --help` "
            "lists all.",
        ),
        (
            ["num_frames=1"],
            "num_frames=1 with max_guidance_scale=1.25 is not possible: diffusers spreads guidance",
        ),
        (
            ["height=100"],
            "height=100 is outside its range: allowed is ≥ 8 px, a multiple of 8 or auto. Height of the "
            "video. `auto`: by the picture's shape.",
        ),
        (["seed=1 2,"], f"seed=1 2,: mismatched input '<EOF>'. {FORM}"),
        (["seed"], f"seed: that is no setting. {FORM}"),
        (
            ["seed=interval(0,1)"],
            "seed=interval(0,1): an interval has no list of values; use range(start,stop,step).",
        ),
        (["seed=${nothing}"], "Interpolation key 'nothing' not found"),
        (["seed=${seed}"], "Recursive interpolation detected"),
        (["hydra.nothing=1"], "Key 'hydra' not in 'Config'"),
        (
            ["runner.timeout_s=1,2"],
            "runner.timeout_s=1,2: runner.timeout_s holds for the whole sweep; give it one value.",
        ),
        (["name=a,b"], "name=a,b: name holds for the whole sweep; give it one value."),
        (
            ["name=a/b"],
            "name=a/b: a sweep's name is a folder's; allowed are letters, digits and any of . _ + -, "
            "at most 200 bytes.",
        ),
        (
            ["+experiment=[motion,nothing]"],
            f"experiment=nothing: no such experiment. {EXPERIMENTS} Did you mean motion?",
        ),
        (
            ["+experiment=motion,noise_aug"],
            "experiment=motion,noise_aug is not possible: to join the grids of presets, write "
            "+experiment=[motion,noise_aug].",
        ),
        (["+seed=1"], "+seed=1: this setting exists already; leave out the `+`."),
        (["~seed"], "~seed: settings cannot be removed; set them to another value."),
        (
            ["model.source=nowhere"],
            "model.source=nowhere: there is no such folder, and a hub id has the form organisation/name. Allowed is ",
        ),
        (
            ["metrics.families=[temporl]"],
            "metrics.families: there is no family temporl. There are baseline, clip, ",
        ),
        (["seed=range(50)", "motion_bucket_id=range(0,257)"], "motion_bucket_id=256 is outside its range"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_paragraph_that_says_what_is_allowed(arguments, told):
    text = refusal(*arguments)
    assert text.startswith(told)
    assert text == told or not told.endswith((".", "?", "-"))
    assert "\n" not in text


def test_of_hydras_words_only_those_for_its_authors_are_left_out():
    words = "cannot be\n\n    full_key: seed\n  object_type=Job\nreference_type=Job\n  said full_key"
    assert reason_of(ValueError(words)) == "cannot be said full_key"


def test_a_folder_of_presets_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError) as refused:
        expand([], str(tmp_path / "nowhere"))
    assert str(refused.value) == f"--config-dir {tmp_path / 'nowhere'}: there is no such folder."


def test_a_value_may_refer_to_another(tmp_path):
    jobs = expand(["motion_bucket_id=${seed},7", "seed=3,5", "metrics.families=['${memory.name}']"]).jobs
    assert [(job.motion_bucket_id, job.seed) for job in jobs] == [(3, 3), (5, 5), (7, 3), (7, 5)]
    assert jobs[0].metrics.families == ["baseline"]
    plain, chunked = expand(["memory=baseline,under_8gb", "motion_bucket_id=${fps}"]).jobs
    assert (chunked.motion_bucket_id, chunked.baseline) == (7, plain.key)


@pytest.mark.parametrize("typed", ["cuda:0", "xpu:1,cpu", "mps", "MIG-1,GPU-aa", "cuda:0,1"])
def test_devices_are_called_as_torch_calls_them(typed):
    assert expand([f"runner.devices={typed}"]).runner.devices == typed
    assert expand([f"runner.devices='{typed}'"]).runner.devices == typed


def test_devices_are_one_value_not_a_sweep():
    grid = expand(["runner.devices=0,1,3", "seed=0,1"])
    assert grid.runner.devices == "0,1,3"
    assert len(grid.jobs) == 2
    elsewhere = expand(["runner=slurm", "runner.slurm.shards=3", "runner.attempts=5"]).runner
    assert (elsewhere.name, elsewhere.slurm.shards, elsewhere.attempts) == ("slurm", 3, 5)


def test_without_weights_only_the_architecture_of_a_model_matters():
    grid = expand_without_weights(
        ["model=svd_xt", "model.source=nowhere,else", "model.weights=pretrained", "seed=0,1"]
    )
    assert [(job.model.name, job.model.weights, job.seed) for job in grid.jobs] == [
        ("svd_xt", "random", 0),
        ("svd_xt", "random", 1),
    ]


def test_odd_sizes_and_long_videos_are_warned_of():
    grid = expand(["height=64,72", "width=64,96", "num_frames=20,14", "seed=0,1"])
    borders = "The tiny model's networks expect multiples of 16; others run with odd borders."
    assert grid.warnings[-3:] == [
        *(f"{size}: {borders}" for size in ("64×72", "96×72")),
        "num_frames=20: tiny was trained for 14.",
    ]
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
