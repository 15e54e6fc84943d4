"""The device of a process, and the arithmetic on it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from bench.config import Config
from bench.cost.worker import Worker
from bench.run.device import prepare_device
from bench.run.environment import changes
from bench.run.loss import batch_loss
from bench.run.network import build_network

Compose = Callable[..., Config]


class Gpus:
    """So many GPUs that are not there: what is put on one stays on the CPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        self.current: torch.device | None = None
        zeros = torch.zeros

        def on_the_cpu(*size: int, device: torch.device) -> torch.Tensor:
            return zeros(*size)

        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", self.set_device)
        monkeypatch.setattr(torch, "zeros", on_the_cpu)

    def set_device(self, device: torch.device) -> None:
        assert device.index is not None  # torch refuses it otherwise
        self.current = device


def several(monkeypatch: pytest.MonkeyPatch, number: int, count: int) -> None:
    """Makes this process one of several on this machine, as torchrun does."""
    monkeypatch.setenv("LOCAL_RANK", str(number))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(count))


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_process_has_a_gpu_of_its_own(
    tiny_config: Compose, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    gpus = Gpus(monkeypatch, 2)
    several(monkeypatch, 1, 2)
    assert prepare_device(tiny_config(f"device={name}")) == torch.device("cuda:1")
    assert gpus.current == torch.device("cuda:1")


def test_a_gpu_that_is_named_is_taken(
    tiny_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = Gpus(monkeypatch, 2)
    assert prepare_device(tiny_config("device=cuda:1")) == gpus.current == torch.device("cuda:1")


def test_one_gpu_for_several_processes_is_refused_before_torch_is_loaded(
    tiny_config: Compose,
) -> None:
    with pytest.raises(ValueError, match=r"device is cuda:1; it must be auto, cpu or cuda where"):
        tiny_config("device=cuda:1", "processes=2")


def test_one_gpu_for_several_processes_of_torchrun_is_refused(
    tiny_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    Gpus(monkeypatch, 2)
    several(monkeypatch, 0, 2)
    with pytest.raises(ValueError, match=r"cuda:1 would be that of 2 processes; .*device=cuda"):
        prepare_device(tiny_config("device=cuda:1"))


@pytest.mark.parametrize("number", [0, 2])
def test_more_processes_than_gpus_are_refused_by_each_of_them(
    tiny_config: Compose, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    Gpus(monkeypatch, 2)
    several(monkeypatch, number, 3)
    with pytest.raises(ValueError, match=r"3 processes need as many GPUs and torch finds 2"):
        prepare_device(tiny_config())


@pytest.mark.parametrize("deterministic", [True, False])
def test_cudnn_searches_for_the_fastest_algorithm_wherever_the_protocol_lets_it(
    tiny_config: Compose, monkeypatch: pytest.MonkeyPatch, deterministic: bool
) -> None:
    """In training and in a measurement alike."""
    config = tiny_config("device=cpu", f"protocol.deterministic={deterministic}")
    for prepare in (prepare_device, lambda config: Worker(config).device):
        torch.backends.cudnn.benchmark = deterministic
        prepare(config)
        assert torch.backends.cudnn.benchmark is not deterministic


def test_threads_forbid_to_resume_on_a_cpu_alone() -> None:
    place: dict[str, Any] = {
        "torch": "2", "device": "d", "threads": 2, "processes": 1, "sources": "s",
    }  # fmt: skip
    for kind, expected in (("cpu", ["threads was 2, is 8"]), ("cuda", [])):
        then = {**place, "device_type": kind}
        assert changes(then, {**then, "threads": 8}) == expected


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
