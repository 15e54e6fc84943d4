"""Loading the network of a recorded run, for prediction and for evaluation elsewhere."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from bench.config import Config, read_config
from bench.pretraining import without_weights
from bench.run import checkpoints
from bench.run.device import prepare_device
from bench.run.network import build_network
from bench.target import make_importable
from bench.trust import require_harmless, without_places
from bench.typed import plain, typed

WEIGHTS = {"best": checkpoints.BEST, "last": checkpoints.LAST}


@dataclass(frozen=True)
class Trained:
    """A network as it was evaluated, batch-norm statistics included.

    Attributes:
        weights: the file that they are from; None for one that was not read.
    """

    network: nn.Module
    config: Config
    device: torch.device
    iteration: int
    weights: Path | None = None


def load_trained(arguments: argparse.Namespace) -> Trained:
    """Rebuilds the network of a run.

    Args:
        arguments: the flags of `add_arguments`: the run; its weights, which are `best` by
            validation, `last`, or `auto`, the best where there is one; the device.

    Raises:
        ValueError: the folder is no run, or has no such weights.
    """
    folder, which = arguments.run, arguments.weights
    config = replace(read_config(folder), device=arguments.device)
    if not arguments.trust:
        require_harmless(plain(config), folder, arguments.config_dir)
        config = typed(Config, without_places(plain(config)))
    if arguments.config_dir is not None:
        make_importable(arguments.config_dir)
    if which == "auto":
        which = "best" if (folder / checkpoints.BEST).exists() else "last"
    weights = checkpoints.load(folder / WEIGHTS[which])
    # Weights of other networks, which a run may have started from, are not needed again.
    config.arch = without_weights(config.arch)
    place = prepare_device(config)
    network = build_network(config)
    checkpoints.fill(network, weights["network"], folder / WEIGHTS[which])
    network = network.to(place).eval()
    return Trained(network, config, place, weights["iteration"], folder / WEIGHTS[which])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say which network of which run, and where it computes."""
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument("--weights", choices=("auto", *WEIGHTS), default="auto")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--trust", action="store_true", help="let the record call any code, not only ours and yours"
    )
    parser.add_argument(
        "--config-dir", type=Path, help="the folder of your own network, as given when it trained"
    )
