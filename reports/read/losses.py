"""Reading the losses of a run, none of which may be missing."""

from pathlib import Path
from typing import Any

from bench import losses, records
from bench.records import End, State
from reports.read.runs import sound, warn


def read_losses(folder: Path) -> list[dict[str, Any]]:
    """Returns the lines of losses.jsonl: first, losses, seconds; none if the file is unsound."""
    try:
        return whole_losses(folder, sound(records.read_end, folder))
    except ValueError as error:
        warn(str(error))
        return []


def whole_losses(folder: Path, end: End | None) -> list[dict[str, Any]]:
    """Returns the lines of losses.jsonl.

    Args:
        folder: the run.
        end: how it ended; a finished run has the loss of every iteration.

    Raises:
        ValueError: a line is damaged or missing.
    """
    lines = list(losses.read_losses(folder))
    last = lines[-1]["first"] + len(lines[-1]["losses"]) - 1 if lines else 0
    wanted = end.iteration or 0 if end and end.state == State.finished else 0
    if last < wanted:
        raise ValueError(
            f"{folder / 'losses.jsonl'}: ends at iteration {last}, the run at {wanted}; losses are "
            "missing"
        )
    return lines
