"""`python -m reports status RUNS`: where every run of a sweep is now."""

import textwrap
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from reports.runs import Run, without_postprocessings

ORDER = ("running", "silent", "pending", "interrupted", "failed", "diverged", "out_of_memory")
NAME, DETAIL = 36, 30  # columns of the terminal for a network and for a reason
WIDTH = 100


def status(runs: Sequence[Run]) -> str:
    """Formats the state of runs, those that still need attention first, counted at the end."""
    runs = without_postprocessings(runs)
    rank = {state: number for number, state in enumerate(ORDER)}
    ordered = sorted(runs, key=lambda run: (rank.get(run.state, len(rank)), run.folder.name))
    frame = pd.DataFrame(
        [
            {
                "network": run.name[:NAME],
                "seed": str(run.seed),
                "state": run.state.replace("_", " "),
                "evaluated": str(max((e["iteration"] for e in run.evaluations), default="")),
                "detail": _short(run.detail),
            }
            for run in ordered
        ]
    )
    counts = Counter(run.state.replace("_", " ") for run in runs)
    total = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    table = frame.to_markdown(index=False, disable_numparse=True, tablefmt="simple")
    return "\n\n".join([table, *_reasons(ordered), f"{len(runs)} runs: {total}"])


def _reasons(runs: Sequence[Run]) -> list[str]:
    """Gives in full what the table cuts off, once for all runs that share it."""
    cut: dict[str, list[str]] = {}
    for run in runs:
        if len(run.detail) > DETAIL:
            cut.setdefault(run.detail, []).append(f"{run.name}, seed {run.seed}")
    return [
        textwrap.fill(
            f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {detail}",
            WIDTH,
            subsequent_indent="  ",
        )
        for detail, names in cut.items()
    ]


def _short(detail: str) -> str:
    return detail if len(detail) <= DETAIL else f"{detail[: DETAIL - 3]}..."
