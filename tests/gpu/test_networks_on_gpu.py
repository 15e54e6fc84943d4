"""Every network of conf/arch on the stand-in for a GPU: an update and a prediction."""

from typing import Any
from unittest import mock

import pytest
import torch
from gpu_stand_in import CUDA, Gpu
from tiny_run import TINY
from torch import Tensor, nn

from architectures import pooling
from bench.command_line import CONF, compose_config
from bench.run.device import prepare_device
from bench.run.distributed import GlobalBatchNorm
from bench.run.loss import batch_loss, shrink_labels
from bench.run.network import autocast, build_network, check_logits, placed
from bench.run.optimiser import make_optimiser

NETWORKS = sorted(path.stem for path in (CONF / "arch").glob("*.yaml"))
NARROW = {"width": 4, "fc_width": 8, "samples": 2}
EXTRAS = {"smp_": "segmentation_models_pytorch", "segformer": "transformers"}
# They enlarge maps by an operator whose deterministic form, or ours, adds in another order.
ROUNDED = ("deeplabv3_", "fcn_resnet", "lraspp_", "smp_", "segformer", "deeplab_", "bilinear_")


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.slow if name.endswith("resnet50") else [])
        for name in NETWORKS
    ]
)
def arch(request: pytest.FixtureRequest) -> str:
    """The name of each network in turn; those of a missing extra are skipped."""
    name: str = request.param
    for prefix, module in EXTRAS.items():
        if name.startswith(prefix):
            pytest.importorskip(module)
    return name


def updated(config: Any, device: torch.device) -> list[Tensor]:
    """Returns the weights after an update, and the logits of evaluation then."""
    network = placed(build_network(config), config.protocol, device)
    check_logits(network, config, device)
    optimiser = make_optimiser(network, config.protocol)
    torch.manual_seed(0)
    images = torch.randn(2, 3, *config.protocol.image_size).to(device)
    labels = torch.randint(12, (2, *images.shape[2:]), dtype=torch.uint8).to(device)
    with autocast(device, config.protocol.precision):
        logits = network.train()(images)
    labels = shrink_labels(labels, logits, network)
    batch_loss(logits, labels, None, 11, "labelled_pixels").backward()
    optimiser.step()
    with torch.inference_mode():
        predicted = network.eval()(images)
    return [value.detach().cpu() for value in (*network.parameters(), predicted)]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_network_computes_what_it_does_on_the_cpu(gpu: Gpu, arch: str, precision: str) -> None:
    settings = [override for override in TINY if not override.startswith("arch")]
    config = compose_config([*settings, f"arch={arch}", f"protocol.precision={precision}"])
    narrow = {key: size for key, size in NARROW.items() if key in config.arch}
    config.arch.update(narrow)
    assert prepare_device(config) == CUDA
    assert torch.are_deterministic_algorithms_enabled()
    ours, cpus = updated(config, CUDA), updated(config, torch.device("cpu"))
    for one, other in zip(ours, cpus, strict=True):
        if arch.startswith(ROUNDED):
            near = 1e-3 if precision == "fp32" else 1e-1
            torch.testing.assert_close(one, other, rtol=near, atol=near)
        else:
            assert torch.equal(one, other)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_of_the_global_batch_makes_nobody_wait(gpu: Gpu, momentum: float | None) -> None:
    found = []
    for device in (CUDA, torch.device("cpu")):
        torch.manual_seed(0)
        network = GlobalBatchNorm(nn.BatchNorm2d(3, momentum=momentum)).to(device)
        images = torch.randn(4, 3, 5, 6).to(device).requires_grad_()
        gpu.waits.clear()
        out = network(images)
        out.sin().sum().backward()
        assert gpu.waits == []
        values = (out, images.grad, network.layer.weight.grad, *network.layer.buffers())
        found.append([value.detach().cpu() for value in values])
    assert all(map(torch.equal, *found))


def test_a_gpu_pools_by_the_kernels_where_triton_is(gpu: Gpu) -> None:
    """They are interpreted here, slowly; a small network with all three of them."""
    kernels = pytest.importorskip("architectures.pooling_kernels")
    config = compose_config([*TINY, "protocol.image_size=[16,24]"])
    with mock.patch.object(pooling, "_kernels", return_value=kernels) as asked:
        ours = updated(config, CUDA)
    assert asked.call_count >= 4 * 4  # levels; to pool, to unpool, and back
    for one, other in zip(ours, updated(config, torch.device("cpu")), strict=True):
        assert torch.equal(one, other)
