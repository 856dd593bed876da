"""What was predicted for tensors is what the real allocator gives out for them."""

import pytest
import torch
from report_allocator import CASES, allocated_mib, predicted_mib


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_cpu_allocator_gives_what_was_predicted_but_for_copies_inside_its_convolutions(case: str) -> None:
    predicted = predicted_mib(case, size=16)
    allocated, tensors = allocated_mib(case, size=16)
    assert tensors == pytest.approx(predicted, rel=0.005)
    assert tensors <= allocated < 1.3 * predicted
