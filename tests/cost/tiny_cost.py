"""The configuration of a measurement that takes a second."""

from collections.abc import Callable
from dataclasses import replace

from bench.config import Config

TINY_COST = [
    "device=cpu",
    "protocol.deterministic=false",
    "cost.measure=true",
    "cost.samples=3",
    "cost.seconds=3",
    "cost.training_batch=2",
]


def cost_composer(compose: Callable[..., Config]) -> Callable[..., Config]:
    """Returns a composer of tiny measurements from that of tiny runs."""
    return lambda *overrides: replace(compose(*TINY_COST, *overrides), command="a test")
