"""Memory: estimates counted by hand, a known allocation, and readings that are not there."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.cost.check import ALLOCATION_BYTES, check_memory
from bench.cost.memory import MemoryMeter, estimate_peak
from bench.cost.workload import Workload
from bench.run.loss import dice_loss
from bench.run.network import build_network

Compose = Callable[..., dict[str, Any]]
SIZE = 32 * 48  # of the tiny configuration's images
CLASSES = 11


def test_inference_holds_weights_input_and_output(tiny_config: Compose) -> None:
    network = nn.Conv2d(3, CLASSES, 1, bias=False)
    weights, images, logits = 4 * 3 * CLASSES, 2 * 4 * 3 * SIZE, 2 * 4 * CLASSES * SIZE
    labels = 2 * SIZE
    estimate = estimate_peak(network, tiny_config(), 2, training=False)
    assert estimate == weights + images + labels + logits


def test_training_adds_gradients_momentum_and_activations(tiny_config: Compose) -> None:
    config = tiny_config()
    network = build_network(config)
    parameters = 4 * sum(p.numel() for p in network.parameters())
    inference = estimate_peak(network, config, 4, training=False)
    training = estimate_peak(network, config, 4, training=True)
    assert training > inference + 2 * parameters


def test_activations_grow_with_the_batch(tiny_config: Compose) -> None:
    config = tiny_config()
    network = build_network(config)
    one, two, four = (estimate_peak(network, config, n, training=True) for n in (1, 2, 4))
    assert four - two == 2 * (two - one)


def test_estimating_leaves_the_network_as_it_was(tiny_config: Compose) -> None:
    config = tiny_config()
    network = build_network(config).eval()
    estimate_peak(network, config, 1, training=True)
    assert not network.training
    assert all(p.grad is None for p in network.parameters())


def test_a_known_allocation_shows_in_the_resident_size() -> None:
    meter = MemoryMeter(None)
    before = meter.read(torch.device("cpu"))["resident_bytes"]
    block = torch.ones(2**27, dtype=torch.uint8)
    grown = meter.read(torch.device("cpu"))["resident_bytes"] - before
    assert abs(grown - block.nbytes) < 0.1 * block.nbytes


def test_readings_that_a_cpu_does_not_have_are_none() -> None:
    readings = MemoryMeter(None).read(torch.device("cpu"))
    assert readings.pop("resident_bytes") is not None
    assert set(readings.values()) == {None}


def test_every_iteration_of_a_workload_is_the_same_work(tiny_config: Compose) -> None:
    """The learning rate is 0: weights stay put, and momentum is there from the beginning."""
    config = tiny_config()
    network = build_network(config)
    before = [p.clone() for p in network.parameters()]
    work = Workload.make(network, config, 2, training=True, frozen_statistics=True)
    assert work.optimiser is not None
    assert all("momentum_buffer" in state for state in work.optimiser.state.values())
    work.run()
    for old, new in zip(before, network.parameters(), strict=True):
        assert torch.equal(old, new)
        assert new.grad is None


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_the_loss_of_a_workload_is_that_of_training(
    tiny_config: Compose, monkeypatch: pytest.MonkeyPatch, weight: float
) -> None:
    """The Dice loss is work where training has it."""
    config, seen = tiny_config(f"protocol.dice_weight={weight}"), []

    def dice(logits: Tensor, labels: Tensor, void: int) -> Tensor:
        seen.append(void)
        return dice_loss(logits, labels, void)

    monkeypatch.setattr("bench.run.loss.dice_loss", dice)
    Workload.make(build_network(config), config, 2, training=True).run()
    assert len(seen) == (weight > 0)


def test_frozen_statistics_train_a_map_of_one_pixel_with_one_image(tiny_config: Compose) -> None:
    """As Table 6's batch of 1 needs for DeconvNet."""
    config = tiny_config("arch=deconvnet", "arch.width=2", "arch.fc_width=4")
    work = Workload.make(build_network(config), config, 1, training=True, frozen_statistics=True)
    work.run()
    assert work.network.training


def test_an_earlier_peak_does_not_hide_a_known_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the machine, on a GPU that is not there and once held four times as much."""
    now, peak = [0], [4 * ALLOCATION_BYTES]

    def allocate(count: int, **how: Any) -> torch.Tensor:
        now[0] += count
        peak[0] = max(peak[0], now[0])
        return torch.empty(count, dtype=torch.uint8)

    def reset(device: torch.device) -> None:
        peak[0] = now[0]

    monkeypatch.setattr(torch, "ones", allocate)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    for reading in ("max_memory_allocated", "max_memory_reserved"):
        monkeypatch.setattr(torch.cuda, reading, lambda device: peak[0])
    found = {f.what: f for f in check_memory(MemoryMeter(None), torch.device("cuda:0"))}
    assert found["memory, allocated_bytes"].sound
    assert found["memory, reserved_bytes"].sound
