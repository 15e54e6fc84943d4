"""What tables say of tuned networks: the values chosen, and where the space was too small."""

from collections.abc import Sequence

from bench.tuning.schema import in_words, is_trial
from reports.compute.groups import Contestant
from reports.read.runs import Run, weighting
from reports.read.tuning import at_the_edge, chosen_values, tuning_of


def value_details(runs: Sequence[Run]) -> dict[str, str]:
    """Returns the values behind a row by key, with the class weighting where they differ by it."""
    found: dict[str, dict[str, dict[str, None]]] = {}  # key -> value -> weightings
    for run in runs:
        for key, value in chosen_values(run.config).items():
            found.setdefault(key, {}).setdefault(f"{value:g}", {})[weighting(run)] = None
    return {
        key: next(iter(values))
        if len(values) == 1
        else "; ".join(f"{', '.join(under)}: {value}" for value, under in values.items())
        for key, values in found.items()
    }


def edge_marks(one: Contestant) -> list[str]:
    """Returns what to say of values that lie at the edge of the space."""
    return list(dict.fromkeys(mark for run in one.runs for mark in at_the_edge(run.config)))


def tuning_notes(group: Sequence[Run]) -> list[str]:
    """Says how the values of a section were chosen."""
    tuning = tuning_of(group[0].config)
    if tuning is None or is_trial(tuning):
        return []
    return [
        f"Tuned, every network by the same trials: {in_words(tuning)}. A trial is one run (seed "
        f"{tuning.seed}), counts if it diverges, and reads no split that is reported. Intervals "
        "hold for the values chosen."
    ]
