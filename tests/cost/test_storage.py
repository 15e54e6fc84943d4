"""Storage for the decoder: the paper's units, toy networks counted by hand, and what has none."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.command_line import compose_config
from bench.cost.storage import UNIT_BYTES, Retained, retained_bytes
from bench.run.network import build_network

# First level and all levels at 360x480. 2-bit indices of 64 channels are 64 / 4 bytes a window;
# levels have 180x240, 90x120, 45x60 and 23x30 windows.
LEVELS = [180 * 240, 90 * 120, 45 * 60, 23 * 30]
INDICES = [16 * windows for windows in LEVELS]
ADDED = LEVELS[:3]  # encoder maps are added at three sizes
EXPECTED = {
    "segnet_basic": (4, sum(INDICES)),
    "segnet_basic_single_channel_decoder": (4, sum(INDICES)),
    "segnet_basic_encoder_addition": (68, sum(INDICES) + 256 * sum(ADDED)),
    "fcn_basic": (11, 44 * sum(ADDED)),
    "fcn_basic_no_dim_reduction": (64, 256 * sum(ADDED)),
    "fcn_basic_no_addition": (0, 0),
    "fcn_basic_no_addition_no_dim_reduction": (0, 0),
    "bilinear_interpolation": (0, 0),
}


@pytest.mark.parametrize(("arch", "expected"), EXPECTED.items())
def test_the_variants_of_table_1_retain_what_the_arithmetic_says(
    arch: str, expected: tuple[int, int]
) -> None:
    network = build_network(compose_config([f"arch={arch}"]))
    units, total = expected
    assert retained_bytes(network, (360, 480)) == Retained(total, units * UNIT_BYTES)


def test_a_network_without_pooling_has_no_bottleneck() -> None:
    network = build_network(compose_config(["arch=no_pooling"]))
    assert retained_bytes(network, (36, 48)) is None


def test_a_network_that_stays_small_has_none_either() -> None:
    assert retained_bytes(nn.Conv2d(3, 2, 3, stride=2), (36, 48)) is None


class Skip(nn.Module):
    """One level: a full map of 5 channels is kept, and a squeezed summary of it gates the rest."""

    def __init__(self, *, native_indices: bool = False, gate: bool = False) -> None:
        super().__init__()
        self.first, self.deep = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1)
        self.native_indices, self.gate = native_indices, gate

    def forward(self, x: Tensor) -> Tensor:
        full = self.first(x)
        x, indices = F.max_pool2d(full, 2, 2, return_indices=True)
        x = self.deep(x)
        if self.gate:
            x = x * F.adaptive_avg_pool2d(x, 1).sigmoid()
        if self.native_indices:
            return F.max_unpool2d(x, indices, 2, 2)
        return F.interpolate(x, scale_factor=2.0) + full


@pytest.mark.parametrize("gate", [False, True])
def test_a_skipped_map_counts_whole(gate: bool) -> None:
    """A 1x1 gate is a summary of the image and no bottleneck."""
    full = 5 * 16 * 24 * 4
    assert retained_bytes(Skip(gate=gate), (16, 24)) == Retained(full, full)


def test_native_indices_take_eight_bytes_a_window() -> None:
    windows = 5 * 8 * 12
    expected = Retained(8 * windows, 8 * windows)
    assert retained_bytes(Skip(native_indices=True), (16, 24)) == expected


def test_counting_leaves_the_network_as_it_was() -> None:
    network = Skip().train()
    before = [parameter.clone() for parameter in network.parameters()]
    retained_bytes(network, (16, 24))
    assert network.training
    for old, new in zip(before, network.parameters(), strict=True):
        assert torch.equal(old, new)


def test_an_image_size_that_the_network_refuses_is_not_hidden() -> None:
    with pytest.raises(RuntimeError):
        retained_bytes(Skip(), (15, 24))
