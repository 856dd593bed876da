"""`svdsweep score`: any video or folder of frames, and one clear sentence for what is neither."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clips import Surface, flicker, pan
from PIL import Image

from svdsweep import cli
from svdsweep.commands import score as verb
from svdsweep.commands.score import Judged, lines_table, main, one_table
from svdsweep.metrics import COLUMNS, PACKAGES, Context, score
from svdsweep.store.measurements import Measurements
from svdsweep.worker.media import write_video

SIZE = (96, 128)
HERE = Surface("textured", SIZE)


@pytest.fixture(scope="module")
def frames():
    return pan(HERE, 6, 1).frames


def as_folder(folder, frames, name="frame_{}.png"):
    folder.mkdir(parents=True, exist_ok=True)
    for t, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / name.format(t))
    return folder


def test_a_folder_of_frames_gives_the_metrics_of_the_frames(tmp_path, frames, capsys):
    many = np.concatenate([frames, frames[::-1]])  # eleven and twelve sort after two
    assert main([str(as_folder(tmp_path / "clip", many)), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)[0]
    truth = score(many, Context(), ["temporal", "motion", "fidelity", "seams", "defects"])
    assert document["values"] == pytest.approx(truth.values, nan_ok=True)
    assert document["series"]["motion_px"] == pytest.approx(truth.series["motion_px"])
    assert (document["frames"], document["height"], document["width"]) == (12, 96, 128)


def test_a_video_gives_the_metrics_of_its_frames_within_what_compression_costs(tmp_path, frames, capsys):
    for name, clip in {"pan": frames, "flicker": flicker(pan(HERE, 6, 1), 8).frames}.items():
        write_video(tmp_path / f"{name}.mp4", clip, 7)
        assert main([str(tmp_path / f"{name}.mp4"), "--json"]) == 0
        read = json.loads(capsys.readouterr().out)[0]["values"]
        truth = score(clip, Context(), ["temporal", "motion", "fidelity"]).values
        assert read["motion_px"] == pytest.approx(truth["motion_px"], rel=0.02)
        assert read["mc_flicker_255"] == pytest.approx(truth["mc_flicker_255"], abs=0.8)
        assert read["luma_flicker_255"] == pytest.approx(truth["luma_flicker_255"], abs=0.3)
        assert read["adj_psnr_db"] == pytest.approx(truth["adj_psnr_db"], abs=0.5)
        assert read["adj_ssim"] == pytest.approx(truth["adj_ssim"], abs=0.02)
        assert read["flow_accel_px"] == pytest.approx(truth["flow_accel_px"], abs=0.3)
        assert read["sharpness_mean"] == pytest.approx(truth["sharpness_mean"], abs=12)


def test_a_video_has_all_its_frames_and_their_colours(tmp_path):
    """The matrix and the range are those that the file names: a wrong one shifts colours by tens of levels."""
    from svdsweep.metrics.shared.files import read

    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [250, 250, 250], [5, 5, 5]], np.uint8)
    frames = np.broadcast_to(colours[:, None, None], (5, *SIZE, 3))
    write_video(tmp_path / "colours.mp4", frames, 3)
    clip = read(tmp_path / "colours.mp4", 99)
    assert clip.frames.shape == frames.shape
    assert not clip.cut_short
    assert np.abs(clip.frames.astype(int) - frames).max() <= 3


def test_the_image_is_cropped_to_the_video(tmp_path, frames, capsys):
    Image.fromarray(frames[0]).save(tmp_path / "image.png")
    folder = as_folder(tmp_path / "clip", frames)
    assert main([str(folder), "--image", str(tmp_path / "image.png"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["values"]["first_psnr_db"] == 100


def test_one_clip_is_told_metric_by_metric(tmp_path, frames, capsys):
    assert main([str(as_folder(tmp_path / "clip", frames))]) == 0
    out = capsys.readouterr().out
    assert "6 frames, 128×96" in out
    assert "mc_flicker_255" in out
    assert "px/frame" in out
    assert "note: no conditioning image" in out


def test_several_clips_have_a_line_each(tmp_path, frames, capsys):
    for name in ("a", "b"):
        write_video(tmp_path / "videos" / f"{name}.mp4", frames, 7)
    assert main([str(tmp_path), str(as_folder(tmp_path / "c", frames))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["clip", "frames", "mc_flicker_255", "motion_px"]
    assert len([line for line in lines if " 6 " in line]) == 3


def test_lpips_without_weights_is_said_not_guessed(tmp_path, frames, capsys, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    assert main([str(as_folder(tmp_path / "clip", frames)), "--metrics", "full", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)[0]
    assert document["values"]["lpips_adj"] is None
    assert any("put https://" in note for note in document["notes"])


def test_a_long_video_is_cut_and_says_so(tmp_path, frames, capsys):
    assert main([str(as_folder(tmp_path / "clip", frames)), "--frames", "4", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)[0]
    assert document["frames"] == 4
    assert any("first 4 frames" in note for note in document["notes"])


def mixed(folder, frames):
    as_folder(folder, frames)
    Image.fromarray(frames[0]).resize((64, 64)).save(folder / "frame_9.png")


def grey(folder, frames):
    as_folder(folder, [np.asarray(Image.fromarray(f).convert("L")) for f in frames])


def transparent(folder, frames):
    as_folder(folder, [np.asarray(Image.fromarray(f).convert("RGBA")) for f in frames])


def broken_picture(folder, frames):
    as_folder(folder, frames)
    (folder / "frame_3.png").write_bytes(b"no picture")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder, frames: as_folder(folder, frames[:1]), "only one frame"),
        (mixed, "64×64 and the first is 128×96"),
        (grey, "grey"),
        (transparent, "RGBA"),
        (broken_picture, "cannot be read as a picture"),
        (lambda folder, frames: folder.mkdir(), "holds neither pictures"),
        (lambda folder, frames: None, "no such file"),
        (lambda folder, frames: folder.write_bytes(b""), "is empty"),
        (lambda folder, frames: folder.write_bytes(b"\0" * 5000), "cannot be read as a video"),
        (lambda folder, frames: as_folder(folder, frames[:, :4]), "at least 8 px"),
    ],
    ids=["one", "sizes", "grey", "rgba", "broken", "nothing", "absent", "empty", "no video", "tiny"],
)
def test_bad_input_is_one_sentence(tmp_path, frames, capfd, make, sentence):
    make(tmp_path / "bad", frames)
    assert main([str(tmp_path / "bad")]) == 2
    out, error = capfd.readouterr()
    assert out == ""
    assert sentence in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (np.zeros_like, "All 6 frames are black. Such a clip wins every comparison"),
        (lambda frames: np.concatenate([frames[:3], np.full_like(frames[3:], 90)]), "3 of 6 frames are of one colour."),
        (lambda frames: np.repeat(frames[:1], 6, 0), "All 6 frames are the same."),
    ],
    ids=["black", "half of them flat", "frozen"],
)  # fmt: skip
def test_a_clip_that_is_no_video_is_told_first(tmp_path, frames, capsys, make, told):
    assert main([str(as_folder(tmp_path / "clip", make(frames)))]) == 0
    first = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("note: "))
    assert first.startswith(f"note: {told}")


def test_a_file_may_have_a_name_like_a_flag(tmp_path, frames, capsys, monkeypatch):
    write_video(tmp_path / "-dash.mp4", frames, 7)
    monkeypatch.chdir(tmp_path)
    assert main(["-dash.mp4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["frames"] == 6


def test_a_truncated_video_is_one_sentence(tmp_path, frames, capfd):
    write_video(tmp_path / "whole.mp4", frames, 7)
    (tmp_path / "half.mp4").write_bytes((tmp_path / "whole.mp4").read_bytes()[:900])
    assert main([str(tmp_path / "half.mp4")]) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_one_bad_clip_does_not_hide_the_others(tmp_path, frames, capsys):
    good = as_folder(tmp_path / "good", frames)
    assert main([str(tmp_path / "absent"), str(good)]) == 2
    captured = capsys.readouterr()
    assert "6 frames" in captured.out
    assert "no such file" in captured.err


@pytest.mark.parametrize(
    "flags",
    [["--frames", "1"], ["--threads", "0"], ["--decode-chunk-size", "0"], ["--device", "cuda:99"]],
    ids=lambda flags: flags[0],
)
def test_impossible_flags_are_one_sentence(tmp_path, frames, capsys, flags):
    assert cli.main(["score", str(as_folder(tmp_path / "clip", frames)), *flags]) == 2
    assert flags[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (lambda f: f / np.float32(255), "must be uint8"),
        (lambda f: f[..., 0], "grey"),
        (lambda f: f[..., :1], "grey"),
        (lambda f: np.concatenate([f, f[..., :1]], -1), "not RGB"),
        (lambda f: f[:0], "no frames"),
    ],
    ids=["floats", "grey", "one channel", "rgba", "none"],
)
def test_arrays_that_are_no_clip_are_refused(frames, bad, sentence):
    from svdsweep.errors import UserError

    with pytest.raises(UserError, match=sentence):
        score(bad(frames), Context(), ["temporal"])


def test_an_image_of_another_size_is_refused(frames):
    from svdsweep.errors import UserError

    with pytest.raises(UserError, match="conditioning image is 64×64"):
        score(frames, Context(image=frames[0][:64, :64]), ["fidelity"])


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_frames_leave_empty_what_needs_more(frames, count):
    families = ["temporal", "motion", "fidelity", "seams", "defects"]
    scores = score(frames[:count], Context(image=frames[0]), families)
    assert scores.values["mc_flicker_255"] is None
    assert (scores.values["adj_psnr_db"] is None) == (count == 1)
    assert scores.values["first_psnr_db"] == 100
    assert scores.notes


def test_frames_smaller_than_the_windows_leave_ssim_empty(frames):
    small = np.ascontiguousarray(frames[:, :8, :8])
    values = score(small, Context(image=small[0]), ["temporal", "motion", "fidelity"]).values
    assert values["adj_ssim"] is None
    assert values["adj_mae_255"] > 0
    json.dumps(values, allow_nan=False)


def test_an_unknown_family_is_refused_with_the_nearest(frames):
    from svdsweep.errors import UserError

    with pytest.raises(UserError, match="Did you mean temporal"):
        score(frames, Context(), ["temporel"])
    with pytest.raises(UserError, match="cannot be imported"):
        score(frames, Context(), ["my.own"])


def test_a_family_of_the_users_own_is_used_by_import_path(tmp_path, frames, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").touch()
    (tmp_path / "mine" / "brightness.py").write_text(
        "from svdsweep.metrics import Measurements\n\n\ndef score(footage, context):\n"
        "    return Measurements(values={'mean_255': float(footage.frames.mean())})\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert score(frames, Context(), ["mine.brightness"]).values["mean_255"] == pytest.approx(frames.mean())


def test_the_catalogue_needs_no_torch():
    code = "import sys, svdsweep.metrics as m; print(len(m.COLUMNS), 'torch' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True, env=os.environ
    )
    count, with_torch = run.stdout.split()
    assert int(count) == len(COLUMNS) > 35
    assert with_torch == "False"


def test_every_preset_names_families_that_exist_and_columns_that_are_known(frames):
    from omegaconf import OmegaConf

    from svdsweep.config import Metrics
    from svdsweep.grid.presets import CONF

    presets = {p.stem: list(OmegaConf.load(p).families) for p in (CONF / "metrics").glob("*.yaml")}
    assert presets["none"] == []
    assert presets["fast"] == Metrics().families
    assert set(presets["fast"]) < set(presets["full"])
    scores = score(frames, Context(image=frames[0], reference=frames), presets["full"])
    of_extras = {name for name in COLUMNS if name.startswith(tuple(PACKAGES))}
    assert set(scores.values) == set(COLUMNS) - of_extras
    assert set(presets["perceptual"]) == set(presets["fast"]) | set(PACKAGES)
    json.dumps([scores.values, scores.series], allow_nan=False)


def test_a_table_of_clips_has_each_headline_of_each_clip_in_its_place():
    names = ("sharpness_mean", "motion_px", "warp_psnr_db", "adj_ssim")
    clips = [
        Judged(
            Path(f"{name}.mp4"),
            frames,
            64,
            96,
            Measurements(dict(zip(names, values, strict=True)), notes=["cut"]),
        )
        for name, frames, values in (("a", 6, (9.0, 2.0, None, 0.5)), ("b", 7, (8.0, None, None, 0.25)))
    ]
    assert lines_table(clips).splitlines() == [
        "clip   frames  motion_px  adj_ssim  sharpness_mean",
        "a.mp4       6          2       0.5               9",
        "b.mp4       7          -      0.25               8",
        "note: a.mp4: cut",
        "note: b.mp4: cut",
    ]


def test_a_clips_table_tells_value_unit_merit_and_meaning():
    values = {"motion_px": 2.0, "mc_flicker_255": 1.25, "flow_method": "lk", "first_psnr_db": None}
    text = one_table(Judged(Path("a.mp4"), 6, 64, 96, Measurements(values, notes=["cut"])))
    head, header, *lines = text.splitlines()
    assert (head, header.split()) == (
        "a.mp4: 6 frames, 96×64",
        ["metric", "value", "unit", "better", "what", "it", "is"],
    )
    assert lines[0].split()[:3] == ["motion_px", "2", "px/frame"]
    assert lines[1].split()[1] == "1.25"
    assert lines[1].split(COLUMNS["mc_flicker_255"].unit, 1)[1].split()[0] == COLUMNS["mc_flicker_255"].better
    assert lines[2:] == ["flow_method: lk", "note: cut"]


def test_every_flag_reaches_the_metrics(tmp_path, frames, monkeypatch, capsys):
    heard = {}

    def listen(clip, context, families):
        heard.update(frames=len(clip), context=context, families=families)
        return Measurements()

    monkeypatch.setattr(verb, "score", listen)
    threads = []
    monkeypatch.setattr("torch.set_num_threads", threads.append)
    Image.fromarray(np.roll(frames[0], 7)).save(tmp_path / "image.png")
    folder = str(as_folder(tmp_path / "clip", frames))
    flags = ["--frames=4", "--decode-chunk-size=3", "--threads=2", "--device=cpu", "--metrics=full", "--json"]
    assert main([folder, *flags, "--image", str(tmp_path / "image.png"), "--weights-dir", str(tmp_path)]) == 0
    context = heard["context"]
    assert (heard["frames"], context.decode_chunk_size, context.device) == (4, 3, "cpu")
    assert (context.weights_dir, threads) == (tmp_path, [2])
    assert np.array_equal(context.image, np.roll(frames[0], 7))
    assert "lpips" in heard["families"]
    assert not {"clip", "baseline"} & set(heard["families"])
    assert main([folder]) == 0
    assert (heard["frames"], heard["context"]) == (6, Context())
    assert "lpips" not in heard["families"]
