"""What seeds can show: power by simulation, the number of seeds, the words under a table."""

from collections.abc import Callable
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from bench import records
from bench.metrics.uncertainty import Source, half_width
from reports.compute.pooling import Residual
from reports.read.runs import read_runs
from reports.tables.choice import context_of, numbered_table
from reports.tables.power import detectable, seeds_needed

pytest_plugins = ["run_fixtures"]

Make = Callable[..., Path]
NO_IMAGES = Source(0.0, 20)


def test_a_detectable_difference_is_shown_four_times_in_five() -> None:
    """Drawn: 3 seeds, residuals of 2 points known with 14 degrees of freedom."""
    left = Residual(0.02**2, 14)
    rng = np.random.default_rng(0)
    drawn = detectable(left, NO_IMAGES, 3) + 0.02 * sqrt(2 / 3) * rng.standard_normal(20_000)
    errors = 0.02 * sqrt(2 / 3) * np.sqrt(rng.chisquare(14, 20_000) / 14)
    shown = drawn > errors * half_width([Source(1.0, 14)])
    assert shown.mean() == pytest.approx(0.8, abs=0.02)


def test_seeds_needed_are_the_first_that_show_a_point() -> None:
    left = Residual(0.02**2, 14)
    found = seeds_needed(left, NO_IMAGES, 8)
    assert found is not None
    # About 2 (1.96 + 0.84)^2 (2 points / 1 point)^2.
    assert found == pytest.approx(2 * 2.8**2 * 4, rel=0.03)


def test_images_that_are_too_few_are_said_to_be() -> None:
    assert seeds_needed(Residual(0.02**2, 14), Source(0.02, 20), 8) is None


def test_a_table_says_what_its_seeds_can_show(make_run: Make, tmp_path: Path) -> None:
    """Residuals of 2 points, pooled; nothing is said of two seeds."""
    for name, turn in (("A", 0), ("B", 1), ("C", 2)):
        for seed in range(3):
            make_run(name, 0.7 + (0.02, -0.02, 0.0)[(seed + turn) % 3], seed=seed)
    root = tmp_path / "runs"

    def notes() -> str:
        (table,) = numbered_table("3", read_runs(records.run_folders(root)), context_of(root))
        return " ".join(table.sections[0].notes)

    assert "pooled over 3 networks (4 degrees of freedom)" in notes()
    assert "Power: of two networks named beforehand, 3 seeds show a difference" in notes()
    for folder in root.glob("*seed2"):
        (folder / "config.json").unlink()
    assert "Power" not in notes()
