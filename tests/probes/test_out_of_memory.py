"""What says that memory is full, and what only sounds like it."""

import pytest
import torch

from svdsweep.probes.out_of_memory import is_out_of_memory

FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 40.00 GiB."),
    MemoryError(),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("FIND was unable to find an engine to execute this computation"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
]
OTHER = [
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ValueError("the text says CUDA out of memory, but it is nobody's allocator"),
    OSError(28, "No space left on device"),
]


@pytest.mark.parametrize("error", FULL, ids=lambda e: str(e)[:40] or type(e).__name__)
def test_a_full_memory_is_known_by_whoever_says_it(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", OTHER, ids=lambda e: str(e)[:40])
def test_other_errors_are_not(error: BaseException) -> None:
    assert not is_out_of_memory(error)


def test_a_full_memory_inside_what_wraps_it_counts() -> None:
    wrapped = RuntimeError("the backend failed")
    wrapped.__cause__ = FULL[0]
    assert is_out_of_memory(wrapped)


def test_an_error_while_another_was_handled_does_not() -> None:
    other = ValueError("quite another")
    other.__context__ = FULL[0]
    assert not is_out_of_memory(other)
