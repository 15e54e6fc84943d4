"""The soft Dice loss: by hand, its void, its gradient, its parts in several processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.data.splits import load_splits
from bench.run import distributed
from bench.run.loss import dice_loss
from bench.run.preparation import prepare_training
from bench.run.training import step

VOID = 255


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_it_is_added_by_its_weight_and_not_computed_without(
    tiny_config: Callable[..., Any],
    prepared: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    weight: float,
) -> None:
    config, seen = tiny_config(f"protocol.dice_weight={weight}"), []
    folder, monitor = prepared(config)
    cpu = torch.device("cpu")
    splits = load_splits(config, ["train"])
    training = prepare_training(config, Path(folder), splits, cpu, monitor)

    def dice(logits: Tensor, *others: Any) -> Tensor:
        seen.append(others)
        return 2 + 0 * logits.sum()

    monkeypatch.setattr("bench.run.loss.dice_loss", dice)
    monkeypatch.setattr("bench.run.loss.batch_loss", lambda logits, *_: 1 + 0 * logits.sum())
    labels = torch.randint(3, (4, 32, 48), dtype=torch.uint8)
    loss = step(training, torch.randn(4, 3, 32, 48), labels, 0)
    assert loss.item() == pytest.approx(1 + 2 * weight)
    assert len(seen) == (weight > 0)


def test_by_hand() -> None:
    """Two labelled pixels of classes 0 and 1, class 2 absent."""
    probs = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [1.0, 0.0, 0.0]])
    labels = torch.tensor([[[0, 1, VOID]]], dtype=torch.uint8)
    logits = probs.clamp(min=1e-30).log().T.reshape(1, 3, 1, 3)
    first, second = 2 * 0.5 / (0.625 + 1), 2 * 0.75 / (1.0 + 1)
    expected = 1 - (first + second) / 2
    assert dice_loss(logits, labels, VOID).item() == pytest.approx(expected)


def test_right_predictions_have_loss_0_and_a_batch_of_void_too() -> None:
    labels = torch.randint(3, (2, 4, 5), dtype=torch.uint8)
    logits = 100.0 * torch.nn.functional.one_hot(labels.long(), 3).permute(0, 3, 1, 2)
    assert dice_loss(logits, labels, VOID).item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(torch.randn(2, 3, 4, 5), torch.full_like(labels, VOID), VOID) == 0


def test_void_pixels_give_no_gradient() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    labels = torch.tensor([[[0, VOID], [1, VOID]]], dtype=torch.uint8)
    dice_loss(logits, labels, VOID).backward()
    assert logits.grad is not None
    assert logits.grad[..., 1].abs().max() == 0
    assert logits.grad[..., 0].abs().min() > 0


def test_parts_of_two_processes_sum_to_the_whole_and_so_do_their_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each process hears the sums of both, which are taken down beforehand."""
    logits = torch.randn(4, 3, 6, 7, requires_grad=True)
    labels = torch.randint(3, (4, 6, 7), dtype=torch.uint8)
    labels[0, 0] = VOID
    whole = dice_loss(logits, labels, VOID)
    (expected,) = torch.autograd.grad(whole, logits)

    shares = [slice(0, 1), slice(1, 4)]
    heard: list[list[Tensor]] = []
    for share in shares:
        heard.append([])
        monkeypatch.setattr(distributed, "total", lambda value: heard[-1].append(value) or value)
        dice_loss(logits[share], labels[share], VOID)
    sums = [one + other for one, other in zip(*heard, strict=True)]

    monkeypatch.setattr(distributed, "size", lambda: 2)
    parts = []
    for share in shares:
        answers = iter(sums)
        monkeypatch.setattr(distributed, "total", lambda _, answers=answers: next(answers))
        parts.append(dice_loss(logits[share], labels[share], VOID))
    torch.testing.assert_close(sum(parts), whole)
    torch.testing.assert_close(torch.autograd.grad(sum(parts), logits)[0], expected)
