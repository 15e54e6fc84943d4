"""Parameters of every network at full width, against arithmetic and the paper's figures."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

# 11 classes. By hand, the encoder is e = (3 + 3*64) * 64*7*7 + 4 * 2*64 = 612,032, hence, say,
# SegNet-Basic e + 4 * 64*64*7*7 + 4 * 2*64 + 64*11, its decoder's batch norm and classifier last;
# FCN-Basic e + 4 * (64*11 + 2*11) + 4 * 11*11*8*8 + 3 * 2*11.
TABLE_1 = {  # parameters, and millions in the paper
    "segnet_basic": (1_416_064, 1.425),
    "segnet_basic_encoder_addition": (1_416_064, 1.425),
    "segnet_basic_single_channel_decoder": (625_792, 0.625),
    "fcn_basic": (645_978, 0.65),
    "fcn_basic_no_addition": (643_800, 0.65),
    "fcn_basic_no_dim_reduction": (1_661_824, 1.625),
    "fcn_basic_no_addition_no_dim_reduction": (1_661_824, 1.625),
    "bilinear_interpolation": (612_758, 0.625),
}
TABLE_6 = {  # parameters, and megabytes in the paper
    "segnet": (29_449_355, 117),
    "deeplab_largefov": (20_507_723, 83),
    "fcn_learnt_deconv": (134_373_761, 539),
    "deconvnet": (219_280_715, 877),
}
UNPUBLISHED = {
    "replication": 1_416_064,
    "fixed_indices": 1_416_064,
    "no_pooling": 612_736,
    "fcn": 134_373_761,
    "bayesian_segnet": 29_449_355,
    "unet": 31_032_395 + 13_696,  # the original's, and batch norm
}


def parameters(build: Callable[..., nn.Module], arch: str, num_classes: int = 11) -> int:
    """Number of parameters, built without memory."""
    with torch.device("meta"):
        network = build(arch, num_classes)
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("arch", TABLE_1)
def test_table_1(build: Callable[..., nn.Module], arch: str) -> None:
    """Table 1: the exact count, within 2.5 % of the paper's."""
    exact, millions = TABLE_1[arch]
    assert parameters(build, arch) == exact
    assert exact / 1e6 == pytest.approx(millions, rel=0.025)


@pytest.mark.parametrize("arch", TABLE_6)
def test_table_6(build: Callable[..., nn.Module], arch: str) -> None:
    """Table 6: the exact count, and 4 bytes of each within 1.5 % of the paper's model size."""
    exact, megabytes = TABLE_6[arch]
    assert parameters(build, arch) == exact
    assert 4 * exact / 1e6 == pytest.approx(megabytes, rel=0.015)


@pytest.mark.parametrize("arch", UNPUBLISHED)
def test_unpublished(build: Callable[..., nn.Module], arch: str) -> None:
    """Networks without a published figure: the exact count."""
    assert parameters(build, arch) == UNPUBLISHED[arch]


@pytest.mark.parametrize(("arch", "megabytes"), [("segnet", 117.86), ("fcn_learnt_deconv", 539.44)])
def test_sun_rgbd_classes(build: Callable[..., nn.Module], arch: str, megabytes: float) -> None:
    """With the 37 classes of SUN RGB-D the sizes, cut to whole MB, are those printed in Table 6."""
    assert 4 * parameters(build, arch, 37) / 1e6 == pytest.approx(megabytes, abs=0.005)


def test_encoder_parts(build: Callable[..., nn.Module]) -> None:
    """Paper, Sec. 3: without the fully connected layers 134 M parameters become 14.7 M."""
    with torch.device("meta"):
        network = build("fcn")
    convolutions = {
        part: sum(
            parameter.numel()
            for module in network.get_submodule(part).modules()
            if isinstance(module, nn.Conv2d)
            for parameter in module.parameters()
        )
        for part in ("encoder", "fc6", "fc7")
    }
    assert convolutions["encoder"] == 14_714_688
    assert sum(convolutions.values()) == 134_260_544
