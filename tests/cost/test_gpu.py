"""What only a GPU can show: memory sources agree, and events agree with the wall clock.

python -m pytest -m gpu
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_cost import cost_composer

from bench.config import Config
from bench.cost.check import KnownWork, check_machine
from bench.cost.forward_graph import ForwardGraph
from bench.cost.measuring_process import MeasuringProcess
from bench.cost.memory import estimate_peak
from bench.cost.timing import take_sample
from bench.cost.workload import Workload
from bench.run.network import build_network

pytestmark = pytest.mark.gpu
Compose = Callable[..., Config]

BEFORE_AND_AFTER = """
import json, sys
import torch
from bench.cost.memory import MemoryMeter
from bench.cost.nvml import cuda_card

card, reason = cuda_card("cuda")
untouched = not torch._C._cuda_hasPrimaryContext(0)
meter = MemoryMeter(card)
device = torch.device("cuda")
before = meter.read(device)
block = torch.ones(2**29, dtype=torch.uint8, device=device)
after = meter.read(device)
print(json.dumps([untouched, before, after, reason]))
"""


@pytest.fixture
def cost_config(tiny_config: Compose) -> Compose:
    return cost_composer(tiny_config)


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


def test_every_memory_source_sees_a_known_allocation() -> None:
    """In a process of its own: the baseline is from before there is anything on the device."""
    root = str(Path(__file__).parent.parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_AND_AFTER], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, *sys.path])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    untouched, before, after, _ = json.loads(done.stdout)
    assert untouched
    for source in ("allocated_bytes", "reserved_bytes", "nvml_process_bytes", "nvml_device_bytes"):
        if after[source] is not None:
            assert after[source] - before[source] == pytest.approx(2**29, rel=0.05), source
    assert after["allocated_bytes"] is not None
    if after["nvml_source"] in ("pid", "only new process"):
        # The context is the process's too, and came after the baseline.
        assert after["nvml_process_bytes"] == pytest.approx(after["nvml_device_bytes"], rel=0.2)


def test_sources_contain_each_other(cost_config: Compose, tmp_path: Path) -> None:
    """Tensors lie in blocks, blocks in what the driver counts for the process."""
    config = cost_config("arch.width=64", "protocol.image_size=[180,240]", "device=cuda")
    with MeasuringProcess(config, tmp_path / "log.txt", timing=False) as process:
        answer = process.ask("memory", training=True, batch=4)
    readings = answer["readings"]
    assert 0 < readings["allocated_bytes"] <= readings["reserved_bytes"]
    if readings["nvml_source"] in ("pid", "only new process"):
        assert readings["reserved_bytes"] <= readings["nvml_process_bytes"]


def test_the_estimate_comes_near_the_allocators_peak(cost_config: Compose, tmp_path: Path) -> None:
    config = cost_config("arch.width=64", "protocol.image_size=[180,240]", "device=cuda")
    estimate = estimate_peak(build_network(config), config, 4, training=True)
    with MeasuringProcess(config, tmp_path / "log.txt", timing=False) as process:
        answer = process.ask("memory", training=True, batch=4)
    # A convolution's workspace is in the measured peak alone.
    assert 0.8 * estimate < answer["readings"]["allocated_bytes"] < 2 * estimate


def test_events_agree_with_the_wall_clock_on_long_work(device: torch.device) -> None:
    matrix = torch.randn(8192, 8192, device=device)

    def multiply() -> None:
        for _ in range(20):
            matrix @ matrix

    work = KnownWork(multiply, device)
    for _ in range(3):
        sample = take_sample(work)
    assert sample["device"]["step_ms"] == pytest.approx(sample["wall"]["step_ms"], rel=0.05)


def test_a_graph_tells_what_launches_cost(device: torch.device) -> None:
    """A thousand additions to one number keep the host busy, a large product the GPU."""
    number, matrix = torch.zeros(1, device=device), torch.randn(8192, 8192, device=device)

    class Pass(KnownWork):
        def forward(self) -> torch.Tensor:
            out: torch.Tensor = self.function()
            return out

    def count() -> torch.Tensor:
        total = number
        for _ in range(1000):
            total = total + 1
        return total

    def ratio(work: Pass) -> float:
        graph = ForwardGraph(work)
        for _ in range(3):
            sample = take_sample(work, graph)
        return sample["device"]["forward_ms"] / sample["graph"]["forward_ms"]

    assert ratio(Pass(count, device)) > 1.1
    assert ratio(Pass(lambda: matrix @ matrix, device)) < 1.1


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


@pytest.mark.parametrize("backward", [True, False])
def test_a_network_is_measured_by_both_clocks(
    cost_config: Compose, tmp_path: Path, backward: bool
) -> None:
    config = cost_config(f"cost.backward={backward}", "device=cuda:0")
    with MeasuringProcess(config, tmp_path / "log.txt", timing=True) as process:
        assert process.ask("environment")["environment"]["device_type"] == "cuda"
        assert process.ask("describe")["free_bytes"] > 0
        warm = process.ask("warm_up")
        taken = process.ask("turn", typical_ms=warm["step_ms"][-1], at_most=3)
        energy = process.ask("energy")["joules_per_image"]
        rates = process.ask("calibrate")
    phases = {"forward_ms", "step_ms"} | ({"backward_ms", "optimiser_ms"} if backward else set())
    for sample in taken["samples"]:
        assert set(sample) == {"device", "wall", "graph"}
        assert 0 < sample["graph"]["forward_ms"] <= 1.1 * sample["device"]["forward_ms"]
        assert set(sample["device"]) == set(sample["wall"]) == phases
        assert sample["device"]["step_ms"] <= 1.5 * sample["wall"]["step_ms"]
    assert energy is None or energy > 0
    assert min(rates.values()) > 1e9


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_a_second_gpu_is_measured_and_not_the_first() -> None:
    findings = {finding.what: finding for finding in check_machine("cuda:1")}
    assert findings["memory, allocated_bytes"].sound
    assert findings["known time"].sound
    assert findings["doubled work"].sound
