"""The measuring process, served in this one: every task answers, and what goes wrong is said."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml
import pytest
import torch
from recorded_nvml import UUID, RecordedDriver
from tiny_cost import cost_composer

from bench.config import Config
from bench.cost.check import KnownWork
from bench.cost.nvml import Card
from bench.cost.worker import Worker, answer, serve
from bench.typed import plain

Compose = Callable[..., Config]


@pytest.fixture
def cost_config(tiny_config: Compose) -> Compose:
    return cost_composer(tiny_config)


def ask(config: Config, *tasks: dict[str, Any]) -> list[dict[str, Any]]:
    requests = io.StringIO("".join(json.dumps(line) + "\n" for line in (plain(config), *tasks)))
    replies = io.StringIO()
    serve(requests, replies)
    return [json.loads(line) for line in replies.getvalue().splitlines()]


def test_describing_needs_no_measurement(cost_config: Compose) -> None:
    where, reply = ask(cost_config(), {"task": "environment"}, {"task": "describe"})
    assert where["answer"]["environment"]["device_type"] == "cpu"
    assert where["answer"]["arithmetic"]["precision"] == "fp32"
    found = reply["answer"]
    assert found["work"]["model_bytes"] == 4 * found["work"]["parameters"]
    # 2-bit indices of 4 channels: 16x24, 8x12, 4x6 and 2x3 windows.
    assert found["storage"] == {
        "retained_bytes": 16 * 24 + 8 * 12 + 4 * 6 + 2 * 3,
        "retained_bytes_first_level": 16 * 24,
    }
    estimates = found["estimates"]
    assert estimates["training"] > estimates["time"] > estimates["inference"] > 0


def test_a_training_turn_gives_every_phase_by_two_clocks(cost_config: Compose) -> None:
    turn = {"task": "turn", "typical_ms": 1.0, "at_most": 2}
    warm, taken = ask(cost_config(), {"task": "warm_up"}, turn)
    assert warm["answer"]["iterations"] >= 2
    assert warm["answer"]["graph_refused"] == "no GPU"
    samples = taken["answer"]["samples"]
    assert len(samples) == 2
    assert set(samples[0]) - {"waiting"} == {"wall", "process"}
    phases = {"forward_ms", "backward_ms", "optimiser_ms", "step_ms"}
    assert set(samples[0]["wall"]) == phases
    assert all(value > 0 for value in samples[0]["wall"].values())
    assert taken["answer"]["card"] is None


def test_an_inference_turn_has_the_forward_pass_alone(cost_config: Compose) -> None:
    turn = {"task": "turn", "typical_ms": 1.0, "at_most": 1}
    (taken,) = ask(cost_config("cost.backward=false"), turn)
    assert set(taken["answer"]["samples"][0]["wall"]) == {"forward_ms", "step_ms"}


def test_a_card_is_read_while_it_works_and_not_afterwards(
    cost_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    driver = RecordedDriver(monkeypatch)

    def hot_for_a_while() -> None:
        driver.answers["CurrentClocksEventReasons"] = pynvml.nvmlClocksEventReasonHwSlowdown
        time.sleep(0.1)
        driver.answers["CurrentClocksEventReasons"] = 0

    worker = Worker(cost_config())
    worker.card = (Card(UUID), None)
    worker.work = KnownWork(hot_for_a_while, torch.device("cpu"))
    taken = worker.turn_task(typical_ms=200.0, at_most=1)
    assert len(taken["samples"]) == 1
    assert taken["card"]["throttled"] == ["hardware slowdown"]


def test_memory_that_a_cpu_does_not_report_is_null(cost_config: Compose) -> None:
    (reply,) = ask(cost_config(), {"task": "memory", "training": True, "batch": 2})
    readings = reply["answer"]["readings"]
    assert readings.keys() >= {"resident_bytes"}  # None where an older peak hides it
    assert readings["nvml_process_bytes"] is None
    assert readings["allocated_bytes"] is None
    assert reply["answer"]["missing"]["NVML"]


def test_energy_that_nobody_reports_is_null(cost_config: Compose) -> None:
    (reply,) = ask(cost_config(), {"task": "energy"})
    assert reply == {"answer": {"joules_per_image": None}}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_calibration_gives_three_rates(cost_config: Compose, precision: str) -> None:
    """In seconds, also where bfloat16 is emulated."""
    (reply,) = ask(cost_config(f"protocol.precision={precision}"), {"task": "calibrate"})
    assert set(reply["answer"]) == {"convolution_flops", "matmul_flops", "copy_bytes_per_second"}
    assert all(rate > 1e6 for rate in reply["answer"].values())


def test_a_size_that_the_network_refuses_is_an_answer(cost_config: Compose) -> None:
    config = cost_config("arch=deconvnet", "arch.width=2", "arch.fc_width=4")
    config.arch["input_size"] = [320, 480]
    (reply,) = ask(config, {"task": "describe"})
    assert reply["state"] == "failed"
    assert "an image of 32x48 is too small" in reply["reason"]


def test_a_network_with_a_map_of_one_pixel_is_timed_at_batch_1(cost_config: Compose) -> None:
    """DeconvNet, as in Table 6; its memory in training needs a batch."""
    config = cost_config("arch=deconvnet", "arch.width=2", "arch.fc_width=4")
    described, warm = ask(config, {"task": "describe"}, {"task": "warm_up"})
    assert described["answer"]["estimates"]["time"] > 0
    assert warm["answer"]["iterations"] >= 2


def test_a_batch_that_does_not_fit_is_out_of_memory(cost_config: Compose) -> None:
    (reply,) = ask(cost_config(), {"task": "memory", "training": False, "batch": 10**10})
    assert reply["state"] == "out_of_memory"


CURIOUS = """
from torch import nn

class Curious(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layer = nn.Conv2d(3, num_classes, 1)

    def forward(self, x):
        if x.sum().item() == 12345:
            raise AssertionError
        return self.layer(x)
"""


def test_a_network_that_looks_at_its_numbers_is_run_for_real(
    cost_config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its work is counted; its memory cannot be estimated from shapes alone."""
    (tmp_path / "curious.py").write_text(CURIOUS)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = cost_config()
    config.arch = {"name": "Curious", "_target_": "curious.Curious"}
    (reply,) = ask(config, {"task": "describe"})
    found = reply["answer"]
    assert found["work"]["multiply_accumulates"] == 3 * 11 * 32 * 48
    assert found["storage"]["retained_bytes"] is None
    assert set(found["estimates"].values()) == {None}


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out_of_memory"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "failed"),
    ],
)
def test_what_a_task_raises_is_an_answer(
    error: Exception, state: str, cost_config: Compose
) -> None:
    class Failing(Worker):
        def fail_task(self) -> None:
            raise error

    assert answer(Failing(cost_config()), "fail")["state"] == state


def test_the_worker_imports_nothing_that_only_training_needs() -> None:
    """What is imported takes memory and seconds in every process that is measured."""
    listing = "import sys, bench.cost.worker; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True
    )
    modules = done.stdout.split()
    needed = [
        "contract", "device", "distributed", "environment", "failure", "inference", "loss",
        "network", "optimiser", "schedule", "views",
    ]  # fmt: skip
    assert {name for name in modules if name.startswith("bench.run.")} == {
        f"bench.run.{name}" for name in needed
    }
    others = {"PIL", "matplotlib", "pandas", "scipy", "wandb"}
    assert not others & {name.partition(".")[0] for name in modules}
