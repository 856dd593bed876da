"""A whole job on a made-up GPU whose driver slows it down in the middle of a run: it is seen, counted and named."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import gpus
import made_up
import pytest
from fake_nvml import Nvml, install

from svdsweep.analysis.strategies import strategies
from svdsweep.analysis.verdicts import AMBIGUOUS
from svdsweep.config import Job
from svdsweep.grid.expand import expand
from svdsweep.probes import watch
from svdsweep.probes.throttling import throttling
from svdsweep.store.columns import flat
from svdsweep.store.rows import Row
from svdsweep.worker.contract import Slot
from svdsweep.worker.worker import Worker, load

LINE = ["num_frames=2", "num_inference_steps=1", "height=32", "width=64", "metrics=none", "measure.repeats=2"]
Act = Callable[[Nvml, str], None]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker on a made-up card."""
    with pytest.MonkeyPatch.context() as patched, gpus.computing(patched, "cuda"):
        patched.setattr(watch, "EVERY_S", 0.002)
        install(patched)
        worker = load(Slot("GPU-aa", tmp_path_factory.mktemp("slot")))
        assert isinstance(worker, Worker)
        yield worker


@pytest.fixture
def row_of(monkeypatch: pytest.MonkeyPatch, work: Worker) -> Callable[..., Row]:
    (plain,) = expand(LINE).jobs

    def run(act: Act, job: Job = plain, **how: Any) -> Row:
        set_up = {"nvmlDeviceGetPersistenceMode": 0, "nvmlDeviceGetCurrPcieLinkWidth": 8}
        fake = install(monkeypatch, **set_up, **how)
        return work(job, 1, lambda phase, _: act(fake, phase))

    return run


def hot_while_decoding(fake: Nvml, phase: str) -> None:
    if phase == "vae_decode":
        fake.slow_down("THERMAL", "HwThermalSlowdown", 990)
    elif fake.slowed:
        fake.recover()


def test_a_gpu_that_is_slowed_down_in_the_middle_of_a_run_is_seen_counted_and_named(row_of: Any) -> None:
    row = row_of(hot_while_decoding)
    assert (row.status, row.error) == ("ok", "")
    told = throttling(flat(row))
    assert told
    assert told.matters
    assert told.reasons == "hardware thermal"
    assert 0 < told.seconds < max(row.series["total_s"])
    assert row.values["throttled_thermal_s"] == told.seconds
    assert row.values["throttled_power_s"] == 0
    assert any(note.startswith("the GPU was slowed down: hardware thermal for ") for note in row.notes)
    assert row.values["sm_clock_mean_mhz"] < 1980 == row.provenance["sm_clock_max_mhz"]
    assert Row.from_plain(json.loads(row.to_json())) == row


def test_a_gpu_that_is_not_slowed_down_says_so_and_how_it_is_set_up(row_of: Any) -> None:
    row = row_of(lambda fake, phase: None)
    assert (row.values["throttled_pct"], row.values["throttle"]) == (0, "")
    assert (row.values["sm_clock_mean_mhz"], row.values["memory_clock_mean_mhz"]) == (1980, 2619)
    assert not any("slowed down" in note for note in row.notes)
    assert (row.values["pcie_width"], row.provenance["pcie_width_max"]) == (8, 16)
    facts = ("gpu_persistence_mode", "gpu_ecc", "gpu_mig", "gpu_power_limit_default_w")
    assert [row.provenance[name] for name in facts] == ["off", "on", "off", 700.0]


def test_what_an_old_card_does_not_count_is_empty_and_the_looks_still_see_it(row_of: Any) -> None:
    row = row_of(hot_while_decoding, mute=("Violation", "FieldValues", "ClockInfo"))
    assert row.values["throttled_thermal_s"] is None
    assert row.values["throttle"] == "hardware thermal"
    assert row.values["throttled_pct"] > 0
    assert row.values["sm_clock_mean_mhz"] is None


def test_a_strategy_that_was_slowed_down_is_ambiguous_however_much_longer_it_took(row_of: Any) -> None:
    base, split = expand([*LINE, "measure.repeats=3", "memory=baseline,split_guidance"]).jobs
    undisturbed = row_of(lambda fake, phase: None, base)

    def hot_and_slow(fake: Nvml, phase: str) -> None:
        hot_while_decoding(fake, phase)
        if fake.slowed:
            time.sleep(3 * undisturbed.values["total_s"])

    slowed = row_of(hot_and_slow, split)
    told = {s.name: s.latency for s in strategies(made_up.in_memory(undisturbed, slowed))}["split_guidance"]
    assert told.value
    assert told.value > 2
    assert told.verdict == AMBIGUOUS
    assert "this: hardware thermal" in told.why
