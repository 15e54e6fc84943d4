"""The loss of a batch, also where several processes share it, and the labels it is taken on."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.protocol import ProtocolConfig
from bench.run import distributed


def training_loss(
    logits: Tensor, labels: Tensor, weights: Tensor | None, void: int, protocol: ProtocolConfig
) -> Tensor:
    """Returns what training minimises: the cross-entropy and, by its weight, the Dice loss."""
    loss = batch_loss(logits, labels, weights, void, protocol.loss_normaliser)
    if protocol.dice_weight > 0:
        loss = loss + protocol.dice_weight * dice_loss(logits, labels, void)
    return loss


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


def dice_loss(logits: Tensor, labels: Tensor, void: int) -> Tensor:
    """Returns 1 minus the soft Dice coefficient, mean over the classes that a batch contains.

    A class's coefficient is 2 sum(p t) / (sum(p) + sum(t)), over the labelled pixels of the whole
    batch (Milletari et al., "V-Net", 3DV 2016, section 3, without its squares). Where several
    processes share the batch the sums are over all of them, and each has its part of the loss.

    Args:
        logits: (N, K, h, w).
        labels: uint8 (N, h, w).
        void: the ignored label.
    """
    probs = logits.float().softmax(dim=1)
    classes = torch.arange(probs.shape[1], device=probs.device).view(-1, 1, 1)
    labels = labels[:, None]
    truth = labels == classes  # masks: gathering by indices would scatter gradients
    both, predicted = (
        _total_with_own_gradient((probs * mask).sum((0, 2, 3))) for mask in (truth, labels != void)
    )
    true = distributed.total(truth.sum((0, 2, 3)))
    present = true > 0
    dice = 2 * both / (predicted + true).clamp(min=torch.finfo(probs.dtype).tiny)
    loss = ((1 - dice) * present).sum() / present.sum().clamp(min=1)
    # A part of a sum over the processes in its value; its gradient is of this process's pixels.
    return loss - loss.detach() * (1 - 1 / distributed.size())


def _total_with_own_gradient(value: Tensor) -> Tensor:
    """Sums over the processes; gradients reach what this process added."""
    return value + (distributed.total(value.detach().clone()) - value.detach())


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
    _, label_height, label_width = labels.shape
    if (label_height, label_width) == (height, width):
        return labels
    stride = getattr(network, "logit_stride", None)
    if stride is None:
        rows = torch.arange(height, device=labels.device) + 0.5
        columns = torch.arange(width, device=labels.device) + 0.5
        rows, columns = rows * label_height / height, columns * label_width / width
        return labels[:, rows.long()][:, :, columns.long()]
    picked = labels[:, ::stride, ::stride]
    _, picked_height, picked_width = picked.shape
    if (picked_height, picked_width) != (height, width):
        raise ValueError(
            f"logit_stride is {stride}, which makes {picked_height}x{picked_width} logits of "
            f"{label_height}x{label_width} pixels, but the network gave {height}x{width}; "
            "correct the attribute, or leave it out"
        )
    return picked
