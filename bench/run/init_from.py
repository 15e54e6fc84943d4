"""Starting a run from weights: of another run, as that was evaluated (`init_from=RUN`), or loaded.

What a network starts from is described, with a digest of the loaded tensors.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench import records
from bench.config import Config
from bench.pretraining import KEY, NONE, of_run
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
    theirs = {name: _kind(tensor) for name, tensor in tensors.items()}
    ours = {name: _kind(tensor) for name, tensor in network.state_dict().items()}
    for name in {**ours, **theirs}:
        if ours.get(name) != theirs.get(name):
            raise ValueError(
                f"init_from={run} does not fit this network: its tensor {name} is "
                f"{theirs.get(name, 'missing')}, and here it is {ours.get(name, 'missing')}; "
                "give the arch and the data set's classes of that run"
            )
    infinite = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if infinite:
        raise ValueError(
            f"init_from={run}: its tensor {infinite[0]} holds values that are not finite; start "
            "from another run"
        )
    network.load_state_dict(tensors)
    return network


def _kind(tensor: torch.Tensor) -> str:
    """Returns the shape, and what its numbers are unless they are fractions."""
    shape = str(tuple(tensor.shape))
    return shape if tensor.is_floating_point() else f"{shape} of {tensor.dtype}"


def describe(network: nn.Module, config: Config) -> dict[str, Any]:
    """Describes a network before its training, and whose weights it starts from.

    As `describe_network`; loaded weights with their digest, and what they were learned from.
    """
    described = describe_network(network)
    if config.init_from is not None:
        source = f"{Path(config.init_from).name}, iteration {config.init_iteration}"
        described["initialisation"] = f"the weights of {source}"
        described["loaded_weights"] = dict.fromkeys(network.state_dict(), source)
    learned_from = of_run(config)
    if learned_from != NONE:
        described[KEY] = learned_from
    if described["loaded_weights"]:
        described["weights_digest"] = weights_digest(network, described["loaded_weights"])
    return described


def require_same_weights(folder: Path, description: dict[str, Any]) -> None:
    """Rejects loaded weights that are not those a run began with.

    Args:
        folder: the run, which has a checkpoint.
        description: of its network as it was built now.

    Raises:
        ValueError: naming the run.
    """
    now = description.get("weights_digest")
    then = records.read_json(folder / "network.json").get("weights_digest", now)
    if then != now:
        raise ValueError(
            f"the weights that {folder.name} began with had the digest {then}, and those loaded "
            f"now have {now}; restore them, or start afresh with rerun=true"
        )


def weights_digest(network: nn.Module, names: Iterable[str]) -> str:
    """Hashes tensors of a network by name, type, shape and value; names it has not are left out."""
    state, sha = network.state_dict(), hashlib.sha256()
    for name in sorted(set(names) & set(state)):
        tensor = state[name].detach().cpu().contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return sha.hexdigest()
