"""Which trial is the best, by validation alone: a function of the trials' records, without torch.

Nothing but the evaluations of `tuning.select_on` is read, so neither the test set, nor the order
in which trials were made, nor what made them has a say.
"""

from collections.abc import Sequence
from math import isnan
from pathlib import Path

import numpy as np

from bench import records
from bench.config import Config
from bench.metrics.regions import region_score
from bench.records import State
from bench.selection import best_iteration
from bench.tuning.schema import Criterion, TuningConfig, counts
from bench.tuning.space import as_text, values_of

Scores = Sequence[float | None]  # of trials by their number; None: diverged


def trial_score(folder: Path, config: Config, last: int, criterion: Criterion) -> float | None:
    """Returns the score of a trial where it is judged: as any run, at its best or last iteration.

    Args:
        folder: of the trial.
        config: its own.
        last: nothing after this iteration counts.
        criterion: the score.

    Returns:
        A fraction of 1; None where the trial diverged or the score is undefined.

    Raises:
        ValueError: the trial has not come so far yet.
    """
    assert config.tuning is not None
    end = records.read_end(folder)
    read = records.read_evaluations(folder, config.tuning.select_on)
    by_iteration = {e["iteration"]: e for e in read if e["iteration"] <= last}
    stopped = end is not None and end.state == State.finished and (end.max_iterations or 0) >= last
    best = best_iteration(folder, config, last) or max(by_iteration, default=None)
    if not (last in by_iteration or stopped) or best not in by_iteration:
        if end is not None and end.state == State.diverged:
            return None
        raise ValueError(_unfinished(config, end))
    score = region_score(np.array(by_iteration[best]["confusion"]), criterion)
    return None if isnan(score) else score


def _unfinished(config: Config, end: records.End | None) -> str:
    how = f"{end.state.replace('_', ' ')}: {end.reason}" if end else "not finished"
    return (
        f"the trial of {config.arch['name']} with {as_text(values_of(config))} has no result "
        f"({how}); `python -m bench -m` with the same overrides goes on"
    )


def ranked(numbers: Sequence[int], scores: Scores) -> list[int]:
    """Sorts trials, the best first; of equals the lower number, and what diverged last."""

    def key(number: int) -> tuple[float, int]:
        score = scores[number]
        return (float("inf") if score is None else -score), number

    return sorted(numbers, key=key)


def standing(
    folders: Sequence[Path], trials: Sequence[Config], ends: Sequence[int], rungs: int
) -> list[int]:
    """Returns the trials that passed so many halvings, the best at the last of them first.

    Args:
        folders: of the trials.
        trials: their configurations.
        ends: the iterations at which they are compared, see `stops`.
        rungs: how many of these halve.
    """
    tuning = _tuning(trials)
    alive = list(range(len(trials)))
    for rung in range(rungs):
        alive = _judged(folders, trials, alive, ends[rung], tuning.criterion)
        alive = alive[: counts(tuning)[rung + 1]]
    return alive


def chosen(
    folders: Sequence[Path],
    trials: Sequence[Config],
    ends: Sequence[int],
    criterion: Criterion | None = None,
) -> int:
    """Returns the number of the trial that won.

    Args:
        folders: of the trials.
        trials: their configurations.
        ends: the iterations at which they are compared, see `stops`.
        criterion: by which the last comparison is made; None: that of the tuning block.

    Raises:
        ValueError: a trial has no result yet, or all diverged.
    """
    tuning = _tuning(trials)
    criterion = criterion or tuning.criterion
    alive = standing(folders, trials, ends, len(tuning.halving))
    best = _judged(folders, trials, alive, ends[-1], criterion)[0]
    if trial_score(folders[best], trials[best], ends[-1], criterion) is None:
        raise ValueError(
            f"all {len(trials)} trials of {trials[0].arch['name']} diverged; widen tuning.space"
        )
    return best


def _judged(
    folders: Sequence[Path],
    trials: Sequence[Config],
    alive: Sequence[int],
    last: int,
    criterion: Criterion,
) -> list[int]:
    scores: list[float | None] = [None] * len(trials)
    for number in alive:
        scores[number] = trial_score(folders[number], trials[number], last, criterion)
    return ranked(alive, scores)


def _tuning(trials: Sequence[Config]) -> TuningConfig:
    tuning = trials[0].tuning
    assert tuning is not None
    return tuning
