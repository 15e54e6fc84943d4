"""From configuration to network: built, seeded, checked against the contract, counted, fed."""

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.band_checks import takes_no
from bench.config import Config
from bench.data.normalisation import normalise
from bench.data.staging import staged
from bench.pretraining import KEY, NONE, of_run
from bench.protocol import ProtocolConfig
from bench.run.contract import DOCTOR, check_not_lazy, failures_explained, misfit
from bench.run.inference import logits_of, size_multiple
from bench.seeds import derive_seed
from bench.target import build
from bench.trust import NETWORKS

OWN = "initialisation by its own code"


def build_network(config: Config) -> nn.Module:
    """Instantiates `arch` with the numbers of classes and bands; weights depend on the seed alone.

    The number of bands is given where `dataset.bands` declares it: all else is RGB.

    Raises:
        ValueError: the import path, an argument or a weight file is wrong, or a layer is lazy.
    """
    arguments = {key: value for key, value in config.arch.items() if key not in {"name", KEY}}
    torch.manual_seed(derive_seed(config.seed, "initialisation"))
    sizes = {"num_classes": len(config.dataset.classes)}
    if config.dataset.bands is not None:
        sizes["in_channels"] = config.dataset.bands
    try:
        network = build("arch", arguments, **sizes)
    except ValueError as error:
        refused = [name for name in sizes if f"unexpected keyword argument '{name}'" in str(error)]
        if not refused:
            raise
        raise ValueError(takes_no(arguments["_target_"], refused[0])) from error
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"arch._target_ {arguments['_target_']} gives a {type(network).__name__}, "
            "not a torch.nn.Module"
        )
    check_not_lazy(network, config)
    return network


def placed(network: nn.Module, protocol: ProtocolConfig, device: torch.device) -> nn.Module:
    """Moves a network to its device, in the memory layout of the protocol."""
    network = network.to(device)
    if protocol.channels_last:
        network = network.to(memory_format=torch.channels_last)
    return network


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Returns the context in which a network computes: bfloat16 where the protocol says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def network_input(images: Tensor, config: Config, device: torch.device) -> Tensor:
    """Moves images (N, C, H, W), as a split gives them, to the device and normalises them."""
    dataset = config.dataset
    values = normalise(
        staged(images, device),
        config.protocol.normalisation,
        dataset.band_mean,
        dataset.band_deviation,
    )
    if config.protocol.channels_last:
        values = values.contiguous(memory_format=torch.channels_last)
    return values


@torch.inference_mode()
def check_logits(
    network: nn.Module,
    config: Config,
    device: torch.device,
    size: Sequence[int] | None = None,
) -> None:
    """Holds a network to the contract: in evaluation mode (N, C, H, W) gives (N, K, H, W).

    Args:
        network: on the device.
        config: the configuration.
        device: where it computes.
        size: H, W; None: what it is trained on.

    Raises:
        ValueError: it fails, or gives something else.
    """
    size = size or config.protocol.input_size
    assert size is not None
    height, width = size
    expected = (1, len(config.dataset.classes), height, width)
    network.eval()
    as_trained = [height, width] == config.protocol.input_size
    mode = "evaluation" if as_trained else f"evaluation of {height}x{width}"
    with failures_explained(config, 1, mode):
        image = torch.zeros(1, config.dataset.in_channels, height, width, device=device)
        logits = logits_of(network, image)
    wrong = misfit(logits, expected)
    if wrong is not None:
        raise ValueError(
            f"arch {config.arch['name']} gives, in evaluation for an input of {height}x{width}, "
            f"{wrong}; {DOCTOR}"
        )


def describe_network(network: nn.Module) -> dict[str, Any]:
    """Counts parameters and says what they started from; 4 bytes for each, as in Table 6.

    What a network started from it says itself: `loaded_weights` (parameter -> where it is from)
    where weights were loaded, else the class's `initialisation`. Of one that says neither it is not
    known, also where it derives from one of ours and may have loaded weights since.

    Raises:
        ValueError: `loaded_weights` is something else.
    """
    parameters = sum(p.numel() for p in network.parameters())
    loaded: dict[str, str] = getattr(network, "loaded_weights", {})
    if not isinstance(loaded, dict) or not all(
        isinstance(text, str) for pair in loaded.items() for text in pair
    ):
        raise ValueError(
            f"{type(network).__name__}.loaded_weights is a {type(loaded).__name__}; it must be a "
            "dictionary of parameters and the files they were loaded from, both text"
        )
    is_of_this_package = type(network).__module__.split(".")[0] == NETWORKS
    said = getattr(network if is_of_this_package else type(network), "initialisation", None)
    said = said if isinstance(said, str) else None  # it may be a method of theirs
    return {
        "parameters": parameters,
        "trainable_parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "model_bytes": 4 * parameters,
        "size_multiple": size_multiple(network),
        "initialisation": "loaded weights" if loaded else said or OWN,
        "loaded_weights": loaded,
    }


def describe(network: nn.Module, config: Config) -> dict[str, Any]:
    """Describes a network before its training, and whose weights it starts from.

    As `describe_network`; loaded weights with their digest, and what they were learned from.
    """
    described = describe_network(network)
    if config.init_from is not None:
        source = f"{Path(config.init_from).name}, iteration {config.init_iteration}"
        described["initialisation"] = f"the weights of {source}"
        described["loaded_weights"] = dict.fromkeys(network.state_dict(), source)
    if described["loaded_weights"]:
        learned_from = of_run(config)
        if learned_from != NONE:
            described[KEY] = learned_from
        described["weights_digest"] = weights_digest(network, described["loaded_weights"])
    return described


def weights_digest(network: nn.Module, names: Iterable[str]) -> str:
    """Hashes tensors of a network by name, type, shape and value; names it has not are left out."""
    state, sha = network.state_dict(), hashlib.sha256()
    for name in sorted(set(names) & set(state)):
        tensor = state[name].detach().cpu().contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return sha.hexdigest()
