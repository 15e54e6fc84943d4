"""`protocol.compile`: a traced training step gives the bits of an eager one."""

from collections.abc import Callable
from functools import partialmethod
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.config import Config
from bench.data.splits import load_splits
from bench.run.device import prepare_device
from bench.run.monitor import Monitor
from bench.run.preparation import prepare_training
from bench.run.training import train


def trained(config: Config, folder: Path) -> dict[str, Tensor]:
    """Returns parameters and running statistics after three iterations."""
    device, monitor = prepare_device(config), Monitor(folder)
    splits = load_splits(config, ["train"], device)
    training = prepare_training(config, folder, splits, device, monitor)
    train(training, 3)
    return training.network.state_dict()


@pytest.mark.slow
def test_a_traced_step_has_the_bits_of_an_eager_one(
    tiny_config: Callable[..., Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without inductor, whose kernels may add in another order."""
    torch.compiler.reset()
    compiled = partialmethod(nn.Module.compile, backend="aot_eager")
    monkeypatch.setattr(nn.Module, "compile", compiled)
    eager = trained(tiny_config("device=cpu"), tmp_path)
    traced = trained(tiny_config("device=cpu", "protocol.compile=true"), tmp_path)
    for name, value in eager.items():
        assert torch.equal(traced[name], value), name
