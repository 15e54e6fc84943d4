"""Iterations: what one takes, announced beforehand, what it is fed, what lies between two."""

import copy
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench import records
from bench.config import Config
from bench.data.normalisation import normalise
from bench.data.splits import load_splits
from bench.run.evaluation import evaluate, evaluation_network
from bench.run.monitor import Monitor
from bench.run.preparation import announce, prepare_training
from bench.run.training import Training, seconds_per_iteration, train

Compose = Callable[..., Config]
Prepare = Callable[..., tuple[Path, Monitor]]
CPU = torch.device("cpu")


def prepared_training(config: Config, prepared: Prepare) -> Training:
    folder, monitor = prepared(config)
    splits = load_splits(config, ["train"])
    return prepare_training(config, folder, splits, CPU, monitor)


def test_timing_an_iteration_leaves_the_run_untouched(
    tiny_config: Compose, prepared: Prepare
) -> None:
    training = prepared_training(tiny_config(), prepared)
    training.network.register_buffer("count", torch.zeros(1), persistent=False)

    def count(network: nn.Module, inputs: Any) -> None:
        network.count.add_(1)

    training.network.register_forward_pre_hook(count)
    before = copy.deepcopy(dict(training.network.named_buffers()))
    before |= copy.deepcopy(dict(training.network.named_parameters()))
    assert seconds_per_iteration(training) > 0
    assert training.iteration == 0
    assert not training.optimiser.state
    after = dict(training.network.named_buffers()) | dict(training.network.named_parameters())
    assert after.keys() == before.keys()
    for key, value in after.items():
        assert torch.equal(value, before[key]), key
        assert value.grad is None


def test_compilation_is_made_once_and_is_no_part_of_an_iterations_time(
    tiny_config: Compose, prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a stand-in for the compiler, which takes a second at the first call."""
    compiled: list[nn.Module] = []

    def compile_slowly(network: nn.Module) -> None:
        compiled.append(network)
        handle = network.register_forward_pre_hook(lambda *_: (time.sleep(1), handle.remove())[1])

    monkeypatch.setattr(nn.Module, "compile", compile_slowly)
    monkeypatch.setattr("bench.run.training.SLOW_SECONDS", 0.5)
    training = prepared_training(tiny_config("protocol.compile=true"), prepared)
    announce(training, {"train": training.split, "test": training.split})
    notices = records.read_json(training.folder / "progress.json")["notices"]
    assert any("compiling the network, once" in notice for notice in notices)
    (seconds,) = re.findall(r"\((\S+) s an iteration\)", "\n".join(notices))
    assert float(seconds) < 1
    assert compiled == [training.model]
    train(training, 1)
    assert compiled == [training.model]


def test_gradients_are_gone_as_soon_as_they_are_used(
    tiny_config: Compose, prepared: Prepare
) -> None:
    """They would lie beside activations, as they do not in what the cost table measures.

    Those of the next forward pass, and those of what follows the last update: evaluation, or the
    pass for batch norm.
    """
    training = prepared_training(tiny_config(), prepared)
    seen: list[Any] = []
    training.network.register_forward_pre_hook(
        lambda network, _: seen.extend(parameter.grad for parameter in network.parameters())
    )
    train(training, 3)
    assert seen
    assert set(seen) == {None}
    assert {parameter.grad for parameter in training.network.parameters()} == {None}


def test_training_batch_norm_pass_and_evaluation_see_the_same_input(
    tiny_config: Compose, prepared: Prepare
) -> None:
    """Local contrast is taken in float32 whatever the network computes in: bfloat16 moves it."""
    options = ("protocol.precision=bf16", "protocol.normalisation=lcn", "protocol.mirror=false")
    training = prepared_training(tiny_config(*options), prepared)
    (images, _), split = next(training.split.batches([np.arange(12)])), training.split
    expected = normalise(images, "lcn")
    seen: list[torch.Tensor] = []

    def keep(network: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        assert torch.is_autocast_enabled("cpu")
        seen.append(inputs[0])

    training.network.register_forward_pre_hook(keep)
    train(training, 1)
    network = evaluation_network(training)
    evaluate(network, split, training.config, device=CPU, monitor=training.monitor)
    assert len(seen) == 1 + 3 + 3  # of 12 images in batches of 4
    for image in torch.cat(seen):
        assert (expected - image).abs().amax((1, 2, 3)).min() < 1e-4
