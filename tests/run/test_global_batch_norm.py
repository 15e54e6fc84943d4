"""What processes that share a run compute together: batch norm and gradients of the whole batch."""

import copy
import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.launch.processes import LOOPBACK, MEETING
from bench.run.distributed import GlobalBatchNorm


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


def in_two_processes(folder: Path, script: str, *arguments: str) -> None:
    """Has a script executed by two processes that share a run and meet in this folder."""
    meeting = {MEETING: str(folder / "store"), **LOOPBACK, "WORLD_SIZE": "2"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            env={**os.environ, **meeting, "RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [child.wait(240) for child in children] == [0, 0]


GRADIENTS = """
import warnings
import torch
from torch import nn
from bench.run import distributed

warnings.simplefilter("error")
distributed.join(1)
torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
model = distributed.training_model(network, torch.device("cpu"), compiled=False).train()
torch.manual_seed(distributed.rank())
for _ in range(2):
    network.zero_grad(set_to_none=True)
    model(torch.randn(2, 3, 5, 5)).square().sum().backward()
places = {parameter.grad.untyped_storage().data_ptr() for parameter in network.parameters()}
assert len(places) == 1, places
mean = network[1].running_mean.clone()
assert torch.equal(distributed.total(mean.clone()), 2 * mean)
assert not model.broadcast_buffers
"""


def test_gradients_lie_in_the_bucket_in_which_they_travel_and_nothing_is_warned_of(
    tmp_path: Path,
) -> None:
    """Not once more beside it; running statistics agree without being sent."""
    in_two_processes(tmp_path, GRADIENTS)


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
    given = tmp_path / "given"
    torch.save({"layer": before, "x": x, "gradient": gradient}, given)
    in_two_processes(tmp_path, ONE_OF_SEVERAL, str(given), device)
    shares = [torch.load(f"{given}-{rank}", map_location="cpu") for rank in range(2)]
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
