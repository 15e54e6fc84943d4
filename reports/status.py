"""`python -m reports status RUNS`: where every run of a sweep is now."""

import shutil
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Sequence

from bench import records
from bench.tuning.schema import is_trial
from bench.tuning.space import as_text
from bench.words import duration
from reports.read.runs import Run, sound, without_postprocessings
from reports.read.tuning import chosen_values, tuning_of

ORDER = ("running", "silent", "pending", "interrupted", "failed", "diverged", "out_of_memory")
HEADERS = ("network", "seed", "state", "evaluated", "left", "heard", "detail")
WIDTH = 100
CLOCKS_AGREE = 5.0  # seconds by which the clocks of two machines may differ unsaid
NAME = 36  # columns for a network
DETAIL = 20  # at least so many columns of a terminal for the last column


def status(runs: Sequence[Run]) -> str:
    """Formats the state of runs, those that still need attention first, counted at the end.

    Lines are cut to the width of a terminal, 100 columns where there is none; what is cut follows.
    """
    runs = without_postprocessings(runs)
    rank = {state: number for number, state in enumerate(ORDER)}
    ordered = sorted(runs, key=lambda run: (rank.get(run.state, len(rank)), run.folder.name))
    rows = [list(HEADERS), *map(_row, ordered)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
    room = columns - sum(widths[:-1]) - 2 * len(widths[:-1])
    widths[-1] = min(widths[-1], max(room, DETAIL))
    rows.insert(1, ["-" * width for width in widths])
    lines = [
        "  ".join(_short(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    table = "\n".join(line.rstrip() for line in lines)
    counts = Counter(run.state.replace("_", " ") for run in runs)
    total = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return "\n\n".join(
        [table, *_reasons(ordered, widths[-1], columns), f"{len(runs)} runs: {total}"]
    )


def _reasons(runs: Sequence[Run], room: int, columns: int) -> list[str]:
    """Gives in full what the table cuts off, once for all runs that share it."""
    cut: dict[str, list[str]] = {}
    for run in runs:
        if len(run.detail) > room:
            cut.setdefault(run.detail, []).append(f"{run.name}, seed {run.seed}")
    return [
        textwrap.fill(
            f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {detail}",
            min(WIDTH, columns),
            subsequent_indent="  ",
        )
        for detail, names in cut.items()
    ]


def _row(run: Run) -> list[str]:
    """Returns the columns of a run; what is left and when it was heard of, while it has no end."""
    left = heard = ""
    if run.state in {"running", "silent"}:
        progress = sound(records.read_progress, run.folder)
        assert progress is not None
        heard = _heard(time.time() - progress.time)
        if run.state == "running" and progress.phase == "training" and progress.seconds is not None:
            left = duration(progress.seconds * (progress.total - progress.done))
    return [
        _name(run)[:NAME],
        str(run.seed),
        run.state.replace("_", " "),
        str(max((e["iteration"] for e in run.evaluations), default="")),
        left,
        heard,
        run.detail,
    ]


def _name(run: Run) -> str:
    """Returns a network's name, of a trial with the values that it tries."""
    tuning = tuning_of(run.config)
    return f"{run.name}, {as_text(chosen_values(run.config))}" if is_trial(tuning) else run.name


def _heard(seconds: float) -> str:
    """Says when a run was heard of; another machine's clock may be ahead of this one's."""
    ahead = f"its clock is {duration(-seconds)} ahead"
    return ahead if seconds < -CLOCKS_AGREE else f"{duration(max(0.0, seconds))} ago"


def _short(detail: str, room: int) -> str:
    return detail if len(detail) <= room else f"{detail[: room - 3]}..."
