"""The batch-norm pass: the statistics it says it takes, and nothing changed in training."""

import copy

import torch
from torch import nn

from bench.run.batch_norm import recomputed


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.BatchNorm2d(4))


BATCHES = list((torch.arange(6 * 2 * 3 * 4 * 5, dtype=torch.float).sin() * 9).view(6, 2, 3, 4, 5))


def first_inputs() -> torch.Tensor:
    """Inputs of the first batch norm: (batches, samples, channels)."""
    with torch.no_grad():
        maps = torch.stack([network()[0](batch) for batch in BATCHES]).double()
    return maps.permute(0, 1, 3, 4, 2).flatten(1, 3)


def test_paper_averages_the_biased_variances_of_the_batches() -> None:
    layer = recomputed(network(), BATCHES, "paper")[1]
    values = first_inputs()
    torch.testing.assert_close(layer.running_mean.double(), values.mean((0, 1)))
    expected = values.var(1, correction=0).mean(0)
    torch.testing.assert_close(layer.running_var.double(), expected, rtol=1e-5, atol=1e-6)


def test_exact_is_the_variance_over_all_samples() -> None:
    layer = recomputed(network(), BATCHES, "exact")[1]
    values = first_inputs().flatten(0, 1)
    torch.testing.assert_close(
        layer.running_var.double(), values.var(0, correction=0), rtol=1e-5, atol=1e-6
    )


def test_a_one_pixel_map_uses_the_biased_variance_too() -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3))
    layer = recomputed(net, BATCHES, "paper")[1]
    means = torch.stack(BATCHES).mean((3, 4))  # (batches, 2, 3)
    torch.testing.assert_close(layer.running_var, means.var(1, correction=0).mean(0))


def test_dropout_is_off_in_the_pass() -> None:
    """The second layer sees what the first gives, and not half of it."""
    twin = recomputed(network(), BATCHES, "exact")
    with torch.no_grad():
        seen = torch.cat([twin[1](twin[0](batch)) for batch in BATCHES])
    torch.testing.assert_close(twin[3].running_mean, seen.mean((0, 2, 3)), atol=0.05, rtol=0)


def test_training_is_left_as_it_was() -> None:
    net = network().train()
    before = copy.deepcopy(net.state_dict())
    twin = recomputed(net, BATCHES, "paper")
    assert all(module.training for module in net.modules())
    assert not any(module.training for module in twin.modules())
    assert twin[1].momentum == net[1].momentum
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert not net[1]._forward_hooks


def test_a_network_without_batch_norm_needs_no_pass() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1))
    assert torch.equal(recomputed(net, iter(()), "paper")[0].weight, net[0].weight)
