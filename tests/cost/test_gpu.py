"""What only a GPU can show: memory sources agree, and events agree with the wall clock.

python -m pytest tests/cost -m gpu
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_cost import cost_composer

from bench.cost.check import ALLOCATION_BYTES, KnownWork, check_machine
from bench.cost.memory import MemoryMeter, estimate_peak
from bench.cost.nvml import cuda_card
from bench.cost.timing import take_sample
from bench.cost.workload import Workload
from bench.network import build_network

pytestmark = pytest.mark.gpu
Compose = Callable[..., dict[str, Any]]


@pytest.fixture
def cost_config(tiny_config: Compose) -> Compose:
    return cost_composer(tiny_config)


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


def test_every_memory_source_sees_a_known_allocation(device: torch.device) -> None:
    card, _ = cuda_card("cuda")
    meter = MemoryMeter(card)
    torch.zeros(1, device=device)
    meter.restart()
    before = meter.read(device)
    block = torch.ones(ALLOCATION_BYTES, dtype=torch.uint8, device=device)
    after = meter.read(device)
    for source in ("allocated_bytes", "reserved_bytes", "nvml_process_bytes", "nvml_device_bytes"):
        if after[source] is not None:
            assert after[source] - before[source] == pytest.approx(block.nbytes, rel=0.05), source
    assert after["allocated_bytes"] is not None


def test_sources_contain_each_other(device: torch.device, cost_config: Compose) -> None:
    """Tensors lie in blocks, blocks in what the driver counts for the process."""
    config = {**cost_config("arch.width=64"), "device": "cuda"}
    card, _ = cuda_card("cuda")
    meter = MemoryMeter(card)
    network = build_network(config).to(device)
    work = Workload.make(network, config, 4, training=True)
    work.run()
    meter.restart()
    work.run()
    readings = meter.read(device)
    assert 0 < readings["allocated_bytes"] <= readings["reserved_bytes"]
    if readings["nvml_source"] in ("pid", "only process"):
        assert readings["reserved_bytes"] <= readings["nvml_process_bytes"]


def test_the_estimate_comes_near_the_allocators_peak(
    device: torch.device, cost_config: Compose
) -> None:
    config = {**cost_config("arch.width=64", "protocol.image_size=[180,240]"), "device": "cuda"}
    network = build_network(config)
    estimate = estimate_peak(network, config, 4, training=True)
    work = Workload.make(network.to(device), config, 4, training=True)
    work.run()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    work.run()
    # A convolution's workspace is in the measured peak alone.
    assert 0.8 * estimate < torch.cuda.max_memory_allocated() < 2 * estimate


def test_events_agree_with_the_wall_clock_on_long_work(device: torch.device) -> None:
    matrix = torch.randn(8192, 8192, device=device)

    def multiply() -> None:
        for _ in range(20):
            matrix @ matrix

    work = KnownWork(multiply, device)
    for _ in range(3):
        sample = take_sample(work)
    assert sample["device"]["step_ms"] == pytest.approx(sample["wall"]["step_ms"], rel=0.05)


def test_phases_by_events_and_by_the_wall_clock_agree(
    device: torch.device, cost_config: Compose
) -> None:
    """Synchronising after each phase adds launch times, which long phases hide."""
    config = cost_config("arch.width=64", "protocol.image_size=[360,480]")
    network = build_network(config).to(device)
    work = Workload.make(network, config, 8, training=True, frozen_statistics=True)
    for _ in range(5):
        sample = take_sample(work)
    for phase in ("forward_ms", "backward_ms"):
        assert sample["device"][phase] == pytest.approx(sample["wall"][phase], rel=0.25, abs=2)


def test_the_machine_check_passes_its_known_quantities() -> None:
    findings = {finding.what: finding for finding in check_machine("cuda")}
    assert findings["memory, allocated_bytes"].sound
    assert findings["known time"].sound
    assert findings["doubled work"].sound
