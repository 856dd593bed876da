import pytest
import torch
from torch import nn

from svdsweep.predict.fake_gpu import fake_gpu
from svdsweep.predict.prediction import MIB
from svdsweep.predict.tracker import Tracker


@pytest.mark.parametrize(("permuted", "copies"), [(False, 0), (True, 1)])
def test_a_norm_of_permuted_frames_holds_a_copy_of_them_while_it_computes(
    permuted: bool, copies: int
) -> None:
    tracker = Tracker()
    with fake_gpu(tracker.is_weight), tracker:
        norm = nn.GroupNorm(4, 64, device="cuda")
        frames = torch.empty(1, 64, 64, 64, 64, device="cuda")
        tracker.mark()
        held = tracker.nbytes
        out = norm(frames.permute(0, 2, 1, 3, 4) if permuted else frames)
        peak, _ = tracker.mark()
        assert tracker.nbytes - held == pytest.approx(64 * MIB, rel=0.001)
        del out
    assert peak.nbytes - held == pytest.approx((1 + copies) * 64 * MIB, rel=0.001)


@pytest.mark.parametrize(("last", "copies"), [(False, 0), (True, 1)])
def test_a_channels_last_convolution_copies_frames_that_are_not_and_answers_in_kind(
    last: bool, copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        nn.Conv2d, "reset_parameters", lambda _: None
    )  # a build without CUDA draws none there
    tracker = Tracker()
    with fake_gpu(tracker.is_weight), tracker:
        conv = nn.Conv2d(64, 64, 3, padding=1, device="cuda")
        if last:
            conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        frames = torch.empty(64, 64, 64, 64, device="cuda")
        tracker.mark()
        held = tracker.nbytes
        out = conv(frames)
        peak, cost = tracker.mark()
        assert tracker.nbytes - held == pytest.approx(64 * MIB, rel=0.001)
        assert out.is_contiguous(memory_format=torch.channels_last) is last
    assert peak.nbytes - held == pytest.approx((1 + copies) * 64 * MIB, rel=0.001)
    assert cost.kernels["memory", 0, 2 * 64 * MIB] == copies


def test_a_norm_of_channels_last_frames_copies_them_and_that_costs() -> None:
    tracker = Tracker()
    with fake_gpu(tracker.is_weight), tracker:
        norm = nn.GroupNorm(4, 64, device="cuda")
        frames = torch.empty(64, 64, 64, 64, device="cuda").to(memory_format=torch.channels_last)
        tracker.mark()
        out = norm(frames)
        _, cost = tracker.mark()
    assert out.is_contiguous()
    assert cost.kernels["memory", 0, 2 * 64 * MIB] == 1
