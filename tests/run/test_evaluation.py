"""Evaluation: evidence that an independent library agrees with, at the size of the truth."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bench.config import Config
from bench.data.splits import load_splits
from bench.metrics.boundaries import boundary_counts
from bench.metrics.calibration import UNIT
from bench.metrics.contours import boundary_region_counts, surface_counts
from bench.run.evaluation import confidence, evaluate
from bench.run.monitor import Monitor
from bench.run.network import build_network, check_logits

CPU = torch.device("cpu")


@pytest.fixture
def evaluated(tiny_config: Callable[..., Config], tmp_path: Path) -> Any:
    config = tiny_config()
    split = load_splits(config, ["test"])["test"]
    network = build_network(config).eval()
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    monitor = Monitor(tmp_path)
    evidence = evaluate(network, split, config, device=CPU, monitor=monitor, pictures=pictures)
    return split, evidence, pictures


def test_the_confusion_matrix_is_scikit_learns_at_the_size_of_the_truth(evaluated: Any) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    split, evidence, pictures = evaluated
    assert evidence["names"].tolist() == split.names
    for index, name in enumerate(split.names):
        prediction = np.asarray(Image.open(pictures / f"{name}.png"))
        assert prediction.shape == split.truths[index].shape == (40, 56)
        expected = sklearn.confusion_matrix(
            split.truths[index].ravel(), prediction.ravel(), labels=range(12)
        )
        assert (evidence["confusion"][index] == expected).all()


def test_boundary_counts_belong_to_their_image(evaluated: Any) -> None:
    split, evidence, pictures = evaluated
    for index, name in enumerate(split.names):
        prediction = np.asarray(Image.open(pictures / f"{name}.png"))
        expected = boundary_counts(prediction, split.truths[index], num_classes=11)
        assert (evidence["boundaries"][index] == expected).all()


def test_contours_and_confidences_belong_to_their_image(evaluated: Any) -> None:
    split, evidence, pictures = evaluated
    for index, name in enumerate(split.names):
        pair = np.asarray(Image.open(pictures / f"{name}.png")), split.truths[index]
        expected = boundary_region_counts(*pair, num_classes=11)
        assert (evidence["boundary_regions"][index] == expected).all()
        assert (evidence["surfaces"][index] == surface_counts(*pair, num_classes=11)).all()
        pixels, right, confidence = evidence["calibration"][index].T
        confusion = evidence["confusion"][index]
        assert pixels.sum() == confusion[:11].sum()
        assert right.sum() == np.trace(confusion[:11])
        assert pixels.sum() / 11 < confidence.sum() / UNIT < pixels.sum()


def test_the_confidence_is_the_probability_of_the_class_shown() -> None:
    logits = torch.tensor([[[0.0, 2.0]], [[np.log(3.0), -1.0]]])
    found = confidence(logits)
    assert found.tolist() == [[pytest.approx(0.75), pytest.approx(1 / (1 + np.exp(-3)))]]


class Oracle(nn.Module):
    """Knows the answer: gives logits at input size from the red channel of the image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([-(images[:, 0] - k).abs() for k in range(11)], dim=1)


def test_a_perfect_network_scores_one(tiny_config: Callable[..., Config], tmp_path: Path) -> None:
    config = tiny_config("protocol.normalisation=none", "protocol.image_size=[40,56]")
    split = load_splits(config, ["test"])["test"].moved(CPU)
    assert split.on_device is not None
    for index, truth in enumerate(split.truths):
        split.on_device[0][index] = torch.from_numpy(np.where(truth == 11, 0, truth))
    evidence = evaluate(Oracle(), split, config, device=CPU, monitor=Monitor(tmp_path))
    matrix = evidence["confusion"].sum(axis=0)
    assert matrix[:11].sum() == np.trace(matrix[:11])


SEGNET = "architectures.segnet.SegNet"


class Wrong(nn.Module):
    """Breaks the contract in the way it is told."""

    def __init__(self, num_classes: int, how: str) -> None:
        super().__init__()
        if how == "error":
            raise TypeError("no such way")
        self.num_classes, self.how = num_classes, how

    def forward(self, images: torch.Tensor) -> Any:
        if self.how == "dict":
            return {"out": images}
        return images.new_zeros(len(images), self.num_classes + 1, *images.shape[2:])


@pytest.mark.parametrize(
    ("how", "message"), [("dict", "a dictionary of out"), ("classes", "12, 32, 48")]
)
def test_a_network_that_breaks_the_contract_is_refused(
    tiny_config: Callable[..., Config], how: str, message: str
) -> None:
    config = tiny_config()
    config.arch = {"name": "wrong", "_target_": f"{__name__}.Wrong", "how": how}
    with pytest.raises(ValueError, match=message):
        check_logits(build_network(config), config, CPU)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ({"_target_": "architectures.segnet.SegNat"}, "SegNat"),
        ({"_target_": SEGNET, "widht": 3}, "widht"),
        ({"_target_": SEGNET, "width": "abc"}, r"arch\.width=abc: must be a w"),
        ({"_target_": SEGNET, "width": True}, r"width=True: must be a whole"),
        ({"_target_": SEGNET, "width": 0}, "width=0: must be at least 1"),
        ({"_target_": SEGNET, "dropout": "x"}, "dropout=x: must be a number"),
        ({"_target_": f"{__name__}.Wrong", "how": "error"}, "cannot be called with how=error: no"),
        ({"_target_": "collections.OrderedDict"}, r"gives a OrderedDict"),
        ({"_target_": SEGNET, "weights": "/none.pt"}, "none.pt"),
    ],
)
def test_a_network_that_cannot_be_built_is_one_sentence(
    tiny_config: Callable[..., Config], arch: dict[str, Any], message: str
) -> None:
    config = tiny_config()
    config.arch = {"name": "wrong", **arch}
    with pytest.raises(ValueError, match=message):
        build_network(config)


def test_initial_weights_follow_from_the_seed_alone(
    tiny_config: Callable[..., Config],
) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.rand(seed + 1)  # whatever was drawn before
        network = build_network(tiny_config(f"seed={seed}"))
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))
