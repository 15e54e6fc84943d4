"""Which iteration of a recorded run is its best, and which its weights are from; without torch."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bench import records
from bench.config import Config, read_config
from bench.metrics.regions import region_score


def validations(folder: Path, config: Config) -> list[tuple[int, float]]:
    """Lists (iteration, score) of the recorded validations."""
    validation = config.protocol.validation
    if validation.every is None:
        return []
    return scored(records.read_evaluations(folder, validation.split), validation.criterion)


def scored(evaluations: Iterable[dict[str, Any]], criterion: str) -> list[tuple[int, float]]:
    """Returns (iteration, score) of evaluations of a validation split."""
    return [
        (e["iteration"], region_score(np.array(e["confusion"]), criterion)) for e in evaluations
    ]


def best_of(scores: Iterable[tuple[int, float]]) -> int | None:
    """Returns the iteration with the highest score, the first if several have it; None of none."""
    ranked = [(score, -iteration) for iteration, score in scores]
    return -max(ranked)[1] if ranked else None


def best_iteration(folder: Path, config: Config, last: int | None = None) -> int | None:
    """Returns the iteration that validation selects, see `best_of`.

    Args:
        folder: the run.
        config: its own.
        last: the last iteration to be considered; None: all.
    """
    return best_of(
        (iteration, score)
        for iteration, score in validations(folder, config)
        if last is None or iteration <= last
    )


def selected_iteration(folder: Path) -> int:
    """Returns the iteration a run is judged by: its best by validation, or its last evaluated one.

    Raises:
        ValueError: the folder is no run, or the run has not been evaluated yet.
    """
    config = read_config(folder)
    best = best_iteration(folder, config)
    if best is not None:
        return best
    evaluated: list[int] = [e["iteration"] for e in records.read_evaluations(folder)]
    if not evaluated:
        raise ValueError(f"{folder}: this run has not been evaluated yet, so it has no weights")
    return max(evaluated)
