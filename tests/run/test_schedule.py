"""The learning rate is a function of (iteration, last iteration), with known values at its ends."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from bench.run.schedule import rate_factor


def protocol(schedule: str, warm_up: int = 0, power: float = 0.9) -> SimpleNamespace:
    return SimpleNamespace(schedule=schedule, warm_up_iterations=warm_up, poly_power=power)


@pytest.mark.parametrize("schedule", ["constant", "poly", "cosine"])
def test_the_first_update_after_warm_up_has_the_full_rate(schedule: str) -> None:
    assert rate_factor(protocol(schedule), 0, 100) == 1.0
    assert rate_factor(protocol(schedule, warm_up=10), 10, 100) == 1.0


def test_warm_up_rises_in_equal_steps_to_the_full_rate() -> None:
    found = [rate_factor(protocol("poly", warm_up=4), i, 100) for i in range(4)]
    assert found == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_the_rate_falls_strictly_and_stays_above_0_until_the_end(schedule: str) -> None:
    found = [rate_factor(protocol(schedule, warm_up=5), i, 50) for i in range(5, 50)]
    assert all(later < earlier for earlier, later in pairwise(found))
    assert 0 < found[-1] < 0.05


def test_half_way_values_are_those_of_the_formulas() -> None:
    assert rate_factor(protocol("poly"), 50, 100) == pytest.approx(0.5**0.9)
    assert rate_factor(protocol("poly", power=1.0), 75, 100) == pytest.approx(0.25)
    assert rate_factor(protocol("cosine"), 50, 100) == pytest.approx(0.5)
    assert rate_factor(protocol("constant"), 99, 100) == 1.0


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_values_are_those_of_torch(schedule: str) -> None:
    """torch.optim.lr_scheduler's own schedules, stepped from the start, as an oracle."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    if schedule == "poly":
        oracle = torch.optim.lr_scheduler.PolynomialLR(optimiser, total_iters=40, power=0.9)
    else:
        oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=40)
    for iteration in range(40):
        expected = optimiser.param_groups[0]["lr"]
        assert rate_factor(protocol(schedule), iteration, 40) == pytest.approx(expected)
        optimiser.step()
        oracle.step()
