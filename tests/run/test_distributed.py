"""Several processes that share a run compute what one would: same losses, same counts."""

import copy
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import TINY
from torch import nn

from bench import records
from bench.config import Config
from bench.launch.launch import launch
from bench.launch.processes import _free_port
from bench.run.distributed import GlobalBatchNorm

# Every test starts processes that import torch.
pytestmark = pytest.mark.timeout(900)

Compose = Callable[..., dict[str, Any]]

# Batches of 5 over 2 processes are shares of 3 and 2; 7 test images are a batch of 5 and one of 2.
SETTINGS = [
    "protocol.batch_size=5",
    "dataset.reader.counts={train: 12, val: 4, test: 7}",
    "max_iterations=20",
]


def losses(folder: Path) -> list[float]:
    return [loss for line in records.read_losses(folder) for loss in line["losses"]]


def finished(config: Config) -> Path:
    end = launch(config)
    log = (Path(end["folder"]) / "log.txt").read_text()
    assert end["state"] == "finished", f"{end['reason']}\n{log}"
    assert "Warning" not in log, log
    return Path(end["folder"])


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["protocol.class_weights=median_frequency"]])
def test_losses_and_counts_do_not_depend_on_the_number_of_processes(
    tiny_config: Compose, tmp_path: Path, options: list[str]
) -> None:
    found = {}
    for processes in (1, 2, 3):
        where = [f"processes={processes}", f"runs={tmp_path}/{processes}"]
        folder = finished(tiny_config(*SETTINGS, *options, *where))
        (evaluation,) = records.read_evaluations(folder, "test")
        found[processes] = losses(folder), records.read_evidence(folder, evaluation)
        assert records.read_json(folder / "environment.json")["processes"] == processes
    alone, evidence = found[1]
    assert len(alone) == 20
    for processes in (2, 3):
        shared, counts = found[processes]
        np.testing.assert_allclose(shared, alone, rtol=1e-5)
        assert counts["names"].tolist() == evidence["names"].tolist()
        assert counts["confusion"].sum() == evidence["confusion"].sum() == 7 * 40 * 56
        # Weights differ in the last bits, so a pixel between two classes may fall either way.
        moved = np.abs(counts["confusion"] - evidence["confusion"]).sum() / 2
        assert moved <= 0.001 * evidence["confusion"].sum()


@pytest.mark.slow
def test_one_network_gives_the_same_counts_for_any_number_of_processes(
    tiny_config: Compose, tmp_path: Path
) -> None:
    """A vanishing learning rate leaves every weight as it started: nothing can differ."""
    found = []
    for processes in (1, 3):
        where = [f"processes={processes}", f"runs={tmp_path}/{processes}"]
        settings = [*SETTINGS, "max_iterations=1", "protocol.lr=1e-30"]
        folder = finished(tiny_config(*settings, *where))
        (evaluation,) = records.read_evaluations(folder, "test")
        found.append(records.read_evidence(folder, evaluation))
        pictures = sorted(p.name for p in (folder / "predictions" / "test-0000001").iterdir())
        assert pictures == [f"test_{number:05d}.png" for number in range(7)]
    for key in ("names", "confusion", "boundaries"):
        assert (found[0][key] == found[1][key]).all(), key


def iterations(folder: Path) -> int:
    return len(losses(folder))


def wait_until(condition: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def processes_of(parent: int) -> list[int]:
    """The run's processes, in the order in which they were started."""
    found = subprocess.run(
        ["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False
    )
    return sorted(map(int, found.stdout.split()))


@pytest.mark.slow
def test_signals_reach_all_processes_and_the_same_command_goes_on(
    tiny_config: Compose, tmp_path: Path
) -> None:
    settings = [*SETTINGS, "max_iterations=400", "protocol.dropout=0.5", "processes=2"]
    command = [sys.executable, "-m", "bench", *TINY, *settings]
    uninterrupted = finished(tiny_config(*settings, f"runs={tmp_path}/whole"))
    folder = tmp_path / "cut" / uninterrupted.name
    states = []
    for number in (signal.SIGTERM, signal.SIGKILL):
        before = iterations(folder)
        parent = subprocess.Popen(
            [*command, f"runs={tmp_path}/cut"], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        wait_until(lambda before=before: iterations(folder) > before + 20)  # type: ignore[misc]
        if number == signal.SIGKILL:
            os.kill(processes_of(parent.pid)[1], number)
        else:
            parent.send_signal(number)
        assert parent.wait(240) != 0
        states.append(records.read_json(folder / "end.json"))
    assert states[0]["state"] == "interrupted"
    assert states[1]["state"] == "killed"
    assert states[1]["reason"].startswith("process 1 killed by SIGKILL")
    resumed = finished(tiny_config(*settings, f"runs={tmp_path}/cut"))
    assert resumed == folder
    assert losses(folder) == losses(uninterrupted)


FAILS_IN_ONE = """
import os
import torch

class Net(torch.nn.Conv2d):
    def __init__(self, num_classes):
        super().__init__(3, num_classes, 1)

    def forward(self, images):
        if self.training and os.environ["RANK"] == "1":
            raise RuntimeError("only here")
        return super().forward(images)
"""


@pytest.mark.slow
def test_the_reason_is_that_of_the_process_that_failed_first(
    tiny_config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fails_in_one.py").write_text(FAILS_IN_ONE)
    monkeypatch.syspath_prepend(tmp_path)
    config = tiny_config("processes=2")
    config.arch = {"name": "Net", "_target_": "fails_in_one.Net"}
    end = launch(config)
    assert (end["state"], end["reason"]) == ("failed", "RuntimeError: only here")


@pytest.mark.slow
def test_torchrun_starts_a_prepared_run(
    tiny_config: Compose, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config("start=false")
    assert launch(config)["state"] == "finished"
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("torchrun --nnodes=N")
    folder = Path(last.split()[-1])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ended = subprocess.run(
        [*command, "-m", "bench.run", str(folder)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert records.read_json(folder / "end.json")["state"] == "finished"
    assert records.read_json(folder / "environment.json")["processes"] == 2


def global_and_torchs(**options: Any) -> tuple[GlobalBatchNorm, nn.BatchNorm2d]:
    torch.manual_seed(0)
    layer = nn.BatchNorm2d(3, **options)
    if layer.affine:
        nn.init.uniform_(layer.weight)
        nn.init.uniform_(layer.bias)
    return GlobalBatchNorm(copy.deepcopy(layer)), layer


@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"affine": False}])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_global_batch_norm_of_one_process_is_torchs(
    options: dict[str, Any], kind: torch.dtype, form: torch.memory_format
) -> None:
    shared, alone = global_and_torchs(**options)
    for _ in range(2):
        x = (torch.randn(4, 3, 5, 6) * 3 + 100).to(kind).contiguous(memory_format=form)
        y = x.clone().requires_grad_()
        x.requires_grad_()
        expected, found = alone(x), shared(y)
        torch.testing.assert_close(found, expected)
        expected.sin().sum().backward()
        found.sin().sum().backward()
        assert x.grad is not None
        torch.testing.assert_close(y.grad, x.grad)
        for mine, torchs in zip(shared.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, torchs.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(shared.layer.state_dict(), alone.state_dict())
    shared.eval()
    torch.testing.assert_close(shared(x), alone.eval()(x))


ONE_OF_SEVERAL = """
import sys
import torch
from torch import nn
from bench.run import distributed

distributed.join(1)
device = torch.device("cuda", distributed.rank()) if sys.argv[2] == "cuda" else torch.device("cpu")
if device.type == "cuda":
    torch.cuda.set_device(device)
given = torch.load(sys.argv[1])
layer = nn.BatchNorm2d(3).to(device)
layer.load_state_dict(given["layer"])
x, gradient = (
    torch.tensor_split(given[key], distributed.size())[distributed.rank()].to(device)
    for key in ("x", "gradient")
)
x.requires_grad_()
out = distributed.GlobalBatchNorm(layer)(x)
out.backward(gradient)
found = {"out": out.detach(), "x": x.grad, "weight": layer.weight.grad, "bias": layer.bias.grad,
         "layer": layer.state_dict()}
torch.save(found, f"{sys.argv[1]}-{distributed.rank()}")
"""


def in_two_processes(given: dict[str, Any], folder: Path, device: str) -> list[dict[str, Any]]:
    """What each of two processes computes of its share of a batch."""
    torch.save(given, folder / "given")
    port = str(_free_port())
    children = [
        subprocess.Popen(
            [sys.executable, "-c", ONE_OF_SEVERAL, str(folder / "given"), device],
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                 "MASTER_PORT": port},
        )
        for rank in range(2)
    ]  # fmt: skip
    assert [child.wait(120) for child in children] == [0, 0]
    return [torch.load(folder / f"given-{rank}", map_location="cpu") for rank in range(2)]


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs"),
            ],
        ),
    ],
)
def test_global_batch_norm_of_two_processes_is_torchs_of_the_whole_batch(
    tmp_path: Path, device: str
) -> None:
    """Shares of 3 and 2 images, so that a mean of the processes' means is not the batch's."""
    _, layer = global_and_torchs()
    before = copy.deepcopy(layer.state_dict())
    x = (torch.randn(5, 3, 4, 6) * torch.tensor([1, 1, 1, 9, 9]).view(5, 1, 1, 1) + 7).float()
    gradient = torch.randn_like(x) + 1
    shares = in_two_processes({"layer": before, "x": x, "gradient": gradient}, tmp_path, device)
    x.requires_grad_()
    out = layer(x)
    out.backward(gradient)
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    close = functools.partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)
    close(torch.cat([share["out"] for share in shares]), out.detach())
    close(torch.cat([share["x"] for share in shares]), x.grad)
    close(shares[0]["weight"] + shares[1]["weight"], layer.weight.grad)
    close(shares[0]["bias"] + shares[1]["bias"], layer.bias.grad)
    for share in shares:
        close(share["layer"], layer.state_dict())


@pytest.mark.parametrize(
    ("processes", "message"),
    [(0, "processes is 0; it must be from 1"), (5, "processes is 5; it must be from 1 to proto")],
)
def test_a_share_of_nothing_is_refused(tiny_config: Compose, processes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_config(f"processes={processes}")
