"""Optimiser, schedule and clipping: torch's own on a bare loop, to the bit; resumed likewise."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from gpu_stand_in import one_gpu
from torch import nn

from bench.config import Config
from bench.data.splits import load_splits
from bench.losses import read_losses
from bench.protocol import BatchNormConfig, ProtocolConfig
from bench.run import checkpoints
from bench.run.__main__ import execute
from bench.run.monitor import Monitor
from bench.run.optimiser import clip_gradients, make_optimiser, set_rates
from bench.run.preparation import prepare_network, prepare_training
from bench.run.training import Training, train, training_batches

Compose = Callable[..., Config]
Prepare = Callable[..., tuple[Path, Monitor]]
CPU = torch.device("cpu")
MODERN = [
    "protocol.optimiser=adamw", "protocol.lr=0.01", "protocol.weight_decay=0.1",
    "protocol.second_momentum=0.98", "protocol.bias_lr_factor=1", "protocol.bias_decay_factor=0",
    "protocol.norm_decay_factor=0", "protocol.schedule=poly", "protocol.warm_up_iterations=3",
    "protocol.clip_norm=0.3", "max_iterations=12",
]  # fmt: skip


def training_of(config: Config, prepared: Prepare, name: str = "run") -> Training:
    folder, monitor = prepared(config, name)
    return prepare_training(config, folder, load_splits(config, ["train"]), CPU, monitor)


def bare_loop(training: Training, iterations: int) -> Iterator[float]:
    """Trains a network by torch.optim.AdamW, torch's scheduler and torch's clipping alone."""
    network, config = training.network, training.config
    decays, does_not = [], []
    for layer in network.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            scale = isinstance(layer, nn.BatchNorm2d)
            (does_not if scale or name == "bias" else decays).append(parameter)
    optimiser = torch.optim.AdamW(
        [{"params": decays}, {"params": does_not, "weight_decay": 0.0}],
        lr=0.01,
        betas=(0.9, 0.98),
        weight_decay=0.1,
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: (i + 1) / 3 if i < 3 else (1 - (i - 3) / (12 - 3)) ** 0.9
    )
    network.train()
    for images, labels in training_batches(training, range(iterations)):
        loss = F.cross_entropy(network(images), labels.long(), ignore_index=config.dataset.void)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.3)
        optimiser.step()
        scheduler.step()
        yield loss.item()


def test_adamw_with_schedule_and_clipping_is_torchs_on_a_bare_loop_to_the_bit(
    tiny_config: Compose, prepared: Prepare
) -> None:
    config = tiny_config(*MODERN)
    ours, bare = training_of(config, prepared), training_of(config, prepared, "bare")
    train(ours, 12)
    losses = list(bare_loop(bare, 12))
    found = [loss for line in read_losses(ours.folder) for loss in line["losses"]]
    assert found == pytest.approx(losses, rel=1e-6)  # the sum is divided in another order
    state = bare.network.state_dict()
    for name, tensor in ours.network.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def protocol(**values: Any) -> ProtocolConfig:
    given = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1.0, "bias_lr_factor": 2.0}
    return ProtocolConfig(**{**given, "bias_decay_factor": 0.5, **values})


class Pretrained(nn.Sequential):
    """A layer that came with weights, and two that did not."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1), nn.LayerNorm(1))
        self.loaded_weights = {"0.weight": "a file", "0.bias": "a file"}


def rules(network: nn.Module, chosen: ProtocolConfig) -> dict[str, tuple[float, float]]:
    groups = make_optimiser(network, chosen).param_groups
    found = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    return {name: found[id(p)] for name, p in network.named_parameters()}


def test_every_rule_has_its_factor() -> None:
    chosen = protocol(
        norm_decay_factor=0.25,
        encoder_lr_factor=0.5,
        batch_norm=BatchNormConfig(shift_decay_factor=0.125),
    )
    assert rules(Pretrained(), chosen) == {
        "0.weight": (0.05, 1.0),
        "0.bias": (0.1, 0.5),
        "1.weight": (0.1, 1.0),
        "1.bias": (0.2, 0.5),
        "2.weight": (0.1, 0.25),
        "2.bias": (0.1, 0.125),
    }


def test_an_encoders_own_rate_needs_pretrained_parameters() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 1))
    with pytest.raises(ValueError, match=r"encoder_lr_factor is 0.1, but the network declares no"):
        make_optimiser(network, protocol(encoder_lr_factor=0.1))
    make_optimiser(network, protocol())


def test_it_is_refused_before_data_are_read(tiny_config: Compose) -> None:
    with pytest.raises(ValueError, match=r"encoder_lr_factor is 0\.5, but the network declares no"):
        prepare_network(tiny_config("protocol.encoder_lr_factor=0.5"))


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_the_schedule_sets_every_group_by_its_own_rate(optimiser: str) -> None:
    chosen = protocol(optimiser=optimiser, schedule="poly", poly_power=1.0, warm_up_iterations=2)
    found = make_optimiser(Pretrained(), chosen)
    for iteration, factor in enumerate([0.5, 1.0, 1.0, 0.75, 0.5, 0.25]):
        set_rates(found, chosen, iteration, 6)
        assert {g["lr"] for g in found.param_groups} == {factor * 0.1, factor * 0.2}


def test_a_constant_rate_is_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    found = make_optimiser(Pretrained(), protocol())
    before = [dict(group) for group in found.param_groups]
    monkeypatch.setattr("bench.run.optimiser.rate_factor", None)
    set_rates(found, protocol(), 5, 6)
    assert [dict(group) for group in found.param_groups] == before


@pytest.mark.parametrize("norm", [0.5, 1e6, None])
def test_clipping_is_torchs(norm: float | None) -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 2, 3))
    twin = copy.deepcopy(network)
    images = torch.randn(1, 2, 9, 9)
    for each in (network, twin):
        (100 * each(images)).square().sum().backward()
    chosen = protocol(clip_norm=norm)
    clip_gradients(network, chosen)
    if norm is not None:
        nn.utils.clip_grad_norm_(twin.parameters(), norm)
    for mine, torchs in zip(network.parameters(), twin.parameters(), strict=True):
        assert mine.grad is not None
        assert torchs.grad is not None
        torch.testing.assert_close(mine.grad, torchs.grad, rtol=1e-6, atol=0)


def test_a_resumed_run_equals_an_uninterrupted_one(tiny_config: Compose, prepared: Prepare) -> None:
    config = tiny_config(*MODERN, "protocol.dropout=0.5", "protocol.dice_weight=0.5")
    whole, cut = training_of(config, prepared, "whole"), training_of(config, prepared, "cut")
    train(whole, 12)
    train(cut, 5)  # saves a checkpoint, and is lost
    again = training_of(config, prepared, "cut")
    again.restore(checkpoints.load_checkpoint(again.folder, again.monitor) or {})
    assert again.iteration == 5
    train(again, 12)
    expected = whole.network.state_dict()
    assert all(torch.equal(t, expected[n]) for n, t in again.network.state_dict().items())


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_cuda_graph_follows_the_schedule(
    tiny_config: Compose, prepared: Prepare, optimiser: str
) -> None:
    """On the stand-in for a GPU: a graph's numbers are those of updates launched one by one."""
    settings = ["protocol.clip_norm=0.3", "protocol.schedule=cosine", "max_iterations=8"]
    settings.append("protocol.dice_weight=0.5")
    settings += [f"protocol.optimiser={optimiser}", "protocol.lr=0.01", "dataset.resident=device"]
    found = []
    for graphed in ("false", "true"):
        with one_gpu():
            folder, _ = prepared(tiny_config(*settings, f"cuda_graph={graphed}"), graphed)
            assert execute(folder) == 0, (folder / "end.json").read_text()
        found.append(checkpoints.load(folder / "checkpoint.pt")["network"])
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
