"""Weights of other networks from files: read, matched by name or in order, checked, adapted.

What was loaded is returned by name, as a network declares it in ``loaded_weights``.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

COUNTER = "num_batches_tracked"  # of batch norm; files of old have none, and it decides nothing
MATCHES = ("name", "order")


def load_pretrained(module: nn.Module, weights: str, match: str = "name") -> dict[str, str]:
    """Fills every parameter and running statistic of a module from a file of weights.

    Args:
        module: such as the encoder of a network.
        weights: the path of a state dict, by torch.save or as .safetensors.
        match: "name": tensors are found by their names, which in the file may all begin with a
            further part, such as ``backbone.``; "order": the file's tensors are taken one by one,
            whatever they are called. What the file has beyond the module, such as a classifier, is
            left out; of what is taken every shape must agree. Only the first convolution may have
            another number of input bands, see `repeat`.

    Returns:
        Name of each tensor that was filled -> what it was filled with.

    Raises:
        ValueError: no such file or match, or a tensor is missing or of another shape.
    """
    if match not in MATCHES:
        raise ValueError(f"weights_match={match}: must be one of {', '.join(MATCHES)}")
    state = read_state_dict(weights, "the path of a state dict, or null")
    wanted = {n: t for n, t in module.state_dict().items() if not n.endswith(COUNTER)}
    find = _by_name if match == "name" else _in_order
    sources = find(list(wanted), [n for n in state if not n.endswith(COUNTER)], weights)
    first = next((n for n, t in wanted.items() if t.ndim == 4), None)
    file, filled = Path(weights).name, {}
    for name, tensor in wanted.items():
        source = state[sources[name]]
        filled[name] = f"{file}: {sources[name]}"
        if name == first and source.ndim == 4 and source.shape[1] != tensor.shape[1]:
            filled[name] += f", {source.shape[1]} bands by repeat to {tensor.shape[1]}"
            source = repeat(source, tensor.shape[1])
        if source.shape != tensor.shape:
            raise ValueError(
                f"weights={weights}: {sources[name]} has shape {tuple(source.shape)}, and the "
                f"network's {name} {tuple(tensor.shape)}; give weights of this architecture"
            )
        tensor.copy_(source)  # state_dict() shares the memory of the module
    return filled


def repeat(kernel: Tensor, bands: int) -> Tensor:
    """Adapts a first convolution (C, B, h, w) to another number of bands by the rule "repeat".

    One band gets the sum over all, so that grey images give what they gave as B equal bands. Others
    get the kernel's bands in turn, times B / bands, so that equal bands give what they gave.
    """
    if bands == 1:
        return kernel.sum(dim=1, keepdim=True)
    own = kernel.shape[1]
    return kernel[:, [band % own for band in range(bands)]] * (own / bands)


def read_state_dict(weights: str, remedy: str) -> Mapping[str, Tensor]:
    """Reads a file of weights without running code of it.

    Args:
        weights: its path.
        remedy: what to give where it does not exist.

    Raises:
        ValueError: it is missing, or holds something else than tensors by name.
    """
    path = Path(weights).expanduser()
    if not path.is_file():
        raise ValueError(f"weights={weights}: no such file; give {remedy}")
    how = "save one with torch.save(network.state_dict(), path)"
    try:
        state = _safetensors(path) if path.suffix == ".safetensors" else torch.load(
            path, map_location="cpu", weights_only=True
        )  # fmt: skip
    except (RuntimeError, UnpicklingError, EOFError) as error:
        raise ValueError(f"weights={weights}: cannot be read as a state dict; {how}") from error
    if not isinstance(state, Mapping):
        raise ValueError(
            f"weights={weights}: holds a {type(state).__name__}, not a state dict; {how}"
        )
    wrapped = state.get("state_dict", state.get("model"))  # as training scripts save theirs
    state = wrapped if isinstance(wrapped, Mapping) else state
    return {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}


def _safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        safetensors = importlib.import_module("safetensors")
        tensors = importlib.import_module("safetensors.torch")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"weights={path}: safetensors is not installed; this file needs it: "
            'pip install "segbench[external]"'
        ) from error
    try:
        found: Mapping[str, Tensor] = tensors.load_file(path)
    except safetensors.SafetensorError as error:
        raise RuntimeError(str(error)) from error
    return found


def _by_name(wanted: list[str], given: list[str], weights: str) -> dict[str, str]:
    """Finds each wanted tensor in a file, all of whose names may begin with one further part."""
    there = set(given)
    beginnings = {""} | {n.removesuffix(wanted[0]) for n in given if n.endswith(f".{wanted[0]}")}
    prefix = max(sorted(beginnings), key=lambda p: sum(p + name in there for name in wanted))
    missing = [name for name in wanted if prefix + name not in there]
    if missing:
        raise ValueError(
            f"weights={weights}: lacks {len(missing)} of {len(wanted)} tensors, the first of them "
            f"{prefix}{missing[0]}, and has such as {given[0] if given else 'none'}; give weights "
            "of this architecture, or weights_match=order where only the names differ"
        )
    return {name: prefix + name for name in wanted}


def _in_order(wanted: list[str], given: list[str], weights: str) -> dict[str, str]:
    if len(given) < len(wanted):
        raise ValueError(
            f"weights={weights}: has {len(given)} tensors, and the network takes {len(wanted)}; "
            "give weights of this architecture"
        )
    return dict(zip(wanted, given, strict=False))
