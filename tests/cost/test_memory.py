"""Memory: estimates counted by hand, a known allocation, and readings that are not there."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.cost import memory
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


KNOWN_ALLOCATION = """
import torch
from bench.cost.memory import MemoryMeter
meter = MemoryMeter(None)
block = torch.ones(2**28, dtype=torch.uint8)
print(meter.read(torch.device("cpu"))["resident_bytes"])
"""


def test_a_known_allocation_shows_in_the_resident_size() -> None:
    """In a process of its own, as memory is measured: an older peak would hide what comes now."""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", KNOWN_ALLOCATION], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert abs(int(done.stdout) - 2**28) < 0.1 * 2**28


@pytest.mark.parametrize(
    ("before", "after", "grown"),
    [
        ((600, 600), (700, 900), 300),  # the peak was set to the present size
        ((600, 600), (600, 600), 0),
        ((600, 800), (700, 900), 300),  # it could not be, and was exceeded
        ((600, 800), (700, 800), None),  # it hides how far the process grew
    ],
)
def test_a_peak_that_an_older_one_hides_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[int, int],
    after: tuple[int, int],
    grown: int | None,
) -> None:
    sizes = iter([before, after])
    megabyte = 2**20
    monkeypatch.setattr(memory, "forget_peak_resident", lambda: None)
    monkeypatch.setattr(memory, "resident_bytes", lambda: tuple(n * megabyte for n in next(sizes)))
    meter = MemoryMeter(None)
    assert meter.baselines["resident_bytes"] == before[0] * megabyte
    readings = meter.read(torch.device("cpu"))
    assert readings.pop("resident_bytes") == (None if grown is None else grown * megabyte)
    assert set(readings.values()) == {None}


@pytest.mark.parametrize(
    "status", ["VmHWM:\t 9 kB\nVmRSS:\t 7 kB\n", "Name:\t python\nVmRSS:\t 7 kB\n", None]
)
def test_sizes_are_read_from_what_the_system_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: str | None
) -> None:
    if status is not None:
        (tmp_path / "status").write_text(status)
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    present, peak = memory.resident_bytes()
    if status and "VmHWM" in status:
        assert peak == 9 * 1024
    else:  # what the process has reached by getrusage
        assert peak > 2**20
    assert present == (7 * 1024 if status else peak)


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
