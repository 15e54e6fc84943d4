"""A terminal, a pipe or a file that the output goes to, and that may vanish. Imports no torch."""

import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

EXIT_UNWRITTEN = 2


class OutputError(ValueError):
    """What a program is for cannot be written."""


class Console:
    """A stream of text that a program outlives.

    A reader that has seen enough, such as `head`, is no failure. Nor is a full disk behind the
    stream, where the output only accompanies the work; where it is the work, it is an error.

    Args:
        stream: sys.stdout or sys.stderr.
        essential: whether the output is what the program is for.
    """

    def __init__(self, stream: TextIO, *, essential: bool) -> None:
        self._stream, self._essential = stream, essential
        if hasattr(stream, "reconfigure"):  # an ASCII locale shows what it has no letter for
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes text, or drops it where nobody reads it."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lost(error)
            return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes lines likewise."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hands over what was written, likewise.

        Raises:
            OutputError: essential output cannot be written.
        """
        try:
            self._stream.flush()
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> None:
        """Sends the rest nowhere; also what is still in the buffer and comes at the end."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if self._essential and not isinstance(error, BrokenPipeError):
            raise OutputError(f"the output cannot be written ({error.strerror})") from error


def outlive_consoles(*, essential: bool) -> None:
    """Has the program outlive its standard streams, see `Console`; a closed one is nowhere."""
    if isinstance(sys.stdout, Console):
        return
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - to the end
    sys.stdout = Console(sys.stdout, essential=essential)
    sys.stderr = Console(sys.stderr, essential=False)
    sys.excepthook = partial(_tell, sys.excepthook)


def _tell(
    otherwise: Callable[..., Any],
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    """Says in a sentence that the output cannot be written, where no command has caught it."""
    if not isinstance(error, OutputError):
        otherwise(kind, error, trace)
        return
    print(error, file=sys.stderr, flush=True)
    os._exit(EXIT_UNWRITTEN)
