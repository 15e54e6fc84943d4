"""Loss, optimiser and class weights, by hand-checkable values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from bench.config import Config
from bench.data.class_weights import class_weights
from bench.data.schema import DatasetConfig
from bench.data.splits import load_splits
from bench.protocol import BatchNormConfig, ProtocolConfig
from bench.run.loss import batch_loss, shrink_labels
from bench.run.monitor import Monitor
from bench.run.optimiser import make_optimiser
from bench.run.preparation import prepare_training
from bench.run.training import step

Compose = Callable[..., Config]
Prepare = Callable[..., tuple[Path, Monitor]]

VOID = 11


def nll(logits: torch.Tensor, label: int) -> float:
    return float(-logits.log_softmax(dim=0)[label])


def test_the_loss_divides_by_labelled_pixels_and_not_by_the_sum_of_weights() -> None:
    """Caffe's normaliser: (w0 * a + w1 * b) / 2, not / (w0 + w1)."""
    logits = torch.tensor([[2.0, 0.5, 9.0], [0.0, 1.0, -9.0]]).reshape(1, 2, 1, 3)
    labels = torch.tensor([[[0, 1, VOID]]], dtype=torch.uint8)
    weights = torch.tensor([0.2, 6.0])
    a, b = nll(logits[0, :, 0, 0], 0), nll(logits[0, :, 0, 1], 1)
    loss = batch_loss(logits, labels, weights, VOID, "labelled_pixels")
    assert float(loss) == pytest.approx((0.2 * a + 6 * b) / 2)
    loss = batch_loss(logits, labels, weights, VOID, "weight_sum")
    assert float(loss) == pytest.approx((0.2 * a + 6 * b) / 6.2)
    loss = batch_loss(logits, labels, None, VOID, "labelled_pixels")
    assert float(loss) == pytest.approx((a + b) / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_are_those_of_cross_entropy_to_the_last_bit(
    dtype: torch.dtype, weighted: bool, layout: torch.memory_format
) -> None:
    values = (4 * torch.randn(3, VOID, 19, 23)).to(dtype).contiguous(memory_format=layout)
    labels = torch.randint(VOID + 1, (3, 19, 23), dtype=torch.uint8)
    weights = torch.rand(VOID) + 0.1 if weighted else None
    ours, torchs = (values.clone().requires_grad_() for _ in range(2))
    loss = batch_loss(ours, labels, weights, VOID, "labelled_pixels")
    summed = F.cross_entropy(
        torchs.float(), labels.long(), weights, ignore_index=VOID, reduction="sum"
    )
    expected = summed / (labels != VOID).sum()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    assert ours.grad is not None
    assert torchs.grad is not None
    assert torch.equal(ours.grad, torchs.grad)


def test_void_pixels_give_no_gradient() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    labels = torch.tensor([[[0, VOID], [1, VOID]]], dtype=torch.uint8)
    batch_loss(logits, labels, None, VOID, "labelled_pixels").backward()
    assert logits.grad is not None
    assert logits.grad[0, :, :, 1].abs().max() == 0
    assert logits.grad[0, :, :, 0].abs().min() > 0


def test_a_batch_of_void_has_loss_zero() -> None:
    labels = torch.full((1, 2, 2), VOID, dtype=torch.uint8)
    assert batch_loss(torch.randn(1, 3, 2, 2), labels, None, VOID, "labelled_pixels") == 0


def test_small_logits_are_compared_with_labels_shrunk_by_nearest() -> None:
    """As Pillow picks pixels, so that a label shrunk on disk or here is the same."""
    label = np.random.default_rng(0).integers(0, 12, (360, 480), np.uint8)
    expected = np.asarray(Image.fromarray(label).resize((60, 45), Image.Resampling.NEAREST))
    logits = torch.empty(1, 12, 45, 60)
    shrunk = shrink_labels(torch.from_numpy(label)[None], logits, nn.Identity())
    assert (shrunk[0].numpy() == expected).all()


def test_a_network_can_say_that_small_logits_stand_on_every_eighth_pixel() -> None:
    labels = (torch.arange(20 * 30) % 251).to(torch.uint8).view(1, 20, 30)
    network = nn.Identity()
    network.logit_stride = 8
    shrunk = shrink_labels(labels, torch.empty(1, 2, 3, 4), network)
    assert shrunk[0].tolist() == [[(30 * y + x) % 251 for x in (0, 8, 16, 24)] for y in (0, 8, 16)]
    assert shrink_labels(labels, torch.empty(1, 2, 20, 30), network) is labels
    with pytest.raises(ValueError, match="logit_stride is 8, which makes 3x4 logits of 20x30"):
        shrink_labels(labels, torch.empty(1, 2, 2, 4), network)


def test_a_step_takes_the_labels_on_which_the_network_says_its_logits_stand(
    tiny_config: Compose, prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DeepLab of a 32x48 image has 4x6 logits: of the pixels 0, 8, 16, ..."""
    config = tiny_config("arch=deeplab_largefov", "arch.width=1", "arch.fc_width=4")
    folder, monitor = prepared(config)
    cpu = torch.device("cpu")
    splits = load_splits(config, ["train"], cpu)
    training = prepare_training(config, folder, splits, cpu, monitor)
    training.model.train()
    seen: list[torch.Tensor] = []

    def recorded(logits: torch.Tensor, labels: torch.Tensor, *others: Any) -> torch.Tensor:
        seen.append(labels)
        return batch_loss(logits, labels, *others)

    monkeypatch.setattr("bench.run.loss.batch_loss", recorded)
    labels = torch.randint(11, (4, 32, 48), dtype=torch.uint8)
    step(training, torch.randn(4, 3, 32, 48), labels, 0)
    assert torch.equal(seen[0], labels[:, ::8, ::8])


def test_biases_learn_twice_as_fast_and_do_not_decay() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    protocol = ProtocolConfig(
        lr=0.1,
        momentum=0.9,
        weight_decay=5e-4,
        bias_lr_factor=2.0,
        bias_decay_factor=0.0,
    )
    settings = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in make_optimiser(network, protocol).param_groups
        for parameter in group["params"]
    }
    rules = {name: settings[id(p)] for name, p in network.named_parameters()}
    assert rules["0.weight"] == rules["2.weight"] == rules["1.weight"] == (0.1, 5e-4)
    assert rules["0.bias"] == rules["2.bias"] == (0.2, 0)
    assert rules["1.bias"] == (0.1, 0)


@pytest.mark.parametrize(("factor", "decay"), [(1.0, 5e-4), (0.5, 2.5e-4), (0.0, 0), (None, 1e-4)])
def test_shifts_of_batch_norm_can_decay_by_a_factor_of_their_own(
    factor: float | None, decay: float
) -> None:
    """Without one they decay as biases do."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    protocol = ProtocolConfig(
        lr=0.1,
        momentum=0.9,
        weight_decay=5e-4,
        bias_lr_factor=2.0,
        bias_decay_factor=0.2,
        batch_norm=BatchNormConfig(shift_decay_factor=factor),
    )
    decays = {
        id(parameter): group["weight_decay"]
        for group in make_optimiser(network, protocol).param_groups
        for parameter in group["params"]
    }
    found = {name: decays[id(p)] for name, p in network.named_parameters()}
    wanted = {"0.weight": 5e-4, "0.bias": 1e-4, "1.weight": 5e-4, "1.bias": decay}
    assert found == pytest.approx(wanted)


def test_a_layer_used_twice_is_updated_once() -> None:
    shared = nn.Conv2d(3, 3, 1)
    network = nn.Sequential(shared, shared)
    network.extra = nn.Conv2d(3, 3, 1)
    network.extra.weight = shared.weight
    protocol = ProtocolConfig(
        lr=1.0,
        momentum=0,
        weight_decay=0,
        bias_lr_factor=1,
        bias_decay_factor=1,
    )
    groups = make_optimiser(network, protocol).param_groups
    assert sum(len(group["params"]) for group in groups) == 3


DATASET = DatasetConfig(
    classes=["a", "b", "c"], published_class_weights={"printed": [1.0, 2.0, 3.0]}
)
# Image 0: 4 of a, 4 of b; image 1: 6 of a, 2 void; c has no pixel.
PIXELS = np.array([[4, 4, 0, 0], [6, 0, 0, 2]])
WITH_C = np.array([[4, 4, 0, 0], [5, 0, 1, 2]])  # a: 4 + 5 of 16, b: 4 of 8, c: 1 of 8


def test_median_frequency_counts_only_images_with_the_class_and_void_in_the_denominator() -> None:
    frequency = np.array([9 / 16, 4 / 8, 1 / 8])
    weights = class_weights("median_frequency", WITH_C, DATASET)
    np.testing.assert_allclose(weights, 0.5 / frequency)


def test_plain_frequency_is_the_share_of_labelled_pixels() -> None:
    frequency = np.array([9, 4, 1]) / 14
    weights = class_weights("plain_frequency", WITH_C, DATASET)
    np.testing.assert_allclose(weights, (4 / 14) / frequency)


def test_given_and_printed_weights_are_taken_as_they_are() -> None:
    for choice in ("printed", [1, 2, 3]):
        weights = class_weights(choice, PIXELS, DATASET)
        assert weights.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("median_frequency", "class 'c' has no pixel in the training labels"),
        ("median", "must be one of none, median_frequency, plain_frequency, printed"),
        ([1, 2], "must hold 3 numbers"),
        ([1, 2, float("nan")], "must hold 3 numbers"),
    ],
)
def test_weights_that_cannot_be_are_refused(choice: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_weights(choice, PIXELS, DATASET)
