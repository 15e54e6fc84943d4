"""Predictions keep the folders that a name has, and reports find them there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from folders import label, write_set

from bench.config import Config
from bench.data.images import read_label
from bench.data.splits import load_splits
from bench.run.evaluation import collect_evidence
from reports.figures.grid import Predictions


def test_predictions_of_two_cities_lie_apart(
    tmp_path: Path, configured: Callable[..., Config]
) -> None:
    names = ["berlin/0000", "bonn/0000"]
    write_set(tmp_path / "own", {"test": names})
    config = configured("folder", tmp_path / "own")
    split = load_splits(config, ["test"])["test"]
    predictions = ((index, label(index), None) for index in range(2))
    arguments: Any = (predictions, split, config.dataset, tmp_path / "pictures")
    evidence = collect_evidence(*arguments)
    assert evidence["names"].tolist() == names
    kept = Predictions("a network", tmp_path / "pictures")
    assert kept.names() == set(names)
    for index, name in enumerate(names):
        assert (kept.map_of(name) == label(index)).all()
        assert (read_label(tmp_path / "pictures" / f"{name}.png") == label(index)).all()
    assert np.trace(evidence["confusion"].sum(axis=0)) == 2 * 24 * 32
