"""Every engine is named wherever it must be: in the settings, in a preset, for the type checker and in the README."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

from svdsweep import runner
from svdsweep.config import Config
from svdsweep.config.rules import rules

ROOT = Path(__file__).parents[2]
ENGINES = rules(Config)["runner.name"][0].words


def held_by_the_type_checker() -> set[str]:
    """The engines in `ENGINES`, which exists for the type checker alone."""
    tree = ast.parse(Path(runner.__file__).read_text(encoding="utf-8"))
    lists = [n for n in ast.walk(tree) if isinstance(n, ast.AnnAssign) and ast.unparse(n.target) == "ENGINES"]
    return {ast.unparse(name) for found in lists for name in found.value.elts}


def test_presets_and_settings_name_the_same_engines():
    assert {path.stem for path in (ROOT / "conf" / "runner").glob("*.yaml")} == set(ENGINES)
    assert held_by_the_type_checker() == set(ENGINES)


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_runs_and_is_told_of(name):
    assert callable(import_module(f"svdsweep.runner.{name}").run)
    assert f"`runner={name}" in (ROOT / "svdsweep" / "runner" / "README.md").read_text(encoding="utf-8")
