"""LPIPS comes from a verified file or not at all: random weights never make a number."""

import hashlib
import socket
import warnings
from itertools import pairwise

import lpips as package
import numpy as np
import pytest
import torch
import torchvision
from by_hand import made_up
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


LAYERS = (np.array([0.5, 1.0, 2.0]), np.array([3.0, 0.25]))
"""The weights of two layers of features, which take AlexNet's place where distances are counted by NumPy."""


@pytest.fixture
def small_model(monkeypatch):
    def head(weights):
        column = torch.tensor(weights).float()[:, None, None]
        return lambda x: (x * column).sum(1, keepdim=True)

    model = torch.nn.Module()
    model.lins = [head(weights) for weights in LAYERS]
    model.net = lambda x: [x, x[:, :2, ::4, ::2] ** 2]
    model.scaling_layer = lambda x: (x - 0.1) / 0.5
    monkeypatch.setattr(lpips, "find", lambda weights_dir: weights_dir)
    monkeypatch.setattr(lpips, "load", lambda path: model)


def distance(a, b):
    """The squared difference of features, made one long at each point, weighed and averaged, layer by layer."""
    total, layers = 0.0, []
    for frame in (a, b):
        x = (2 * frame.transpose(2, 0, 1).astype(float) / 255 - 1.1) / 0.5
        layers.append([y / np.linalg.norm(y, axis=0) for y in (x, x[:2, ::4, ::2] ** 2)])
    for x, y, weight in zip(*layers, LAYERS, strict=True):
        total += (np.square(x - y) * weight[:, None, None]).sum(0).mean()
    return total


def test_distances_are_to_the_frame_before_the_first_the_image_and_the_baseline(small_model):
    footage = made_up(10, 32, 40)
    frames = footage.frames
    image, reference = made_up(1, 32, 40, seed=1).frames[0], made_up(10, 32, 40, seed=2).frames
    scores = lpips.score(footage, Context(image=image, reference=reference))
    adjacent = [distance(a, b) for a, b in pairwise(frames)]
    to_image = [distance(image, frame) for frame in frames]
    assert scores.series == {
        "lpips_adj": pytest.approx(adjacent, rel=1e-4),
        "image_lpips": pytest.approx(to_image, rel=1e-4),
    }
    assert scores.values == {
        "lpips_status": "ok",
        "lpips_adj": pytest.approx(np.mean(adjacent), rel=1e-4),
        "lpips_to_first": pytest.approx(np.mean([distance(frames[0], f) for f in frames[1:]]), rel=1e-4),
        "first_lpips": pytest.approx(to_image[0], rel=1e-4),
        "image_lpips_drift": pytest.approx(np.mean(to_image[-2:]) - to_image[0], abs=1e-3),
        "lpips_to_baseline": pytest.approx(
            np.mean([distance(a, b) for a, b in zip(reference, frames, strict=True)]), rel=1e-4
        ),
    }
    assert scores.notes == []


def test_without_image_and_with_a_baseline_of_another_length_these_columns_are_empty(small_model):
    footage = made_up(2, 32, 32)
    values = lpips.score(footage, Context(reference=footage.frames[:1])).values
    assert {name for name, value in values.items() if value is None} == {
        *("first_lpips", "image_lpips_drift", "lpips_to_baseline")
    }


def test_a_single_frame_has_a_distance_to_the_image_only(small_model):
    footage = made_up(1, 32, 32)
    values = lpips.score(footage, Context(image=footage.frames[0])).values
    assert {name for name, value in values.items() if value is not None} == {"lpips_status", "first_lpips"}
    assert values["first_lpips"] == 0


def test_a_clip_needs_thirty_two_pixels_and_weights_and_says_which_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    small = lpips.score(made_up(2, 31, 32), Context())
    empty = {column.name: None for column in lpips.COLUMNS}
    assert small.values == {**empty, "lpips_status": "unavailable: frames under 32 px"}
    assert small.notes == []
    scores = lpips.score(made_up(2, 32, 32), Context())
    assert scores.values == {**empty, "lpips_status": f"unavailable: no {lpips.BACKBONE}"}
    cache = tmp_path / "hub" / "checkpoints"
    assert scores.notes == [
        f"lpips is unavailable: no {lpips.BACKBONE}; put {lpips.SOURCE} (233 MB) into {cache}, or into a folder that "
        "metrics.weights_dir names"
    ]


def test_the_file_is_taken_from_the_folder_that_is_named_and_else_from_torchs_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    cache, mine = tmp_path / "torch" / "hub" / "checkpoints", tmp_path / "mine"
    digits = hashlib.sha256(b"weights").hexdigest()[:8]
    monkeypatch.setattr(lpips, "BACKBONE", f"net-owt-{digits}.pth")
    for folder in (cache, mine):
        folder.mkdir(parents=True)
        (folder / lpips.BACKBONE).write_bytes(b"weights")
    assert lpips.find(None) == cache / lpips.BACKBONE
    assert lpips.find(mine) == mine / lpips.BACKBONE
    (mine / lpips.BACKBONE).write_bytes(b"others")
    assert not lpips.verified(mine / lpips.BACKBONE)
    assert lpips.find(mine) == cache / lpips.BACKBONE
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (mine / lpips.BACKBONE).write_bytes(b"weights")
    assert lpips.find("~/mine") == mine / lpips.BACKBONE
    for folder in (cache, mine):
        (folder / lpips.BACKBONE).write_bytes(b"others")
    with pytest.raises(lpips.Unavailable) as e:
        lpips.find(mine)
    assert str(e.value) == (
        f"{mine / lpips.BACKBONE} is not the file of that name; put {lpips.SOURCE} (233 MB) into {mine}"
    )
