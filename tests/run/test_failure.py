"""What is said of an exception: one rule for runs and for measurements."""

import pytest
import torch

from bench.data.splits import DoesNotFitError
from bench.memory_limits import REMEDY
from bench.run.failure import DEVICE_REMEDY, failure

SIZES = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.10 GiB of "
    "which 1.25 GiB is free. Including non-PyTorch memory, this process has 77.85 GiB memory in "
    "use. Of the allocated memory 70.00 GiB is allocated by PyTorch, and 6.00 GiB is reserved by "
    "PyTorch but unallocated."
)
ADVICE = " If reserved but unallocated memory is large try setting PYTORCH_ALLOC_CONF=..."
ASYNCHRONOUS = "\nCUDA kernel errors might be asynchronously reported at some other API call."


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError(SIZES + ADVICE), SIZES),
        (RuntimeError("CUDA error: out of memory" + ASYNCHRONOUS), "CUDA error: out of memory"),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`",
        ),
        (
            RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
            "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        ),
        (
            RuntimeError("NCCL error\nLast error:\nCuda failure 2 'out of memory'"),
            "Cuda failure 2 'out of memory'",
        ),
    ],
)
def test_every_allocator_is_understood_and_its_sizes_are_kept(
    error: Exception, reason: str
) -> None:
    assert failure(error) == ("out_of_memory", f"{reason}; {DEVICE_REMEDY}")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError("Unable to allocate 2 GiB"), "Unable to allocate 2 GiB"),
        (MemoryError(), "MemoryError"),
        (
            OSError(12, "Cannot allocate memory"),
            "not enough memory ([Errno 12] Cannot allocate memory)",
        ),
        (RuntimeError("can't start new thread"), "not enough memory (can't start new thread)"),
    ],
)
def test_a_machine_without_memory_is_out_of_memory_with_the_remedy(
    error: Exception, reason: str
) -> None:
    assert failure(error) == ("out_of_memory", f"{reason}; {REMEDY}")


def test_the_allocator_of_the_cpu_says_how_much_was_asked_for() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60)
    state, reason = failure(raised.value)
    assert state == "out_of_memory"
    assert reason.startswith("can't allocate memory: you tried to allocate 4611686018427387904 b")
    assert reason.endswith(REMEDY)


def test_a_network_too_large_to_be_built_is_out_of_memory() -> None:
    """What its constructor met is wrapped into a sentence about its arguments."""
    wrapped = ValueError("arch._target_ mynet.MyNet cannot be called")
    wrapped.__cause__ = RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")
    assert failure(wrapped) == ("out_of_memory", f"can't allocate memory: 9 bytes; {REMEDY}")


def test_data_that_do_not_fit_keep_their_remedy_before_the_sizes() -> None:
    error = DoesNotFitError("train does not fit on cuda; set dataset.resident=memory")
    error.__cause__ = torch.OutOfMemoryError(SIZES + ADVICE)
    assert failure(error) == ("out_of_memory", f"{error}: {SIZES}")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("lr is out of memory; raise it"), "lr is out of memory; raise it"),
        (RuntimeError("shapes cannot be multiplied"), "RuntimeError: shapes cannot be multiplied"),
        (KeyError("weight"), "KeyError: 'weight'"),
    ],
)
def test_other_errors_failed(error: Exception, reason: str) -> None:
    assert failure(error) == ("failed", reason)


def test_a_circle_of_causes_ends() -> None:
    """As where a wrapped error is taken out and raised from its wrapper."""
    inner, wrapper = ValueError("no such split"), RuntimeError("error in call")
    inner.__cause__, wrapper.__cause__ = wrapper, inner
    assert failure(inner) == ("failed", "no such split")
