"""How an exception is told in a record: out of memory, or failed, and why in one line."""

import traceback

import torch

from bench.memory_limits import REMEDY, refused_memory, sentence
from bench.records import State

# Said by the CPU's allocator, which has no exception of its own, and by CUDA and its libraries
# where they allocate beside torch's allocator, such as for a context or a workspace.
NO_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
CPU_ALLOCATOR = "DefaultCPUAllocator: "  # follows the place in torch's sources
DEVICE_REMEDY = "share the batch between GPUs (processes=N), or use one with more memory"


def failure(error: BaseException) -> tuple[State, str]:
    """Returns the state of what an exception ended, and the reason.

    A reason of our own (a ValueError) is given as it is, others with the exception's name. Out of
    memory, a remedy of ours is followed by what the allocator said, or else comes after it.
    """
    chain = _with_causes(error)
    memory = dict.fromkeys(filter(None, map(_lack_of_memory, chain)))
    if memory:
        ours = any(isinstance(one, MemoryError) and isinstance(one, ValueError) for one in chain)
        return State.out_of_memory, ": ".join(memory) + ("" if ours else f"; {_remedy(chain)}")
    if isinstance(error, ValueError):
        return State.failed, str(error)
    if refused_memory(error):
        return State.out_of_memory, sentence(error)
    return State.failed, traceback.format_exception_only(error)[-1].strip()


def _remedy(chain: list[BaseException]) -> str:
    """Says what helps, where memory of the machine or of a device was missing."""
    of_host = any(isinstance(one, MemoryError) or CPU_ALLOCATOR in str(one) for one in chain)
    return REMEDY if of_host else DEVICE_REMEDY


def _with_causes(error: BaseException) -> list[BaseException]:
    """Returns the error and what it was raised from: building a network wraps what it meets."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:  # a wrapper may be the cause of what it wraps
        chain.append(cause)
        cause = cause.__cause__
    return chain


def _lack_of_memory(error: BaseException) -> str | None:
    """Returns what an allocator said, sizes included and advice left out; None for other errors."""
    if isinstance(error, MemoryError):
        return str(error) or "MemoryError"
    if not isinstance(error, RuntimeError):
        return None
    lines = [line for line in str(error).splitlines() if any(word in line for word in NO_MEMORY)]
    if isinstance(error, torch.OutOfMemoryError):
        lines = str(error).splitlines()
    if not lines:
        return None
    sentence = lines[0].rpartition(CPU_ALLOCATOR)[2]
    for advice in (" If reserved but unallocated", " Error code 12"):
        sentence = sentence.partition(advice)[0]
    return sentence.strip()
