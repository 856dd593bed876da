"""What is shipped in `conf/`: every experiment expands, every preset says how it is used."""

import pytest

from svdsweep.grid.expand import expand
from svdsweep.grid.presets import CONF

PRESETS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
QUICK = ("motion", "noise_aug")


@pytest.mark.parametrize(
    "preset", [p if p in QUICK else pytest.param(p, marks=pytest.mark.slow) for p in PRESETS]
)
def test_every_shipped_experiment_expands(preset):
    assert expand([f"+experiment={preset}", "model.weights=random"]).jobs


@pytest.mark.slow
def test_every_shipped_strategy_composes_with_every_model():
    jobs = expand(["memory=glob(*)", "model=glob(*)", "model.weights=random"]).jobs
    strategies = {p.stem for p in (CONF / "memory").glob("*.yaml")}
    models = {path.stem for path in (CONF / "model").glob("*.yaml")}
    models -= {"svd_xt_1_1", "animatelcm_svd_xt_1_1"}  # without weights they are those of before
    assert {(j.memory.name, j.model.name) for j in jobs} == {(s, m) for s in strategies for m in models}


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_preset_begins_with_the_command_that_uses_it(path):
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")
    ]
    assert lines[0].startswith("# python -m svdsweep")
    assert lines[1].startswith("# ")
