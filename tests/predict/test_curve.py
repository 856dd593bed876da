"""Live bytes over time: what they are, that they add up, and that the highest moment is never lost."""

import json
from dataclasses import asdict

import pytest
import torch
from foreseen import under
from torch import nn

from svdsweep.config import Job
from svdsweep.predict.curve import FINEST, POINTS, Curve
from svdsweep.predict.fake_gpu import fake_gpu
from svdsweep.predict.prediction import DECODE, GIB, KINDS, MIB, Prediction, Stretch
from svdsweep.predict.simulate import simulate
from svdsweep.predict.tracker import Tracker

EVERYTHING = {
    "offload": "group_leaf",
    "offload_stream": True,
    "split_guidance": True,
    "transformer_parts": 2,
    "decode": "streamed",
    "decode_budget_gib": 0,
}


class MiddleAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(1024, 1024, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.to_q(x)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn, self.scale = MiddleAttention(), nn.Buffer(torch.empty(MIB // 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attn(x) * 2


def test_what_lives_is_of_the_kind_of_what_made_it() -> None:
    tracker = Tracker()
    with fake_gpu(tracker.is_weight), tracker:
        network = Network().to("cuda")
        tracker.name_modules({"net": network})
        x = torch.empty(512, 1024).to("cuda")
        tracker.mark()
        out = network(x)
        peak, _ = tracker.mark()
        assert dict(zip(KINDS, (n / MIB for n in tracker.parts), strict=True)) == {
            "weights": 5, "activations": 2, "attention": 0, "decode": 0, "transfers": 2,
        }  # fmt: skip
        highest = Stretch(peak.points, peak.operation, peak.module)
        assert {kind: n / MIB for kind, n in highest.composition.items()} == {
            "weights": 5, "activations": 2, "attention": 2, "decode": 0, "transfers": 2,
        }  # fmt: skip
        assert (highest.peak, highest.operation, highest.module) == (peak.nbytes, "mul", "net")
        assert [sum(parts) / MIB for parts in peak.points] == [9, 9, 11, 9]
        tracker.kinds[0] = DECODE
        frames = torch.zeros(3 * MIB // 4, device="cuda")
        assert tracker.parts[DECODE] == 3 * MIB
        del out, frames, x
        assert [n / MIB for n in tracker.parts] == [5, 0, 0, 0, 0]


@pytest.mark.parametrize(
    "knobs", [pytest.param({}, marks=pytest.mark.slow), EVERYTHING], ids=["plain", "everything"]
)
def test_the_kinds_add_up_to_what_lives_and_the_highest_is_the_predicted_peak(
    tiny_job: Job, knobs: dict[str, object]
) -> None:
    (prediction,) = simulate(under(tiny_job, **knobs), [2]).values()
    for stage in prediction.stages.values():
        assert max(stretch.peak for stretch in stage.over_time) / GIB == stage.peak_gib
        assert sum(stage.composition_gib.values()) == pytest.approx(stage.peak_gib)
        assert stage.composition_gib["weights"] == stage.weights_gib
        for stretch in stage.over_time:
            assert 1 < len(stretch.points) <= POINTS
            assert min(map(min, stretch.points)) >= 0
    times = [stretch.times for stretch in prediction.stages["denoise"].over_time]
    assert sum(times) == tiny_job.num_inference_steps
    assert Prediction.from_plain(json.loads(json.dumps(asdict(prediction)))) == prediction


def test_a_long_curve_is_thinned_and_keeps_its_highest_moment() -> None:
    curve = Curve([1, 0])
    for i in range(5 * FINEST):
        if i == 3333:
            curve.see(100, [60, 40])
        curve.tick([1, i % 7])
    assert len(curve.shares) < FINEST
    points = curve.points()
    assert len(points) == POINTS
    assert points.count([60, 40]) == 1
    assert points.index([60, 40]) == pytest.approx(3333 / (5 * FINEST) * POINTS, abs=1.5)


def test_a_repetition_is_drawn_as_it_was_beside_what_lives_now() -> None:
    first = Curve([10, 0])
    first.see(15, [10, 5])
    first.tick([10, 1])
    assert [*first.replay([30, 2])] == [((30, 7), 1), ((30, 3), 0)]


def test_what_is_gone_at_a_repetition_is_taken_from_the_largest() -> None:
    first = Curve([10, 0])
    first.see(20, [0, 20])
    assert [*first.replay([4, 3])] == [((0, 17), 0)]
