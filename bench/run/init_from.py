"""Starting a run from the weights of another one, as that was evaluated (`init_from=RUN`)."""

from pathlib import Path
from typing import Any

from torch import nn

from bench.config import Config
from bench.run import checkpoints
from bench.run.network import describe_network


def start_from_run(network: nn.Module, config: Config) -> nn.Module:
    """Fills a network with the weights that `init_from` names, if it names any; returns it.

    Raises:
        ValueError: the run has no such weights, or a tensor of them does not fit; naming it.
    """
    if config.init_from is None:
        return network
    assert config.init_iteration is not None
    run, iteration = Path(config.init_from), config.init_iteration
    tensors = checkpoints.weights_of(run, iteration)
    if tensors is None:
        raise ValueError(
            f"init_from={run} has no weights of iteration {iteration}; a run keeps weights-best.pt "
            "and weights-last.pt, of its best and its last evaluation, unless they were removed"
        )
    theirs = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    ours = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for name in {**ours, **theirs}:
        if ours.get(name) != theirs.get(name):
            raise ValueError(
                f"init_from={run} does not fit this network: its tensor {name} is "
                f"{theirs.get(name, 'missing')}, and here it is {ours.get(name, 'missing')}; "
                "give the arch and the data set's classes of that run"
            )
    network.load_state_dict(tensors)
    return network


def describe(network: nn.Module, config: Config) -> dict[str, Any]:
    """Describes a network, and whose weights it started from; see `describe_network`."""
    described = describe_network(network)
    if config.init_from is not None:
        source = f"{Path(config.init_from).name}, iteration {config.init_iteration}"
        described["initialisation"] = f"the weights of {source}"
        described["loaded_weights"] = dict.fromkeys(network.state_dict(), source)
    return described
