"""What all families agree on, and how they are found and run one after the other."""

import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from svdsweep import metrics
from svdsweep.errors import UserError
from svdsweep.metrics import Column, Context, Measurements, score
from svdsweep.metrics.contract import drift, masked_mean, mean_known, psnr_db
from svdsweep.metrics.shared import footage
from svdsweep.metrics.shared.likeness import likenesses

FRAMES = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.fixture
def own(monkeypatch):
    """Put a family of one's own where it is imported from; it answers with the device and with what it is given."""

    def put(name, answer, columns=()):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(__name__=name, score=answer, COLUMNS=columns))
        return name

    return put


@pytest.mark.parametrize(("mse", "db"), [(0.0, 100), (1e-11, 100), (1e-9, 90), (0.01, 20), (1.0, 0)])
def test_psnr_is_ten_times_the_logarithm_and_at_most_a_hundred(mse, db):
    assert psnr_db(mse) == pytest.approx(db)


def test_a_masked_mean_is_taken_over_channels_where_the_mask_holds():
    x = torch.arange(12.0).view(3, 2, 2)
    assert masked_mean(x, torch.tensor([[True, False], [False, True]])) == pytest.approx(5.5)
    assert masked_mean(x, torch.tensor([[True, False], [False, False]])) == pytest.approx(4)
    assert masked_mean(x, torch.zeros(2, 2, dtype=torch.bool)) == 0


def test_unknown_values_are_left_out_of_means():
    assert mean_known([1.0, None, 4.0]) == 2.5
    assert mean_known([None, 0.0]) == 0
    assert mean_known([None]) is None
    assert mean_known([]) is None


@pytest.mark.parametrize(
    ("values", "truth"),
    [
        ([1.0], None),
        ([1.0, 3.0], 2.0),
        ([1.0, 9.0, 9.0, 9.0, 5.0], 4.0),
        ([1.0, *[9.0] * 7, 2.0, 5.0], 2.5),
        ([1.0, *[9.0] * 7, None, 5.0], 4.0),
        ([1.0, *[9.0] * 7, None, None], None),
        ([None, 2.0], None),
        ([0.0, 2.0], 2.0),
    ],
)
def test_a_drift_is_the_mean_of_the_last_fifth_less_the_first(values, truth):
    assert drift(values) == truth


@pytest.fixture
def two_threads():
    """Torch has two threads, as on a machine of two cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2, "what was borrowed is given back"
    torch.set_num_threads(before)


@pytest.mark.parametrize("own_too", [False, True])
def test_on_two_cores_the_likeness_is_computed_beside_the_rest_and_says_the_same(
    own, monkeypatch, two_threads, own_too
):
    name = own("my.family", lambda footage, context: Measurements({"threads": torch.get_num_threads()}))
    rng = np.random.default_rng(0)
    frames, reference = rng.integers(0, 256, (2, 4, 32, 48, 3), dtype=np.uint8)
    context = Context(image=reference[0], reference=reference)
    families = ["temporal", "fidelity", "baseline", "defects", *([name] if own_too else [])]
    seen = []

    def spied(*arguments):
        seen.append((threading.current_thread(), torch.get_num_threads()))
        return likenesses(*arguments)

    monkeypatch.setattr(footage, "likenesses", spied)
    found = score(frames, context, families)
    assert found.values.pop("threads", 2) == 2, "a family that may be a network has all cores"
    [(thread, threads)] = seen
    assert (thread is threading.main_thread(), threads) == ((True, 2) if own_too else (False, 1))
    torch.set_num_threads(1)
    assert found == score(frames, context, ["temporal", "fidelity", "baseline", "defects"])
    torch.set_num_threads(2)


@pytest.mark.parametrize("fault", ["family", "likeness"])
def test_a_fault_beside_is_raised_and_the_threads_come_back(monkeypatch, two_threads, fault):
    def fails(*arguments):
        raise ValueError(fault)

    if fault == "likeness":
        monkeypatch.setattr(footage, "likenesses", fails)
    else:
        monkeypatch.setattr(metrics._own("temporal"), "_acceleration", fails)
    with pytest.raises(ValueError, match=fault):
        score(np.zeros((3, 16, 16, 3), np.uint8), Context(), ["temporal"])


def test_families_that_run_together_say_what_each_says_alone():
    rng = np.random.default_rng(0)
    frames, reference = rng.integers(0, 256, (2, 4, 16, 24, 3), dtype=np.uint8)
    context = Context(image=reference[0], reference=reference)
    families = ["temporal", "fidelity", "baseline", "defects"]
    together = score(frames, context, families)
    for name in families:
        alone = score(frames, context, [name])
        assert {key: together.values[key] for key in alone.values} == alone.values
        assert {key: together.series[key] for key in alone.series} == alone.series


def test_no_family_is_no_number():
    assert score(FRAMES, Context(), []) == Measurements()


def test_families_are_run_in_order_without_gradients_on_the_device_that_is_asked_for(own):
    def answer(footage, context):
        assert torch.is_inference_mode_enabled()
        assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.enabled
        return Measurements({"device": footage.device.type, "chunk": context.decode_chunk_size})

    before = torch.backends.cudnn.allow_tf32
    families = [own("mine.first", answer), own("mine.second", lambda f, c: Measurements({"chunk": f.count}))]
    context = Context(device="meta", decode_chunk_size=8)
    assert score(FRAMES, context, families).values == {"device": "meta", "chunk": 2}
    assert torch.backends.cudnn.allow_tf32 is before


def test_a_device_without_room_leaves_the_rest_to_the_cpu_and_says_so(own):
    def answer(footage, context):
        if footage.device.type != "cpu":
            raise torch.OutOfMemoryError
        return Measurements({context.device: footage.frames.shape[0]})

    families = [own("mine.own.large", answer), own("mine.later", answer)]
    scores = score(FRAMES, Context(device="meta"), families)
    assert scores.values == {"meta": 2}
    assert scores.notes == ["metrics from large on ran on the CPU: no room"]


def test_a_cpu_without_room_is_an_error(own):
    tries = []

    def answer(footage, context):
        tries.append(footage.device)
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        score(FRAMES, Context(), [own("mine.large", answer)])
    assert tries == [torch.device("cpu")]


def test_the_pictures_beside_the_frames_are_checked_before_any_family(own):
    with pytest.raises(UserError, match="The baseline cannot be compared with: Frames must be uint8"):
        score(FRAMES, Context(reference=FRAMES / 1.0), [own("mine.own", None)])


def test_a_family_that_is_none_is_refused_with_the_names_of_those_there_are():
    with pytest.raises(UserError) as nearest:
        metrics.family("temporel")
    assert str(nearest.value) == (
        "metrics.families: there is no family temporel. There are baseline, clip, cvvdp, defects, fidelity, "
        "lpips, motion, seams, stlpips, temporal, and modules of your own by import path, with a function "
        "`score(footage, context)`. Did you mean temporal?"
    )
    with pytest.raises(
        UserError, match=r"^metrics.families: my.own cannot be imported \(No module named 'my'\)"
    ):
        metrics.family("my.own")
    with pytest.raises(UserError, match=r"there is no family json\.tool\. "):
        metrics.family("json.tool")
    assert metrics.family("motion") is metrics.motion


def test_columns_of_ones_own_join_the_catalogue_once_their_module_is_imported(own):
    column = Column("mean_255", "levels", headline=2, help="The mean.")
    own("mine.brightness", None, (column,))
    own("mine.bare", None)
    del sys.modules["mine.bare"].COLUMNS
    known = metrics.catalogue(["motion", "mine.brightness", "mine.bare", "mine.unknown"])
    assert known == metrics.CATALOGUE | {"mean_255": column}
    assert metrics.headlines(["mean_255", "motion_px", "unknown"], 2, known) == ["mean_255", "motion_px"]
    assert metrics.headlines(["mean_255", "motion_px", "adj_ssim"], 3) == ["motion_px"]
