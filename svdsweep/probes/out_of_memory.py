"""Whether an exception says that memory is full; workers and the processes around them ask here. No torch."""

TEXTS = (
    "CUDA out of memory",
    "CUDA error: out of memory",  # also of page-locked host memory
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    # cuDNN passes over every kernel whose workspace the allocator refuses, until none is left ("GET was", "FIND was")
    "unable to find an engine to execute this computation",
    "can't allocate memory",  # PyTorch's allocator of host memory
    "HIP out of memory",
    "HIP error: out of memory",
    "hipErrorOutOfMemory",
    "HIPBLAS_STATUS_ALLOC_FAILED",
    "miopenStatusAllocFailed",
    "XPU out of memory",
    "UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY",
    "UR_RESULT_ERROR_OUT_OF_HOST_MEMORY",
    "MPS backend out of memory",
    "Invalid buffer size",  # Metal's, of one tensor that is larger than it gives at once
)
"""What PyTorch and the makers' libraries write into a RuntimeError that has no type of its own."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether `error`, or what it was raised from (a compiler wraps what it meets), is for lack of memory, of the
    device or of the host: by the name of its type, Python's or PyTorch's, or by a text of `TEXTS`."""
    if error is None:
        return False
    names = {kind.__name__ for kind in type(error).__mro__}
    told = isinstance(error, RuntimeError) and any(text in str(error) for text in TEXTS)
    return told or bool(names & {"MemoryError", "OutOfMemoryError"}) or is_out_of_memory(error.__cause__)
