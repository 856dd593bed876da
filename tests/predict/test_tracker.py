import pytest
import torch
from torch import nn

from svdsweep.predict.faking import fake_gpu
from svdsweep.predict.summary import MIB
from svdsweep.predict.tracker import Tracker


@pytest.mark.parametrize(("permuted", "copies"), [(False, 0), (True, 1)])
def test_a_norm_of_permuted_frames_holds_a_copy_of_them_while_it_computes(
    permuted: bool, copies: int
) -> None:
    tracker = Tracker()
    with fake_gpu(tracker.is_weight), tracker:
        norm = nn.GroupNorm(4, 64, device="cuda")
        frames = torch.empty(1, 64, 64, 64, 64, device="cuda")
        tracker.restart()
        held = tracker.nbytes
        out = norm(frames.permute(0, 2, 1, 3, 4) if permuted else frames)
        peak, _ = tracker.mark()
        assert tracker.nbytes - held == pytest.approx(64 * MIB, rel=0.001)
        del out
    assert peak.nbytes - held == pytest.approx((1 + copies) * 64 * MIB, rel=0.001)
