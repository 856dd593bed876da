"""What the two exact strategies save at the full size of SVD-XT, counted."""

import pytest
from report_savings import STRATEGIES, Cost, cost

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")]


@pytest.fixture(scope="module")
def costs() -> dict[str, Cost]:
    return {name: cost(memory) for name, memory in STRATEGIES.items()}


def test_the_plain_unet_costs_what_is_known(costs: dict[str, Cost]) -> None:
    assert costs["plain"].tflop == pytest.approx(159.90, abs=0.01)
    assert costs["plain"].activations_mib == pytest.approx(7918, abs=1)
    assert costs["chunking 5"].activations_mib == pytest.approx(4543, abs=1)


def test_split_guidance_halves_the_activations_and_costs_no_flop(costs: dict[str, Cost]) -> None:
    assert costs["split_guidance"].activations_mib < 0.5 * costs["plain"].activations_mib
    assert costs["split_guidance"].tflop == pytest.approx(costs["plain"].tflop, rel=1e-4)


def test_single_token_saves_work_and_memory(costs: dict[str, Cost]) -> None:
    assert costs["single_token"].tflop < 0.97 * costs["plain"].tflop
    assert costs["single_token"].activations_mib < costs["plain"].activations_mib - 200
    assert costs["single_token"].ops < costs["plain"].ops


def test_together_they_leave_about_a_quarter(costs: dict[str, Cost]) -> None:
    assert costs["all three"].activations_mib < 0.27 * costs["plain"].activations_mib
