"""The stand-in holds code to what a GPU would, and computes what the CPU does."""

import copy
import io
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from gpu_stand_in import CUDA, Gpu, GpuTensor
from torch import nn


def test_factories_and_moves_put_a_tensor_on_the_device(gpu: Gpu) -> None:
    host = torch.arange(6.0).view(2, 3)
    for tensor in (
        torch.zeros(2, 3, device="cuda"),
        host.to("cuda"),
        host.cuda(),
        torch.empty_like(host, device=CUDA),
        torch.tensor([1.0], device="cuda:0"),
        torch.zeros(1, device=torch.device("cuda")).new_ones(3) * 2,
    ):
        assert isinstance(tensor, GpuTensor)
        assert tensor.device == CUDA
        assert tensor.is_cuda
    back = host.to("cuda").cpu()
    assert type(back) is torch.Tensor
    assert torch.equal(back, host)


def test_a_second_gpu_is_refused(gpu: Gpu) -> None:
    for action in (
        lambda: torch.zeros(1, device="cuda:1"),
        lambda: torch.zeros(1).to("cuda:77"),
        lambda: torch.cuda.set_device("cuda:1"),
    ):
        with pytest.raises(RuntimeError, match="invalid device ordinal"):
            action()


def test_set_device_takes_no_device_without_an_index(gpu: Gpu) -> None:
    torch.cuda.set_device(CUDA)
    with pytest.raises(ValueError, match="with a specified index"):
        torch.cuda.set_device(torch.device("cuda"))


@pytest.mark.parametrize(
    "mix",
    [
        lambda here, there: here + there,
        lambda here, there: torch.stack([here, there]),
        lambda here, there: here.add_(there),
        lambda here, there: there.add_(here.sum()),
        F.linear,
        lambda here, there: torch.where(there > 0, here, here),
        lambda here, there: here.index_select(0, there[0].long()),
    ],
)
def test_devices_do_not_mix(gpu: Gpu, mix: Any) -> None:
    with pytest.raises(RuntimeError, match="same device"):
        mix(torch.ones(3, 3, device="cuda"), torch.ones(3, 3))


def test_numbers_and_copies_may_cross(gpu: Gpu) -> None:
    here = torch.ones(3, device="cuda")
    assert (here * torch.tensor(2.0)).tolist() == [2, 2, 2]
    here.copy_(torch.arange(3.0))
    there = torch.zeros(3)
    there.copy_(here)
    assert type(there) is torch.Tensor
    assert there.tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match="to numpy"):
        here.numpy()


@pytest.mark.parametrize(
    ("waits", "what"),
    [
        (lambda x: x.sum().item(), "_local_scalar_dense"),
        (lambda x: bool((x > 0).all()), "_local_scalar_dense"),
        (lambda x: x.tolist(), "tolist"),
        (lambda x: x.cpu(), "copy to the host"),
        (lambda x: x[x > 0], "boolean index"),
        (lambda x: x.__setitem__(x > 0, x[:2].clone()), "boolean index"),
        (lambda x: (x > 0).nonzero(), "nonzero"),
        (lambda x: x.unique(), "_unique2"),
        (lambda x: x.long().bincount(), "bincount"),
        (lambda x: x.repeat_interleave(x.long()), "repeat_interleave"),
        (lambda x: torch.equal(x, x + 0), "equal"),
        (lambda x: x.add_(torch.tensor([1.0], device="cuda")), "copy from the host"),
        (lambda x: torch.ones(4).to("cuda"), "copy from the host"),
        (lambda x: torch.ones(4).to("cuda", non_blocking=True), "copy from the host"),
        (lambda x: torch.ones(4).pin_memory().to("cuda"), "copy from the host"),
        (lambda x: x.copy_(torch.ones(4)), "copy between host and device"),
        (lambda x: x[torch.tensor([0, 2])], "index copied from the host"),
        (lambda x: torch.cuda.synchronize(), "synchronize"),
    ],
)
def test_what_the_host_waits_for_is_listed_with_its_line(gpu: Gpu, waits: Any, what: str) -> None:
    x = torch.zeros(4, device="cuda")
    x[:2] = 1.0
    assert gpu.waits == []
    waits(x)
    assert [wait.what for wait in gpu.waits] == [what]
    assert gpu.waits[0].line == f"tests/gpu/test_stand_in.py:{waits.__code__.co_firstlineno}"
    assert gpu.waits[0].function == "<lambda>"


def test_work_that_stays_on_the_device_makes_nobody_wait(gpu: Gpu) -> None:
    x = torch.ones(4, device="cuda")
    x = torch.where(x > 0, x, 2 * x).masked_fill(x > 1, 0.0)
    x[x > 3] = 1.0  # a number alone is filled in
    torch.ones(4).pin_memory().to("cuda", non_blocking=True)
    x.index_select(0, torch.arange(2, device="cuda"))
    x.repeat_interleave(2)
    x.repeat_interleave(torch.ones_like(x).long(), output_size=4)
    assert gpu.waits == []


def test_what_has_no_deterministic_kernel_is_refused(gpu: Gpu) -> None:
    logits = torch.randn(1, 3, 4, 4, device="cuda", requires_grad=True)
    labels = torch.zeros(1, 4, 4, dtype=torch.long, device="cuda")
    torch.use_deterministic_algorithms(True)
    with pytest.raises(RuntimeError, match="nll_loss2d_forward does not have a deterministic"):
        F.cross_entropy(logits, labels)
    with pytest.raises(RuntimeError, match="deterministic"):
        F.adaptive_avg_pool2d(logits, 2).sum().backward()
    F.cross_entropy(logits, labels, reduction="none").sum().backward()


def training(device: str) -> list[torch.Tensor]:
    """Weights after three updates of a small network with everything that networks have."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5),
        nn.Conv2d(4, 5, 1),
    )  # fmt: skip
    network = network.to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
    images, labels = torch.randn(2, 3, 8, 8).to(device), torch.randint(5, (2, 8, 8)).to(device)
    for _ in range(3):
        with torch.autocast(images.device.type, torch.bfloat16):
            loss = F.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return [value.cpu() for value in copy.deepcopy(network).state_dict().values()]


def test_training_gives_the_cpus_numbers(gpu: Gpu) -> None:
    for ours, cpus in zip(training("cuda"), training("cpu"), strict=True):
        assert torch.equal(ours, cpus)


def test_a_graph_is_captured_without_being_computed_and_replayed_on_new_numbers(gpu: Gpu) -> None:
    x, total = torch.ones(3, device="cuda"), torch.zeros(3, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        total.add_(2 * x)
        noise = torch.rand(3, device="cuda")
    assert total.tolist() == [0, 0, 0]
    for value in (1.0, 10.0):
        x.fill_(value)
        torch.manual_seed(7)
        graph.replay()
    assert total.tolist() == [22, 22, 22]
    torch.manual_seed(7)
    assert noise.tolist() == torch.rand(3).tolist()
    with (
        pytest.raises(RuntimeError, match="not permitted when stream is capturing"),
        torch.cuda.graph(graph),
    ):
        total.sum().item()


def test_memory_is_counted(gpu: Gpu) -> None:
    torch.cuda.reset_peak_memory_stats()
    x = torch.zeros(1000, device="cuda")
    y = x.view(10, 100)
    assert torch.cuda.memory_allocated() == 4000
    z = x + 1
    del x, z
    assert torch.cuda.memory_allocated() == 4000
    assert torch.cuda.max_memory_allocated() == 8000
    del y
    assert torch.cuda.memory_allocated() == 0
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.max_memory_allocated() == 0


def test_tensors_are_saved_and_loaded(gpu: Gpu) -> None:
    file = io.BytesIO()
    torch.save({"x": torch.arange(3.0, device="cuda")}, file)
    file.seek(0)
    assert torch.load(file, weights_only=True)["x"].tolist() == [0, 1, 2]


def test_nothing_of_it_stays() -> None:
    assert not torch.cuda.is_initialized()
    assert "pin_memory" not in vars(torch.Tensor)
    assert torch.autocast.__module__ == "torch.amp.autocast_mode"
