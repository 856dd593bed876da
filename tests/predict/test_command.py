import json

import pytest
from conftest import made_up

from svdsweep.config import Job
from svdsweep.predict import command
from svdsweep.predict.predictions import Outcome, Unpredicted
from svdsweep.schema import UserError


@pytest.fixture(autouse=True)
def no_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    def outcomes(jobs: list[Job], processes: int = 1) -> dict[str, Outcome]:
        known = {"none": made_up(11.0), "model": made_up(7.6)}
        return {j.key: known.get(j.memory.offload, Unpredicted("no such luck")) for j in jobs}

    monkeypatch.setattr(command, "outcomes", outcomes)


def test_a_table_of_peaks_and_cards_without_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["model=svd_xt", "memory=baseline,model_offload,group_offload"]) == 0
    header, baseline, model, *rest = capsys.readouterr().out.splitlines()
    cells = dict(zip(header.replace(" GB", "GB").split(), model.split(), strict=True))
    assert (cells["peak_gib"], cells["8GB"], cells["10GB"]) == ("7.60", "-", "yes")
    assert baseline.startswith("baseline")
    assert "not predicted: no such luck  (group_offload)" in rest


def test_json_tells_units_stages_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["model=svd_xt", "memory=baseline,group_offload", "--json", "--gpu", "rtx4090"])
    one, other = json.loads(capsys.readouterr().out)
    assert one["predicted_vram_gib"] == 11.0
    assert one["fits"]["12 GB"] == "tight"
    assert one["stages"]["denoise"]["operation"] == "add"
    assert one["floor_s"] > 0
    assert other["predicted_vram_gib"] is None
    assert other["reason"] == "no such luck"


def test_details_name_the_place_of_the_peak(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["model=svd_xt", "--details"])
    assert "denoise: 11.00 GiB at add in unet" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["--gqu", "x"], ["--gpu"], ["--gpu", "abacus"], ["no_such_setting=1"]])
def test_wrong_input_is_a_sentence(argv: list[str]) -> None:
    with pytest.raises(UserError):
        command.main(argv)
