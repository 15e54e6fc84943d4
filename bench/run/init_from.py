"""Starting a run from the weights of another, as that was evaluated: `init_from=RUN`."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench import records
from bench.config import Config
from bench.run import checkpoints


def start_from_run(network: nn.Module, config: Config) -> nn.Module:
    """Fills a network with the weights that `init_from` names, and returns it.

    Raises:
        ValueError: the run has no such weights, or a tensor of them does not fit; naming it.
    """
    assert config.init_from is not None
    assert config.init_iteration is not None
    run, iteration = Path(config.init_from), config.init_iteration
    tensors = checkpoints.weights_of(run, iteration)
    if tensors is None:
        raise ValueError(
            f"init_from={run} has no weights of iteration {iteration}; a run keeps weights-best.pt "
            "and weights-last.pt, of its best and its last evaluation, unless they were removed"
        )
    of_run = {name: _kind(tensor) for name, tensor in tensors.items()}
    of_network = {name: _kind(tensor) for name, tensor in network.state_dict().items()}
    for name in {**of_network, **of_run}:
        if of_network.get(name) != of_run.get(name):
            raise ValueError(
                f"init_from={run} does not fit this network: its tensor {name} is "
                f"{of_run.get(name, 'missing')}, and here it is {of_network.get(name, 'missing')}; "
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
