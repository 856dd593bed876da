"""Paths mean what was typed, whatever signs are in them."""

import re
import shlex
from pathlib import Path

import PIL.Image
import pytest
from filenames import spelled_here

from svdsweep.analysis.reproduce import command
from svdsweep.errors import UserError
from svdsweep.grid.expand import expand
from svdsweep.grid.paths import as_typed
from svdsweep.grid.presets import configs
from svdsweep.models.architectures import TINY
from svdsweep.store.files import absolute

NAMES = (
    *(
        "a b.png",
        "photo (1).png",
        "John's cat.png",
        'say "hi".png',
        "a,b.png",
        "k=v.png",
        "[1].png",
        "{x}.png",
    ),
    *("猫 écran.png", "100%.png", "dollar${x}.png", "$HOME.png", "#1 & co.png", "semi;colon.png", "a:b.png"),
    *(
        "two  blanks.png",
        "back\\slash.png",
        "end\\",
        "-dash.png",
        "+plus.png",
        "~tilde.png",
        "null",
        "1e3",
        "noext",
    ),
)
HARD = ("John's cat.png", "a,b.png", "dollar${x}.png", "back\\slash.png", "end\\", "null")
"""Those that quoting has to get right."""


def read_by_hydra(argument):
    """The values that Hydra makes of an override, as text."""
    with configs() as presets:
        (override,) = presets.parse([argument])
    if not override.is_sweep_override():
        return [str(override.value())]
    return [getattr(value, "text", str(value)) for value in override.value().list]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Files of all these names in the working folder."""
    monkeypatch.chdir(tmp_path)
    made = []
    for name in spelled_here(*NAMES):
        try:
            (tmp_path / name).write_bytes(b"")
            made.append(name)
        except OSError:  # Windows has no such name
            continue
    return made


def test_a_file_is_found_by_its_name_alone_and_in_lists(files):
    for name in files:
        (value,) = read_by_hydra(as_typed(f"model.source={name}"))
        assert value.replace("\\${", "${") == name
    pairs = [(a, b) for a in files for b in ("a,b.png", "noext")]
    for one, other in pairs[::5]:
        values = read_by_hydra(as_typed(f"model.source={one},{other}"))
        assert [value.replace("\\${", "${") for value in values] == [one, other]


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("model.source=a,b", ["a", "b"]),
        ("model.source= a , b ", ["a", "b"]),
        ("model.source='x, y',z", ["x, y", "z"]),
        ("model.source=\"x, y\",'it\\'s'", ["x, y", "it's"]),
        ("model.source=org/name,/d/my model", ["org/name", "/d/my model"]),
        ("model.source=C:\\ckpt\\a,C:\\ckpt\\b", ["C:\\ckpt\\a", "C:\\ckpt\\b"]),
        ("model.source='C:\\ckpt\\a b\\\\'", ["C:\\ckpt\\a b\\"]),
        ("model.source=it's,b", ["it's", "b"]),
        ("model.source='half", ["'half"]),
        ("runs_dir=my runs, all of them", ["my runs, all of them"]),
        ("runs_dir='my runs'", ["my runs"]),
        ("image=rocket,coffee", ["rocket", "coffee"]),
    ],
)
def test_a_list_is_parted_by_commas_outside_quotes(tmp_path, monkeypatch, typed, values):
    monkeypatch.chdir(tmp_path)
    assert read_by_hydra(as_typed(typed)) == values


@pytest.mark.parametrize(
    "argument",
    ["seed=1,2", "image=choice(rocket,coffee)", "model.source=", "--help", "model.dtype='float16'", "a b", "seed"],
)  # fmt: skip
def test_what_is_no_path_is_left_to_hydra(argument):
    assert as_typed(argument) == argument


def test_an_interpolation_stays_one_unless_a_file_is_called_so(files):
    assert as_typed("model.source=${oc.env:HOME}/m") == "model.source='${oc.env:HOME}/m'"
    assert as_typed("model.source=dollar${x}.png") == "model.source='dollar\\${x}.png'"


def test_a_path_from_the_root_keeps_links(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    assert absolute("a/../b") == str(tmp_path / "b")
    assert absolute("~/x") == str(tmp_path / "home" / "x")
    try:
        (tmp_path / "latest").symlink_to(tmp_path)
    except OSError:
        pytest.skip("no links here")
    assert absolute("latest") == str(tmp_path / "latest")


@pytest.fixture
def pictures(files, tmp_path):
    """A small picture under each of the names, no two alike."""
    for number, name in enumerate(files):
        PIL.Image.new("RGB", (64, 64), (number * 5 + 40, 90, 120)).save(tmp_path / name, format="PNG")
    return files


def test_a_picture_or_a_checkpoint_of_any_name_is_a_job_that_its_command_makes_again(pictures, tmp_path):
    weights = tmp_path / "my ${ckpt} (1), b"
    weights.symlink_to(TINY)
    grid = expand([f"image={','.join(pictures)}", f"model.source={weights.name}", "runs_dir=a b"])
    assert grid.runs_dir == Path("a b")
    assert [job.image.path for job in grid.jobs] == [str(tmp_path / name) for name in pictures]
    assert [job.image.name for job in grid.jobs] == [Path(name).stem for name in pictures]
    assert {job.model.source for job in grid.jobs} == {str(weights)}
    for job in grid.jobs:
        if Path(job.image.path).name in HARD:
            again = shlex.split(command(job))[3:]
            assert [again.key for again in expand(again).jobs] == [job.key]


def test_the_pictures_of_a_folder_are_found_whatever_their_names(pictures, tmp_path):
    with_ending = [name for name in pictures if name.endswith(".png")]
    grid = expand(["image=."])
    assert sorted(job.image.path for job in grid.jobs) == sorted(str(tmp_path / n) for n in with_ending)
    few = expand(["image=*cat*.png,'a b.png',noext"])
    assert [Path(job.image.path).name for job in few.jobs] == ["John's cat.png", "a b.png", "noext"]


def test_homes_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    PIL.Image.new("RGB", (64, 64), "red").save(tmp_path / "x.png")
    (tmp_path / "ckpt").symlink_to(TINY)
    grid = expand(["image=~/x.png", "model.source=~/ckpt", "runs_dir=~/runs"])
    (job,) = grid.jobs
    assert (job.image.path, job.model.source) == (str(tmp_path / "x.png"), str(tmp_path / "ckpt"))
    assert grid.folder.parent == tmp_path / "runs"


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("name=" + "a" * 300, "at most 200 bytes"),
        ("image=" + "a" * 300 + ".png", "there is no such file"),
        ("image=" + "a" * 300, "no such image"),
        ("model.source=/" + "a" * 300, "File name too long"),
        ("image=~nobody-of-this-name/x.png", "there is no such file"),
    ],
)
def test_a_name_that_no_file_can_have_is_refused_in_a_sentence(argument, told):
    with pytest.raises(UserError, match=re.escape(told)):
        expand([argument])
