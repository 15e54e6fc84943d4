"""Tuned runs and their trials: what they share, what was tried, what was chosen."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config import Config, read_config
from bench.records import read_end, run_folders
from bench.tuning.checks import check_tuning
from bench.tuning.choice import chosen, trial_score
from bench.tuning.schema import TRIALS, Criterion, TuningConfig, flat, in_words, is_trial, stops
from bench.tuning.space import Values, candidates, values_of
from bench.typed import leaves, typed

NOT_TUNED = "none"


def tuning_of(config: Mapping[str, Any]) -> TuningConfig | None:
    """Returns the tuning block of a recorded configuration.

    Raises:
        ValueError: it is not of this version.
    """
    if config.get("tuning") is None:
        return None
    tuning = typed(TuningConfig, config["tuning"], "tuning")
    check_tuning(tuning)
    return tuning


def with_tuning(config: Mapping[str, Any], conditions: dict[str, Any]) -> dict[str, Any]:
    """Puts the space in the place of the values that tuning chose from it.

    Args:
        config: of the run.
        conditions: the leaves of its `dataset` and `protocol`.
    """
    tuning = tuning_of(config)
    if tuning is None:
        return {**conditions, "tuning": NOT_TUNED}
    if is_trial(tuning):
        return {**conditions, "tuning": "a trial"}
    tuned = {f"protocol.{key}": "tuned" for key in flat(tuning.space)}
    return {**conditions, **tuned, "tuning": in_words(tuning)}


def terms(config: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> str:
    """Says on which terms networks were compared: tuned, 8 trials each; one rate for all.

    Args:
        config: of one of the networks.
        others: of all runs; where none is tuned, there is nothing to be told apart.
    """
    tuning = tuning_of(config)
    if tuning is not None:
        return "a trial" if is_trial(tuning) else f"tuned, {tuning.trials} trials each"
    keys = {key for other in others if (found := tuning_of(other)) for key in flat(found.space)}
    return f"one {'rate' if keys == {'lr'} else 'value'} for all" if keys else ""


def chosen_values(config: Mapping[str, Any]) -> Values:
    """Returns what tuning chose for a run; empty where nothing was tuned."""
    tuning = tuning_of(config)
    found = leaves(config["protocol"])
    return {key: found[key] for key in flat(tuning.space)} if tuning is not None else {}


def at_the_edge(config: Mapping[str, Any]) -> list[str]:
    """Says which of a run's chosen values are the smallest or the largest of those tried.

    Of two values, each is at an edge, which says nothing.
    """
    tuning = tuning_of(config)
    found = []
    for key, value in chosen_values(config).items():
        assert tuning is not None
        tried = sorted({values[key] for values in candidates(tuning)})
        if len(tried) > 2 and value in (tried[0], tried[-1]):
            where = "smallest" if value == tried[0] else "largest"
            found.append(
                f"{key} {value:g} is the {where} of those tried; better ones may lie beyond"
            )
    return found


@dataclass(frozen=True)
class Trial:
    """One trial of a network.

    Attributes:
        values: by the dotted key of the protocol.
        last: the iteration it came to.
        scores: fractions of 1 on the split that selects; None where it diverged.
        state: how it ended.
    """

    values: Values
    last: int
    scores: dict[Criterion, float | None]
    state: str


@dataclass(frozen=True)
class Trials:
    """All trials of a network.

    Attributes:
        tuning: the block.
        tried: by their number.
        winners: which of them each criterion chooses; that of the block decided.
    """

    tuning: TuningConfig
    tried: Sequence[Trial]
    winners: dict[Criterion, int]

    @property
    def chosen(self) -> int:
        """The number of the trial whose values the runs have."""
        return self.winners[self.tuning.criterion]


def trial_folders(root: Path) -> list[Path]:
    """Returns the folders of the trials that lie beside the runs of a folder."""
    return run_folders(root / TRIALS) if (root / TRIALS).is_dir() else []


def trials_of(folder: Path, folders: Sequence[Path] | None = None) -> Trials:
    """Reads what was tried for a tuned run, and chooses once more from it.

    Args:
        folder: of the run.
        folders: of its trials, in order; None: those that lie beside it.

    Raises:
        ValueError: a trial is missing or unsound, or the choice is another one than the run says.
    """
    config = read_config(folder)
    tuning = config.tuning
    assert tuning is not None
    folders = folders or [folder.parent / TRIALS / name for name in tuning.tried]
    configs = [read_config(path) for path in folders]
    ends = stops(tuning, config.max_iterations)
    winners = {criterion: chosen(folders, configs, ends, criterion) for criterion in Criterion}
    found = Trials(
        tuning, [_trial(*pair, ends) for pair in zip(folders, configs, strict=True)], winners
    )
    if found.tried[found.chosen].values != values_of(config):
        raise ValueError(
            f"{folder / 'config.json'}: has {values_of(config)}, but its trials choose "
            f"{found.tried[found.chosen].values}; a record was changed, restore it"
        )
    return found


def _trial(folder: Path, config: Config, ends: Sequence[int]) -> Trial:
    """Reads a trial at the last stop that it came to."""
    end = read_end(folder)
    for last in reversed(ends):
        try:
            scores = {one: trial_score(folder, config, last, one) for one in Criterion}
        except ValueError:  # halving stopped it before
            continue
        return Trial(values_of(config), last, scores, end.state if end else "finished")
    raise ValueError(f"{folder}: this trial has no result")
