"""What a run sets for its process."""

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from bench.run.device import prepare_device
from bench.run.loss import batch_loss
from bench.run.network import build_network


def test_memory_that_is_written_anyway_is_not_filled_before(
    tiny_config: Callable[..., Any],
) -> None:
    """Deterministic mode fills every empty tensor unless it is told not to."""
    config = tiny_config("device=cpu")
    prepare_device(config)
    assert torch.are_deterministic_algorithms_enabled()
    network = build_network(config)
    images, labels = torch.randn(2, 3, 32, 48), torch.zeros(2, 32, 48, dtype=torch.uint8)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        batch_loss(network(images), labels, None, 11, "labelled_pixels").backward()
    counts = {event.key: event.count for event in profiled.key_averages()}
    assert counts["aten::empty"] > 50
    assert counts.get("aten::fill_", 0) < 20
