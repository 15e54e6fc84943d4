"""`python -m reports status RUNS`: where every run of a sweep is now."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from reports.runs import Run, without_postprocessings

ORDER = ("running", "silent", "pending", "interrupted", "failed", "diverged", "out_of_memory")
DETAIL = 40  # columns of the terminal for a reason


def status(runs: Sequence[Run]) -> str:
    """Formats the state of runs, those that still need attention first, counted at the end."""
    runs = without_postprocessings(runs)
    rank = {state: number for number, state in enumerate(ORDER)}
    ordered = sorted(runs, key=lambda run: (rank.get(run.state, len(rank)), run.folder.name))
    frame = pd.DataFrame(
        [
            {
                "network": run.name[:24],
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
    return f"{table}\n\n{len(runs)} runs: {total}"


def _short(detail: str) -> str:
    return detail if len(detail) <= DETAIL else f"{detail[: DETAIL - 3]}..."
