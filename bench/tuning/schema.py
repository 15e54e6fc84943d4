"""The schema of `tuning`: the same trials for every network. Imports no torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from omegaconf import MISSING

from bench.typed import hashed, leaves

TRIALS = "trials"  # the folder, beside the runs, that holds the trials which chose their values


RANGE = {"low", "high", "log"}  # what an entry of a space has that is no list of values


class Criterion(StrEnum):
    """The validation score that selects the best iteration, or the best trial."""

    G = "G"
    C = "C"
    mIoU = "mIoU"  # noqa: N815 - the paper's name


class Rule(StrEnum):
    """How the values of the trials are taken from the space; see bench/tuning/space.py."""

    grid = "grid"
    halton = "halton"


@dataclass
class TuningConfig:
    """Trials of every network with the same values, of which a validation score chooses.

    The last four keys are of one run: bench fills them in, and no hash has them.
    """

    space: dict[str, Any] = MISSING  # key of the protocol: {low, high, log}, or a list of values
    trials: int = MISSING  # of every network, those that diverge included
    rule: Rule = Rule.grid
    select_on: str = "val"  # the only split that a trial is scored on; not one of the evaluated
    criterion: Criterion = Criterion.mIoU
    iterations: int | None = None  # of a trial; null: max_iterations
    halving: list[int] = field(default_factory=list)  # the better half of trials passes these
    seed: int = 0  # of every trial, and of rule halton
    trial: int | None = None  # which trial this is; null: the run that the trials decide
    rung: int = 0  # how many of `halving` it has passed
    rank: int | None = None  # asks for the trial that came so far at the last of them
    tried: list[str] = field(default_factory=list)  # folders of the trials that decided the values


OF_ONE_RUN = ("trial", "rung", "rank", "tried")


def is_trial(tuning: TuningConfig | None) -> bool:
    """Says whether a run is a trial, of which no more than a validation score is asked."""
    return tuning is not None and tuning.trial is not None


def flat(space: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a space by the dotted keys of the protocol."""
    return leaves(space, whole=RANGE) if space else {}


def hashed_tuning(tuning: TuningConfig, protocol: dict[str, Any]) -> dict[str, Any]:
    """Returns what tuning changes in the content of a fingerprint.

    A tuned run has the space in the place of the values, so that networks with other values stand
    side by side. A trial has its values, and says that it is one.

    Args:
        tuning: of the run.
        protocol: as it is hashed without tuning.
    """
    if is_trial(tuning):
        return {"trial": True}
    content = {k: v for k, v in hashed(tuning).items() if k not in OF_ONE_RUN}
    space = flat(tuning.space)
    return {"protocol": _without(protocol, space), "tuning": {**content, "space": space}}


def _without(protocol: dict[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out dotted keys."""
    kept: dict[str, Any] = {}
    for name, value in protocol.items():
        if isinstance(value, dict):
            below = {k.removeprefix(f"{name}."): None for k in keys if k.startswith(f"{name}.")}
            kept[name] = _without(value, below)
        elif name not in keys:
            kept[name] = value
    return kept


def stops(tuning: TuningConfig, max_iterations: int) -> list[int]:
    """Lists the iterations at which trials are compared, the last one to choose."""
    return [*tuning.halving, tuning.iterations or max_iterations]


def counts(tuning: TuningConfig) -> list[int]:
    """Lists how many trials of a network come to each stop: the better half, rounded up."""
    return [math.ceil(tuning.trials / 2**passed) for passed in range(len(tuning.halving) + 1)]


def budget(tuning: TuningConfig, max_iterations: int) -> int:
    """Returns the iterations of all trials of one network together."""
    ends = stops(tuning, max_iterations)
    lengths = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    return sum(n * length for n, length in zip(counts(tuning), lengths, strict=True))


def in_words(tuning: TuningConfig) -> str:
    """Says where the values come from: lr from 0.001 to 1 (log), 8 trials, best mIoU on val."""
    parts = []
    for key, entry in flat(tuning.space).items():
        if isinstance(entry, Mapping):
            scale = " (log)" if entry.get("log") else ""
            parts.append(f"{key} from {entry['low']:g} to {entry['high']:g}{scale}")
        else:
            parts.append(f"{key} of {', '.join(f'{value:g}' for value in entry)}")
    draw = "" if tuning.rule == Rule.grid else f" drawn ({tuning.rule})"
    draw += f" of seed {tuning.seed}" if tuning.seed else ""
    length = f" of {tuning.iterations} iterations" if tuning.iterations else ""
    halved = f", halved at {', '.join(map(str, tuning.halving))}" if tuning.halving else ""
    return (
        f"{' and '.join(parts)}, {tuning.trials} trials{length}{draw}{halved}, best "
        f"{tuning.criterion} on {tuning.select_on}"
    )
