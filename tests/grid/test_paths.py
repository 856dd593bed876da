"""Paths mean what was typed, whatever signs are in them."""

import pytest

from svdsweep.grid.paths import absolute, as_typed
from svdsweep.grid.presets import configs

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
    for name in NAMES:
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
