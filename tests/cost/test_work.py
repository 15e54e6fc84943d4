"""Work: multiply-accumulates and bytes counted by hand, and against the published networks."""

from pathlib import Path

import pytest
import torch
from torch import nn

from bench.command_line import compose_config
from bench.cost.work import count_work, file_bytes, moved_bytes, multiply_accumulates
from bench.run.network import build_network

# Multiply-accumulates of the forward pass at 360x480 with 11 classes, in units of 1e9.
GIGA = {
    "segnet_basic": 59.2,
    "fcn_basic": 13.5,
    "fcn_basic_no_dim_reduction": 28.2,
    "segnet": 106.7,
    "fcn": 139.5,
    "deeplab_largefov": 131,
}


@pytest.mark.parametrize(("arch", "expected"), GIGA.items())
def test_the_papers_networks_have_the_work_of_their_layers(arch: str, expected: float) -> None:
    network = build_network(compose_config([f"arch={arch}"]))
    assert multiply_accumulates(network, (360, 480)) / 1e9 == pytest.approx(expected, rel=0.005)


def test_a_convolution_is_counted_as_by_hand() -> None:
    network = nn.Conv2d(3, 8, 5, padding=2, bias=False)
    assert multiply_accumulates(network, (10, 12)) == 10 * 12 * 8 * 3 * 5 * 5
    assert moved_bytes(network, (10, 12)) == 4 * (3 * 120 + 8 * 120 + 8 * 3 * 25)


def test_views_move_nothing() -> None:
    class Turned(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.transpose(2, 3)[:, :, 1:].relu()

    assert moved_bytes(Turned(), (10, 12)) == 2 * 4 * 3 * 11 * 10


def test_frozen_parameters_are_counted_apart() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    network[0].weight.requires_grad_(False)
    work = count_work(network, (4, 4))
    assert (work["parameters"], work["trainable_parameters"]) == (6 + 2 + 4, 2 + 4)
    assert work["model_bytes"] == 4 * 12


def test_the_file_size_is_that_of_the_saved_file(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 20, 3), nn.BatchNorm2d(20))
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    # The file's own name is in each of its entries, a few bytes each.
    assert file_bytes(network) == pytest.approx((tmp_path / "weights.pt").stat().st_size, rel=0.1)
    assert file_bytes(network) > 4 * sum(p.numel() for p in network.parameters())
