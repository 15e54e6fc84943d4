"""The loss of a batch, also where several processes share it, and the labels it is taken on."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.run import distributed


def batch_loss(
    logits: Tensor, labels: Tensor, weights: Tensor | None, void: int, normaliser: str
) -> Tensor:
    """Returns the cross-entropy of a batch: a sum over labelled pixels, divided once.

    Where several processes share the batch, each has a part of the sum, over the same divisor.

    Args:
        logits: (N, K, h, w).
        labels: uint8 (N, h, w); see `shrink_labels` for logits smaller than the image.
        weights: of the classes, (K,), or None.
        void: the ignored label.
        normaliser: `labelled_pixels` as Caffe divides, or `weight_sum` as torch's `mean` does.
    """
    targets = labels.long()
    # Summed apart: the sum within nll_loss has no deterministic CUDA kernel for maps. With a row
    # for each pixel it has, whose softmax takes a CPU four to ten times as long.
    log_probs = logits.float().log_softmax(dim=1)
    total = F.nll_loss(log_probs, targets, weights, ignore_index=void, reduction="none").sum()
    labelled = targets != void
    if normaliser == "weight_sum" and weights is not None:
        # Void has the weight of class 0, times 0: choosing by a mask would wait for the device.
        weight = distributed.total((weights[targets * labelled] * labelled).sum())
        return total / weight.clamp(min=torch.finfo(total.dtype).tiny)
    return total / distributed.total(labelled.sum()).clamp(min=1)


def shrink_labels(labels: Tensor, logits: Tensor, network: nn.Module) -> Tensor:
    """Picks the labels of the pixels on which smaller logits (N, K, h, w) stand.

    With an attribute `logit_stride` = n a network says that they stand on every n-th pixel, from
    the first. Without it they stand in the middle of equal cells: on the pixels that Pillow picks.

    Args:
        labels: uint8 (N, H, W).
        logits: only their size counts.
        network: that gave them.

    Returns:
        uint8 (N, h, w); the labels themselves where the logits are as large.

    Raises:
        ValueError: the stride gives another size than the logits have.
    """
    height, width = logits.shape[2:]
    if labels.shape[1:] == (height, width):
        return labels
    stride = getattr(network, "logit_stride", None)
    if stride is None:
        rows = torch.arange(height, device=labels.device) + 0.5
        columns = torch.arange(width, device=labels.device) + 0.5
        rows, columns = rows * labels.shape[1] / height, columns * labels.shape[2] / width
        return labels[:, rows.long()][:, :, columns.long()]
    picked = labels[:, ::stride, ::stride]
    if picked.shape[1:] != (height, width):
        raise ValueError(
            f"logit_stride is {stride}, which makes {picked.shape[1]}x{picked.shape[2]} logits of "
            f"{labels.shape[1]}x{labels.shape[2]} pixels, but the network gave {height}x{width}; "
            "correct the attribute, or leave it out"
        )
    return picked
