"""Dense CRF: class probabilities sharpened along the colour edges of their image.

Sources: Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
Potentials", NIPS 2011 (eq. 3 the two kernels, algorithm 1 the mean field); Chen et al., "Semantic
Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", ICLR 2015 (DeepLab) for
the parameters. The SegNet paper lists the outcome as DeepLab-LargeFOV-denseCRF (Tables 3 and 4).

A search over parameters goes through `mean_field`, which takes the filters ready-made: the cached
`smoothness_lattice` serves every image of a size, and an `appearance_lattice` every w1.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bench.crf.lattice import Lattice, Normalisation, appearance_lattice, smoothness_lattice

# A stored probability of 0 must not forbid a class: float16 rounds to 0 below half of this, its
# smallest number, so probabilities read from float16 and float32 files are refined alike.
SMALLEST_PROBABILITY = 2.0**-24

# Rounding to float16 moves a sum by at most 2^-11, to bfloat16 by 2^-8.
SUM_TOLERANCE = 2.0**-7


@torch.no_grad()
def dense_crf(
    probs: Tensor,
    image: Tensor,
    *,
    w1: float,
    sigma_alpha: float,
    sigma_beta: float,
    w2: float,
    sigma_gamma: float,
    iterations: int = 10,
    normalisation: Normalisation = "after",
) -> Tensor:
    """Refines the class probabilities of one image.

    Pixels i and j attract each other to the same class (Potts) with the strength, for positions p
    in pixels and colours I in 0..255,

        w1 exp(-|p_i - p_j|^2 / 2 sigma_alpha^2 - |I_i - I_j|^2 / 2 sigma_beta^2)
        + w2 exp(-|p_i - p_j|^2 / 2 sigma_gamma^2).

    Args:
        probs: (C, H, W), any floating type; sums to 1 over C.
        image: (H, W, 3) uint8 RGB, not normalised, on the device of `probs`.
        w1: weight of the appearance kernel.
        sigma_alpha: its range in pixels.
        sigma_beta: its range in colour.
        w2: weight of the smoothness kernel.
        sigma_gamma: its range in pixels.
        iterations: mean-field updates; 0 returns `probs`.
        normalisation: of both kernels, see `Lattice.normalised`.

    Returns:
        (C, H, W) float32 probabilities, on the device of `probs`. The lattice treats x and y
        differently, so the result for transposed input is close but not equal.

    Raises:
        ValueError: naming the argument, if the input is not as above, a parameter is out of range,
            or a range is so small that the lattice cannot be indexed.
    """
    check_input(probs, image)
    _, height, width = probs.shape
    smoothness = smoothness_lattice(height, width, sigma_gamma, normalisation, probs.device)
    appearance = appearance_lattice(image, sigma_alpha, sigma_beta, normalisation)
    return mean_field(probs, [(w2, smoothness), (w1, appearance)], iterations)


@torch.no_grad()
def mean_field(
    probs: Tensor, filters: Sequence[tuple[float, Lattice]], iterations: int = 10
) -> Tensor:
    """Infers the marginals of the CRF whose kernels are `filters`, pairs of weight and filter.

    Args:
        probs: (C, H, W) class probabilities; the unary potentials are -log probs.
        filters: normalised lattices over the H * W pixels, in row-major order.
        iterations: updates Q <- softmax(log probs + sum of weight * filter(Q)).

    Returns:
        (C, H, W) float32.

    Raises:
        ValueError: if a weight or `iterations` is negative, or a weight not finite.
    """
    weights = [weight for weight, _ in filters]
    if iterations < 0 or not all(0 <= weight < math.inf for weight in weights):
        raise ValueError(
            f"the weights of the kernels {weights} and iterations={iterations} must be finite and "
            "0 or more"
        )
    log_probs = probs.flatten(1).T.float().clamp_min(SMALLEST_PROBABILITY).log().contiguous()
    marginals = _softmax(log_probs)  # (H * W, C): a pixel's row is what the lattice moves
    for _ in range(iterations):
        scores = log_probs.clone()
        for weight, lattice in filters:
            scores.add_(lattice.filter(marginals), alpha=weight)
        marginals = _softmax(scores)
    return marginals.T.reshape(probs.shape)


def _softmax(scores: Tensor) -> Tensor:
    """Softmax of every row: for rows as short as these, 7 times as fast on the CPU as torch's."""
    powers = (scores - scores.amax(dim=1, keepdim=True)).exp_()
    return powers.div_(powers.sum(dim=1, keepdim=True))


def check_input(probs: Tensor, image: Tensor) -> None:
    """Raises ValueError, saying which and why, unless `dense_crf` can use these two."""
    if probs.ndim != 3 or not probs.is_floating_point():
        raise ValueError(
            f"probs must be float (C, H, W), not {probs.dtype} of shape {tuple(probs.shape)}"
        )
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"image must be uint8 (H, W, 3), RGB in 0..255 and not normalised, not {image.dtype} "
            f"of shape {tuple(image.shape)}"
        )
    _, height, width = probs.shape
    image_height, image_width, _ = image.shape
    if (height, width) != (image_height, image_width):
        raise ValueError(
            f"probs are {height}x{width} but the image is {image_height}x{image_width}: "
            "resample the probabilities to the size of the image first"
        )
    if not probs.isfinite().all():
        raise ValueError("probs contain NaN or infinity")
    total = probs.sum(dim=0, dtype=torch.float32)
    worst = (total - 1).abs().max().item()
    if probs.min() < 0 or worst > SUM_TOLERANCE:
        raise ValueError(
            f"probs must be at least 0 and sum to 1 over the classes, but the smallest is "
            f"{probs.min():.4g} and a sum is off by {worst:.4g}: apply softmax to logits first"
        )
