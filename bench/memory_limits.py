"""A command that the system refuses memory, even for its libraries, ends in a sentence.

Both packages install this as they are imported, before torch, numpy and pandas, which are what a
limit such as `ulimit -v` stops first.
"""

import ctypes
import os
import resource
import sys
from types import TracebackType

EXIT_OUT_OF_MEMORY = 4
REMEDY = "raise the limit (ulimit -v, SLURM's --mem), or use a machine with more memory"
# Below, OpenBLAS ends a process without an exception, or waits for ever, as numpy is imported.
LEAST_BYTES = 300 * 2**20
# Said by the dynamic linker, by CPython where even its exception has no room, by OpenBLAS, by
# threads and processes that cannot be started, and by C++.
REFUSALS = (
    "failed to map segment", "cannot allocate memory", "error return without exception set",
    "can't start new thread", "std::bad_alloc",
)  # fmt: skip
_kept: list[object] = []  # what C++ calls must not be collected


def refused_memory(error: BaseException) -> bool:
    """Whether the system refused memory; an ImportError may quote it after other words."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or any(refusal in words for refusal in REFUSALS)


def sentence(error: BaseException) -> str:
    """Says what was refused, in one line, and the remedy."""
    lines = (line for line in str(error).splitlines() if any(r in line.lower() for r in REFUSALS))
    return f"not enough memory ({next(lines, 'MemoryError').strip()}); {REMEDY}"


def tell_refused_memory() -> None:
    """Has a command of ours, started with `python -m`, say so in place of a traceback."""
    if sys.argv[:1] != ["-m"]:  # which Python has while it looks for the module of a command
        return
    sys.excepthook = _tell
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return
    # What each thread of OpenBLAS maps counts, used or not; of many cores, some have no room.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if limit < LEAST_BYTES:
        _end(f"not enough memory (a limit of {limit / 1e6:.0f} MB); {REMEDY}")
    _tell_terminated()


def _tell_terminated() -> None:
    """Has C++ that finds no memory, where nothing catches that, say so in place of an abort."""
    try:
        library = ctypes.CDLL("libstdc++.so.6")
    except OSError:  # another system than Linux with GNU's C++, whose limits are others too
        return
    handler = ctypes.CFUNCTYPE(None)
    exception_type = library.__cxa_current_exception_type
    set_terminate = library._ZSt13set_terminatePFvvE
    exception_type.restype = ctypes.POINTER(ctypes.c_char_p)  # a type_info: its vtable, its name
    set_terminate.argtypes, set_terminate.restype = [handler], handler

    def terminated() -> None:
        kind = exception_type()
        if kind and kind[1] == b"St9bad_alloc":
            _end(sentence(MemoryError("std::bad_alloc")))
        before()

    _kept.append(handler(terminated))
    before = set_terminate(_kept[-1])


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if refused_memory(error):
        _end(sentence(error))
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    # Libraries swallow a refusal, and miss later what they did not load.
    is_half_loaded = isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError)
    if is_half_loaded and limit != resource.RLIM_INFINITY:
        why = f"{error}, under a limit of {limit / 1e6:.0f} MB"
        _end(f"a library cannot be loaded, probably for want of memory ({why}); {REMEDY}")
    sys.__excepthook__(kind, error, trace)


def _end(text: str) -> None:
    """Ends the process at once: libraries that are only half there crash as they are torn down."""
    print(text, file=sys.stderr, flush=True)
    os._exit(EXIT_OUT_OF_MEMORY)
