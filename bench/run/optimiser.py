"""The optimiser of a protocol, the same for every network: parameter groups by rules, their rates.

A protocol's rules are factors on `lr` and `weight_decay`, by what a parameter is: a bias
(`bias_lr_factor`, `bias_decay_factor`), a scale or a shift of a normalisation (`norm_decay_factor`,
`batch_norm.shift_decay_factor`), or one that came with the network's weights (`encoder_lr_factor`).
"""

from collections.abc import Iterator

import torch
from torch import nn

from bench.protocol import Optimiser, ProtocolConfig, Schedule
from bench.run.schedule import rate_factor

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def make_optimiser(network: nn.Module, protocol: ProtocolConfig) -> torch.optim.Optimizer:
    """Makes torch's SGD with momentum or AdamW, with the protocol's rules.

    Those of the paper's protocols are the authors': biases learn twice as fast as weights and do
    not decay. Shifts of batch norm learn as fast as weights, and decay as biases do where they have
    no factor of their own.

    Raises:
        ValueError: the encoder has a rate of its own, and the network loaded nothing.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter, lr, decay in _factors(network, protocol):
        group = groups.setdefault((lr, decay), [])
        if not any(parameter is known for known in group):  # shared layers count once
            group.append(parameter)
    settings = [
        {
            "params": parameters,
            "lr": lr * protocol.lr,
            "initial_lr": lr * protocol.lr,  # torch's name of what a schedule multiplies
            "weight_decay": decay * protocol.weight_decay,
        }
        for (lr, decay), parameters in groups.items()
    ]
    if protocol.optimiser == Optimiser.adamw:
        betas = (protocol.momentum, protocol.second_momentum)
        return torch.optim.AdamW(settings, lr=protocol.lr, betas=betas)
    return torch.optim.SGD(settings, lr=protocol.lr, momentum=protocol.momentum)


def _factors(
    network: nn.Module, protocol: ProtocolConfig
) -> Iterator[tuple[nn.Parameter, float, float]]:
    """Yields every trainable parameter with the factors on its rate and on its decay."""
    bias_decay = protocol.bias_decay_factor
    shift_decay = protocol.batch_norm.shift_decay_factor
    shift_decay = bias_decay if shift_decay is None else shift_decay
    pretrained = pretrained_parameters(network, protocol)
    for prefix, layer in network.named_modules():
        normalises = isinstance(layer, NORMS)
        for name, parameter in layer.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            is_bias = name == "bias"
            lr = protocol.bias_lr_factor if is_bias and not normalises else 1.0
            if is_bias:
                decay = shift_decay if normalises else bias_decay
            else:
                decay = protocol.norm_decay_factor if normalises else 1.0
            if f"{prefix}.{name}".lstrip(".") in pretrained:
                lr *= protocol.encoder_lr_factor
            yield parameter, lr, decay


def pretrained_parameters(network: nn.Module, protocol: ProtocolConfig) -> set[str]:
    """Names the parameters that have a rate of their own: those that the network loaded.

    Raises:
        ValueError: there are none, and `encoder_lr_factor` is not 1.
    """
    if protocol.encoder_lr_factor == 1:
        return set()
    loaded = set(getattr(network, "loaded_weights", {}))
    if not loaded & {name for name, _ in network.named_parameters()}:
        raise ValueError(
            f"protocol.encoder_lr_factor is {protocol.encoder_lr_factor}, but the network declares "
            "no pretrained parameters; have it load weights (and say so in loaded_weights), or set "
            "protocol.encoder_lr_factor=1"
        )
    return loaded


def has_constant_rates(protocol: ProtocolConfig) -> bool:
    """Says whether every weight update has the same learning rates."""
    return protocol.schedule == Schedule.constant and protocol.warm_up_iterations == 0


def set_rates(
    optimiser: torch.optim.Optimizer, protocol: ProtocolConfig, iteration: int, last: int
) -> None:
    """Gives every group the learning rate of a weight update; see `rate_factor`."""
    if has_constant_rates(protocol):
        return
    factor = rate_factor(protocol, iteration, last)
    for group in optimiser.param_groups:
        group["lr"] = factor * group["initial_lr"]


def clip_gradients(network: nn.Module, protocol: ProtocolConfig) -> None:
    """Scales all gradients down to a common norm of `clip_norm`, where it is larger.

    The host does not wait for the norm, and one that is not finite shows in the loss.
    """
    if protocol.clip_norm is not None:
        nn.utils.clip_grad_norm_(network.parameters(), protocol.clip_norm)
