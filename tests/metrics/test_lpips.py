"""LPIPS comes from a verified file or not at all: random weights never make a number."""

import hashlib
import socket
import warnings

import lpips as package
import pytest
import torch
import torchvision
from clips import Surface, noise, pan, static

from svdsweep.metrics import Context, lpips, score

HERE = Surface("textured")
COLUMNS = [column.name for column in lpips.COLUMNS if column.name != "lpips_status"]


@pytest.fixture(autouse=True)
def no_cache_and_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def refuse(*_, **__):
        raise AssertionError("metrics must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def random_weights():
    torch.manual_seed(0)
    return torchvision.models.alexnet(weights=None).features.state_dict(prefix="features.")


@pytest.fixture
def accepted(tmp_path, monkeypatch, random_weights):
    """Weights under a name that holds their own hash, and the metric told to look for it: for the plumbing only."""
    part = tmp_path / "part"
    torch.save(random_weights, part)
    digits = hashlib.sha256(part.read_bytes()).hexdigest()[:8]
    name = f"alexnet-synthetic-{digits}.pth"
    part.rename(tmp_path / name)
    monkeypatch.setattr(lpips, "BACKBONE", name)
    return tmp_path


def unavailable(scores):
    assert [scores.values[name] for name in COLUMNS] == [None] * len(COLUMNS)
    assert scores.values["lpips_status"].startswith("unavailable: ")
    assert scores.series == {}
    (note,) = scores.notes
    assert "put https://" in note
    assert lpips.BACKBONE in note
    return note


def judge(weights_dir=None):
    frames = pan(HERE, 3, 1).frames
    return score(frames, Context(image=frames[0], weights_dir=weights_dir, reference=frames), ["lpips"])


def test_without_a_file_there_is_a_status_and_a_line_that_says_what_to_do(tmp_path):
    assert "metrics.weights_dir" in unavailable(judge())
    assert str(tmp_path / "here") in unavailable(judge(tmp_path / "here"))


def test_random_weights_under_the_right_name_give_no_number(tmp_path, random_weights):
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(random_weights, cache / lpips.BACKBONE)
    assert "is not the file of that name" in unavailable(judge())
    (tmp_path / "mine").mkdir()
    torch.save(random_weights, tmp_path / "mine" / lpips.BACKBONE)
    unavailable(judge(tmp_path / "mine"))


@pytest.mark.parametrize("damage", ["a tensor short", "another shape", "no weights", "no tensors"])
def test_a_file_that_is_no_alexnet_gives_no_number(tmp_path, monkeypatch, random_weights, damage):
    monkeypatch.setattr(lpips, "verified", lambda path: True)
    weights = dict(random_weights)
    if damage == "a tensor short":
        del weights["features.8.bias"]
    elif damage == "another shape":
        weights["features.0.weight"] = weights["features.0.weight"][:, :, :5, :5].clone()
    elif damage == "no tensors":
        weights = {"epoch": 3}
    torch.save(weights, tmp_path / lpips.BACKBONE)
    if damage == "no weights":
        (tmp_path / lpips.BACKBONE).write_bytes(b"<html>not found</html>")
    scores = judge(tmp_path)
    assert scores.values["lpips_adj"] is None
    assert (
        scores.values["lpips_status"]
        == f"unavailable: {lpips.BACKBONE} holds no AlexNet"
        + scores.values["lpips_status"].partition("AlexNet")[2]
    )
    assert "put https://" in scores.notes[0]


def test_heads_that_were_not_loaded_give_no_number(accepted, monkeypatch):
    right = package.LPIPS
    monkeypatch.setattr(package, "LPIPS", lambda **kwargs: right(**kwargs, pretrained=False))
    scores = judge(accepted)
    assert scores.values["lpips_adj"] is None
    assert "heads" in scores.values["lpips_status"]


def test_distances_are_those_of_the_package(accepted, random_weights):
    image = noise(static(HERE, 1), 10).frames[0]
    frames = pan(HERE, 3, 2).frames
    scores = score(
        frames, Context(image=image, weights_dir=accepted, reference=frames[::-1].copy()), ["lpips"]
    )
    assert scores.values["lpips_status"] == "ok"

    with warnings.catch_warnings(action="ignore"):
        oracle = package.LPIPS(net="alex", pnet_rand=True, verbose=False)
    backbone = {
        name: random_weights[f"features.{name.partition('.')[2]}"] for name in oracle.net.state_dict()
    }
    oracle.net.load_state_dict(backbone)

    def distance(a, b):
        one, two = (torch.tensor(f).permute(2, 0, 1)[None].float() / 127.5 - 1 for f in (a, b))
        with torch.no_grad():
            return float(oracle.eval()(one, two))

    adjacent = [distance(frames[0], frames[1]), distance(frames[1], frames[2])]
    assert scores.series["lpips_adj"] == pytest.approx(adjacent, rel=1e-4)
    assert scores.values["lpips_to_first"] == pytest.approx(
        (adjacent[0] + distance(frames[0], frames[2])) / 2, rel=1e-4
    )
    assert scores.values["first_lpips"] == pytest.approx(distance(image, frames[0]), rel=1e-4)
    assert scores.values["image_lpips_drift"] == pytest.approx(
        distance(image, frames[2]) - distance(image, frames[0]), rel=1e-3
    )
    assert scores.values["lpips_to_baseline"] == pytest.approx(
        2 * distance(frames[0], frames[2]) / 3, rel=1e-4
    )


def test_equal_frames_have_no_distance(accepted):
    frames = static(HERE, 3).frames
    v = score(frames, Context(image=frames[0], weights_dir=accepted, reference=frames), ["lpips"]).values
    assert (v["lpips_adj"], v["lpips_to_first"], v["first_lpips"], v["lpips_to_baseline"]) == (0, 0, 0, 0)


def test_a_single_frame_and_tiny_frames_leave_empty_what_they_cannot_say(accepted):
    frames = static(HERE, 1).frames
    v = score(frames, Context(image=frames[0], weights_dir=accepted), ["lpips"]).values
    assert (v["lpips_adj"], v["first_lpips"]) == (None, 0)
    tiny = score(frames[:, :16, :16].copy(), Context(weights_dir=accepted), ["lpips"]).values
    assert tiny["lpips_status"] == "unavailable: frames under 32 px"
