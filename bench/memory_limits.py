"""A command that the system refuses memory, even for its libraries, ends in a sentence.

Both packages install this as they are imported, before torch, numpy and pandas, which are what a
limit such as `ulimit -v` stops first.
"""

import sys
from types import TracebackType

EXIT_OUT_OF_MEMORY = 4
REMEDY = "raise the limit (ulimit -v, SLURM's --mem), or use a machine with more memory"
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
    if sys.argv[:1] == ["-m"]:  # which Python has while it looks for the module of a command
        sys.excepthook = _tell


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not refused_memory(error):
        sys.__excepthook__(kind, error, trace)
        return
    print(sentence(error), file=sys.stderr)
    raise SystemExit(EXIT_OUT_OF_MEMORY)
