"""What a device of each maker is asked, and a whole job of which what it does not tell is empty."""

from pathlib import Path
from typing import Any

import gpus
import pytest
import torch

from svdsweep.backends import BACKENDS, HOST, backend_of
from svdsweep.grid.expand import expand
from svdsweep.memory.conflicts import KINDS
from svdsweep.probes import vram
from svdsweep.probes.environment import device_name, provenance
from svdsweep.store.columns import OVER_TIME
from svdsweep.worker.contract import Slot
from svdsweep.worker.worker import Worker, load

OTHERS = ("rocm", "xpu", "mps")
CPU = torch.device("cpu")


def test_every_kind_of_device_has_words_and_one_that_answers() -> None:
    assert {backend.kind for backend in (HOST, *BACKENDS.values())} | {"rocm"} == set(KINDS)
    assert backend_of(CPU) is backend_of(torch.device("meta")) is HOST


@pytest.mark.parametrize("kind", OTHERS)
def test_a_card_is_asked_by_the_names_that_its_module_has(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    with gpus.computing(monkeypatch, kind) as device:
        asked = backend_of(device)
        assert (asked.kind, asked.available()) == (kind, True)
        assert vram.allocated_gib(device) == 2
        peak = vram.read_peak(device)
        assert peak == (vram.Peak(None, 5.0) if kind == "mps" else vram.Peak(3.0, 4.0))
        assert vram.free_gib(device) == (7 if kind == "mps" else 10)
        begin, end = asked.mark(device), asked.mark(device)
        assert asked.seconds(begin, end) >= 0
        assert (asked.streams is None) == (kind == "mps")
        vram.reset_peak(device)
        vram.empty_cache(device)
        asked.synchronize(device)


def test_the_cap_on_a_mac_is_a_multiple_of_what_metal_recommends(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    monkeypatch.delenv("PYTORCH_MPS_HIGH_WATERMARK_RATIO", raising=False)
    with gpus.computing(monkeypatch, "mps") as device:
        monkeypatch.setattr(torch.mps, "set_per_process_memory_fraction", shares.append)
        for limit_gib in (6.0, None, 99.0):
            vram.cap(device, limit_gib)
    assert shares == [0.5, 1.7, 2.0], "without a limit PyTorch's usual one stands"


def test_provenance_names_the_card_and_what_is_told_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}
    for kind in OTHERS:
        with monkeypatch.context() as patched, gpus.computing(patched, kind) as device:
            told[kind] = provenance(device)
            assert told[kind]["gpu"] == device_name(device)
            assert told[kind]["gpu_power_limit_w"] is None
    assert (told["rocm"]["gpu_capability"], told["rocm"]["hip"]) == ("gfx1100", "6.4")
    assert (told["xpu"]["gpu"], told["xpu"]["driver"], told["xpu"]["gpu_memory_gib"]) == (
        "A card",
        "1.2",
        16.0,
    )
    assert (told["mps"]["gpu"], told["mps"]["gpu_memory_gib"]) == (told["mps"]["cpu"] or "cpu", 12.0)


@pytest.mark.parametrize(
    "kind", ["rocm", *(pytest.param(kind, marks=pytest.mark.slow) for kind in OTHERS[1:])]
)
def test_a_job_is_measured_on_it_and_what_it_cannot_measure_is_empty(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    line = [
        "num_frames=2",
        "num_inference_steps=1",
        "height=32",
        "width=64",
        "metrics=none",
        "decode_chunk_size=auto",
        "measure.warmup=1",
    ]
    (job,) = expand(line).jobs
    with gpus.computing(monkeypatch, kind):
        work = load(Slot(gpus.DEVICES[kind], tmp_path))
        assert isinstance(work, Worker)
        row = work(job, 1, lambda *_: None)
    assert (row.status, row.error) == ("ok", "")
    values = row.values
    assert (values["energy_j"], values["temperature_c"], values["vram_process_peak_gib"]) == (
        None,
        None,
        None,
    )
    peaks = values["vram_allocated_peak_gib"], values["denoise_vram_reserved_peak_gib"]
    assert peaks == ((None, 5.0) if kind == "mps" else (3.0, 4.0))
    curves = {name: stretches for name, stretches in row.series.items() if "over_time" in name}
    if kind == "mps":
        assert not curves
    else:
        assert {*curves} == {*OVER_TIME.values()}
        assert curves["denoise_over_time_gib"] == [[3.0] * 80]
    assert (values["total_s"] or 0) > 0  # type: ignore[operator]
    assert any("are empty" in note for note in row.notes)
    assert row.provenance["gpu"]


def test_a_gpu_that_torch_sees_and_nobody_found_is_told_in_the_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda")
    )
    assert Worker(Slot("cpu", tmp_path), CPU).doubts == []
    (doubt,) = Worker(Slot("cpu", tmp_path, for_want_of_a_gpu=True), CPU).doubts
    assert "torch sees a GPU" in doubt
