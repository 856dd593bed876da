import dataclasses

import pytest
import torch
from foreseen import under

from svdsweep.config import Job
from svdsweep.predict import fake_gpu
from svdsweep.predict.simulate import simulate
from svdsweep.predict.without_cuda import Unguarded, indexed

INDICES = [
    (0,),
    (-1,),
    (slice(None),),
    (slice(1, None), 2),
    (None,),
    (None, slice(0, 2), None),
    (...,),
    (..., 1),
    (..., None),
    (slice(None), 0, slice(None)),
    (0, ..., slice(1, 3)),
    (slice(-2, None), ..., slice(None, None, 2)),
    (1, 2, 3),
    (1, ..., 2, 3),
]


@pytest.mark.parametrize("items", INDICES, ids=str)
def test_indexing_gives_the_same_view(items) -> None:
    tensor = torch.arange(3 * 4 * 5).reshape(3, 4, 5)
    mine, real = indexed(tensor, items), tensor[items]
    assert torch.equal(mine, real)
    assert (mine.stride(), mine.data_ptr()) == (real.stride(), real.data_ptr())


def test_assignment_writes_through_and_other_indices_are_pytorchs() -> None:
    one, other = torch.zeros(3, 4), torch.zeros(3, 4)
    values, mask = torch.arange(4.0), torch.tensor([True, False, True])
    with Unguarded():
        one[1:] = values
        one[mask] = 7.0
        assert torch.equal(one[mask, 0], torch.tensor([7.0, 7.0]))
    other[1:] = values
    other[mask] = 7.0
    assert torch.equal(one, other)
    with pytest.raises(IndexError), Unguarded():
        one[0, 0, 0]


@pytest.mark.slow
def test_a_build_without_cuda_predicts_the_same(tiny_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job = under(tiny_job, offload="group_leaf", offload_stream=True)
    job = dataclasses.replace(job, max_guidance_scale=1.0, min_guidance_scale=1.0)
    expected = simulate(job, [2])
    entered = []

    class Spy(Unguarded):
        def __enter__(self) -> None:
            entered.append(self)
            super().__enter__()

    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(fake_gpu, "Unguarded", Spy)
    assert simulate(job, [2]) == expected
    assert entered
