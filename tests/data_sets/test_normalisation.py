"""Input normalisation, against its formula written another way."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from bench.data.normalisation import local_contrast_normalisation, normalise

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 20, 30), np.uint8))


def test_imagenet_normalisation_is_torchvisions() -> None:
    from torchvision.transforms.functional import normalize

    expected = normalize(IMAGES.float() / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(normalise(IMAGES, "imagenet"), expected)


def test_symmetric_values_go_from_minus_1_to_1() -> None:
    """As timm's mean and deviation of 0.5."""
    from torchvision.transforms.functional import normalize

    expected = normalize(IMAGES.float() / 255, [0.5] * 3, [0.5] * 3)
    torch.testing.assert_close(normalise(IMAGES, "symmetric"), expected)


def test_none_leaves_the_values() -> None:
    assert (normalise(IMAGES, "none") == IMAGES).all()


def test_lcn_is_joint_over_channels_and_window_as_the_two_dimensional_formula() -> None:
    offsets = np.arange(-4, 5)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 2.25**2))
    window /= window.sum()

    def mean(values: np.ndarray) -> np.ndarray:  # (3, H, W) -> (H, W)
        return correlate(values.mean(axis=0), window, mode="mirror")

    x = IMAGES[0].double().numpy()
    centred = x - mean(x)
    sigma = np.sqrt(mean(centred**2))
    expected = centred / np.maximum(sigma, sigma.mean())
    actual = local_contrast_normalisation(IMAGES.double())[0]
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("scale", "shift"), [(0.5, 0.0), (2.0, 30.0), (1.0, -7.0)])
def test_lcn_does_not_see_brightness_or_contrast(scale: float, shift: float) -> None:
    x = IMAGES.double()
    expected = local_contrast_normalisation(x)
    actual = local_contrast_normalisation(scale * x + shift)
    torch.testing.assert_close(actual, expected, atol=1e-9, rtol=0)


def test_lcn_of_a_flat_image_is_zero() -> None:
    flat = torch.full((1, 3, 20, 30), 200, dtype=torch.uint8)
    assert normalise(flat, "lcn").abs().max() < 0.1


def test_lcn_does_not_look_across_images() -> None:
    alone = normalise(IMAGES[:1], "lcn")
    torch.testing.assert_close(normalise(IMAGES, "lcn")[:1], alone)


def test_lrn_is_caffes_formula_across_channels() -> None:
    # A window of 5 channels holds all three of them.
    x = IMAGES.double()
    expected = x / (1 + 1e-4 / 5 * x.square().sum(dim=1, keepdim=True)) ** 0.75
    torch.testing.assert_close(normalise(IMAGES, "lrn").double(), expected, rtol=1e-5, atol=1e-4)
