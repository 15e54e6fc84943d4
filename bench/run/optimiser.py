"""The optimiser of the paper, the same for every network."""

import torch
from torch import nn

from bench.config import ProtocolConfig


def make_optimiser(network: nn.Module, protocol: ProtocolConfig) -> torch.optim.SGD:
    """Makes SGD with momentum, and the bias rules of the authors' network files.

    Biases learn `bias_lr_factor` times as fast, and decay `bias_decay_factor` times as much as
    weights. Shifts of batch norm learn as fast as weights, and decay as biases do, or
    `batch_norm.shift_decay_factor` times as much as weights.
    """
    bias_decay = protocol.bias_decay_factor
    shift_decay = protocol.batch_norm.shift_decay_factor
    shift_decay = bias_decay if shift_decay is None else shift_decay
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for layer in network.modules():
        normalises = isinstance(layer, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm)
        for name, parameter in layer.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            is_bias = name == "bias"
            lr = protocol.bias_lr_factor if is_bias and not normalises else 1.0
            decay = (shift_decay if normalises else bias_decay) if is_bias else 1.0
            group = groups.setdefault((lr, decay), [])
            if not any(parameter is known for known in group):  # shared layers count once
                group.append(parameter)
    return torch.optim.SGD(
        [
            {
                "params": parameters,
                "lr": lr * protocol.lr,
                "weight_decay": decay * protocol.weight_decay,
            }
            for (lr, decay), parameters in groups.items()
        ],
        lr=protocol.lr,
        momentum=protocol.momentum,
    )
