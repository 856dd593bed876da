"""Every verb is a file, has its help, and refuses what it does not take in one sentence."""

from pathlib import Path

import pytest

from svdsweep import commands
from svdsweep.cli import main, split_verb
from svdsweep.commands import VERBS
from svdsweep.commands.request import is_for_hydra

HYDRAS = ("run", "plan")
"""The verbs whose `--help` is Hydra's page."""
HELPERS = {"fit_measured", "fit_told", "help", "outcome", "request", "vbench"}
"""What verbs share."""


def test_every_file_of_the_folder_is_a_verb_or_shared_by_verbs():
    folder = Path(commands.__file__).parent
    files = {
        path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert files - {"__init__"} == {*VERBS, *HELPERS}


@pytest.mark.parametrize("verb", sorted(set(VERBS) - set(HYDRAS)))
def test_help_names_the_verb_and_its_flags(verb, capsys):
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: svdsweep {verb} ")
    assert "--help" in text


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_flag_is_refused_with_the_nearest_name(verb, capsys):
    given = {"score": ["a.mp4"], "compare": ["a", "b"], "merge": ["a", "--into", "b"]}
    given |= {name: ["runs/x"] for name in ("seeds", "watch", "report", "show", "clean")}
    given |= {"export": ["runs/x", "--to", "vbench", "--into", "b"]}
    assert main([verb, *given.get(verb, []), "--hepl"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("svdsweep: --hepl is no flag of svdsweep")
    assert "Did you mean --help?" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "hydras"),
    [
        ("--cfg=job", True),
        ("--cfg job", True),
        ("seed=1 -h", True),
        ("seed=1 --json", False),
        ("name=-h", False),
    ],
)
def test_what_hydra_answers_is_told_from_what_svdsweep_answers(words, hydras):
    assert is_for_hydra(words.split()) is hydras


@pytest.mark.parametrize("setting", ["seed=1", "+experiment=motion", "+seed", "~seed", "--json"])
def test_a_setting_or_a_flag_alone_is_run(setting):
    assert split_verb([setting, "plan"]) == ("run", [setting, "plan"])
    assert split_verb(["plan", setting]) == ("plan", [setting])


def test_one_argument_too_many_is_told(capsys):
    assert main(["compare", "a", "b", "c"]) == 2
    assert "c is one argument too many for svdsweep compare" in capsys.readouterr().err


def test_what_is_missing_is_told(capsys):
    assert main(["merge", "a"]) == 2
    assert "svdsweep merge: the following arguments are required: --into" in capsys.readouterr().err


def test_settings_and_flags_may_stand_in_any_order(tmp_path, capsys):
    settings = ["motion_bucket_id=60,120", f"runs_dir='{tmp_path}'"]
    assert main(["plan", "--json", *settings]) == 0
    first = capsys.readouterr().out
    assert main(["plan", settings[0], "--json", settings[1], "-m"]) == 0
    assert capsys.readouterr().out == first


def test_the_version_is_told_with_the_libraries(capsys):
    assert main(["--version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["svdsweep", "python", "torch", "diffusers", "transformers"]
    assert all(line.split()[1][0].isdigit() for line in lines)
