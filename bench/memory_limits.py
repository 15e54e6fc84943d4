"""A command that the system refuses memory, even for its libraries, ends in a sentence.

Both packages install this as they are imported, before torch, numpy and pandas, which are what a
limit such as `ulimit -v` stops first.
"""

import os
import resource
import sys
from types import TracebackType

EXIT_OUT_OF_MEMORY = 4
REMEDY = "raise the limit (ulimit -v, SLURM's --mem), or use a machine with more memory"
# Below, OpenBLAS ends a process without an exception, or waits for ever, as numpy is imported.
LEAST_BYTES = 300 * 2**20
# Said by the dynamic linker, by CPython where even its exception has no room, by OpenBLAS, and by
# threads and processes that cannot be started.
REFUSALS = (
    "failed to map segment", "cannot allocate memory", "error return without exception set",
    "can't start new thread",
)  # fmt: skip


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


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if refused_memory(error):
        _end(sentence(error))
    sys.__excepthook__(kind, error, trace)


def _end(text: str) -> None:
    """Ends the process at once: libraries that are only half there crash as they are torn down."""
    print(text, file=sys.stderr, flush=True)
    os._exit(EXIT_OUT_OF_MEMORY)
