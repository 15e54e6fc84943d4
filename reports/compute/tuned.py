"""`python -m reports tuning RUNS`: what was tried for every network, and what else would win."""

from collections.abc import Sequence

import pandas as pd

from bench.tuning.schema import Criterion, in_words, is_trial
from bench.tuning.space import as_text
from bench.words import figure
from reports.compute.groups import contestants, groups, told_apart
from reports.read.runs import Run, warn
from reports.read.tuning import Trials, trials_of, tuning_of

NOTHING_TUNED = "no run here was tuned; `python -m bench -m ... tuning=lr` does"


def trials_by_network(group: Sequence[Run]) -> dict[str, Trials]:
    """Returns the trials of every network of one fingerprint; without trials there are none."""
    tuning = tuning_of(group[0].config)
    if tuning is None or is_trial(tuning):
        return {}
    found = {}
    for one in contestants(group):
        try:
            found[one.label] = trials_of(one.first.folder)
        except ValueError as error:
            warn(f"the trials of {one.label}: {error}")
    return found


def tuning_lines(runs: Sequence[Run], criterion: Criterion | None = None) -> list[str]:
    """Formats all trials for a terminal, the chosen ones marked.

    Args:
        runs: any runs.
        criterion: by which to choose once more from the records; None: by the one that decided.
    """
    lines: list[str] = []
    for group in groups(runs):
        found = trials_by_network(group)
        if not found:
            continue
        config = group[0].config
        tuning = next(iter(found.values())).tuning
        by = criterion or tuning.criterion
        on = told_apart(group, runs)
        lines += [
            f"{config['dataset']['name']}, protocol {config['protocol']['name']}, {on}, "
            f"fingerprint {group[0].fingerprint}",
            f"{in_words(tuning)}; * chosen" + ("" if by == tuning.criterion else f", + by {by}"),
            "",
            _table(found, by),
            "",
        ]
    return lines[:-1] or [NOTHING_TUNED]


def _table(found: dict[str, Trials], by: Criterion) -> str:
    """Sets networks as lines and values as columns: the score of each trial in percent."""
    rows = []
    for label, trials in found.items():
        cells = {"network": label}
        for number, trial in enumerate(trials.tried):
            score = trial.scores[by]
            text = trial.state if score is None else figure(100 * score, 1)
            marks = "*" * (number == trials.chosen)
            if number == trials.winners[by] != trials.chosen:
                marks += "+"
            cells[as_text(trial.values)] = f"{text}{marks}"
        rows.append(cells)
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True, tablefmt="simple")
