"""Boundary IoU, normalised surface distance, calibration: by hand, by law, by other libraries."""

from collections.abc import Callable
from math import hypot

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt
from torchmetrics.functional.classification import multiclass_calibration_error

from bench.metrics.boundaries import TOLERANCE
from bench.metrics.calibration import (
    BINS,
    UNIT,
    calibration_counts,
    expected_calibration_error,
    reliability,
)
from bench.metrics.contours import (
    boundary_region_counts,
    class_boundary_iou,
    class_surface_distance,
    surface_counts,
)
from bench.metrics.scores import Evidence, all_scores, other_scores

K, VOID = 5, 255
Maps = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def scene(seed: int, *, void: bool = False, size: tuple[int, int] = (96, 130)) -> Maps:
    """Rectangles, some cut by the border, and a prediction: shifted, with noise."""
    rng = np.random.default_rng(seed)
    label = np.zeros(size, np.uint8)
    for _ in range(9):
        (top, left), (height, width) = rng.integers(-8, 90, 2), rng.integers(3, 60, 2)
        label[max(top, 0) : top + height, max(left, 0) : left + width] = rng.integers(1, K)
    prediction = np.roll(label, tuple(rng.integers(-3, 4, 2)), (0, 1))
    spots = rng.random(size) < 0.01
    prediction[spots] = rng.integers(0, K, spots.sum())
    if void:
        label[20:40, 50:90] = VOID
    return prediction, label


def by_erosion(prediction: NDArray[np.uint8], label: NDArray[np.uint8]) -> list[list[int]]:
    """Boundary regions as published: a mask less its erosion by d steps of a 3x3 square."""
    steps = max(1, round(0.02 * hypot(*label.shape)))
    rows = []
    for index in range(K):
        masks = [pixels == index for pixels in (prediction, label)]
        one, other = (
            mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=steps) for mask in masks
        )
        one = one & (label != VOID)
        rows.append([int((one & other).sum()), int(one.sum()), int(other.sum())])
    return rows


@pytest.mark.parametrize("void", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_boundary_regions_are_masks_less_their_erosion(seed: int, void: bool) -> None:
    maps = scene(seed, void=void)
    assert boundary_region_counts(*maps, num_classes=K).tolist() == by_erosion(*maps)


def test_boundary_iou_by_hand() -> None:
    """At 50x50 the distance is one pixel: rings of 36 pixels of 10x10 squares, shifted by one row.

    Two rings that are shifted by a row share their sides (2 columns of 9 rows) and, where the top
    row of one lies beside the side pixels of the other, nothing more: 18 of 36 + 36 - 18.
    """
    label = np.zeros((50, 50), np.uint8)
    label[20:30, 20:30] = 1
    prediction = np.roll(label, 1, axis=0)
    counts = boundary_region_counts(prediction, label, num_classes=2)
    assert counts[1].tolist() == [18, 36, 36]
    assert class_boundary_iou(counts)[1] == pytest.approx(18 / 54)


def by_distance_transforms(prediction: NDArray[np.uint8], label: NDArray[np.uint8]) -> list[float]:
    """NSD with distance transforms of each class's edges: masks less their erosion by a cross."""
    radius, found = TOLERANCE * hypot(*label.shape), []
    for index in range(K):
        masks = [pixels == index for pixels in (prediction, label)]
        edges = [mask & ~binary_erosion(mask) for mask in masks]
        far = [distance_transform_edt(~e) if e.any() else np.full(e.shape, np.inf) for e in edges]
        near = (edges[0] & (far[1] <= radius)).sum() + (edges[1] & (far[0] <= radius)).sum()
        total = edges[0].sum() + edges[1].sum()
        found.append(near / total if total else np.nan)
    return found


@pytest.mark.parametrize("size", [(96, 130), (360, 480)])
@pytest.mark.parametrize("seed", range(3))
def test_surface_distances_are_those_of_distance_transforms(
    seed: int, size: tuple[int, int]
) -> None:
    maps = scene(seed, size=size)
    found = class_surface_distance(surface_counts(*maps, num_classes=K))
    np.testing.assert_allclose(found, by_distance_transforms(*maps))


@pytest.mark.filterwarnings("ignore")  # of what it says of its own parts
@pytest.mark.slow  # the library takes over ten seconds to import
def test_surface_distances_are_monais() -> None:
    metrics = pytest.importorskip("monai.metrics")
    prediction, label = scene(5)
    one, other = (
        torch.stack([torch.from_numpy(m == index) for index in range(K)])[None]
        for m in (prediction, label)
    )
    radius = TOLERANCE * hypot(*label.shape)
    theirs = metrics.compute_surface_dice(one, other, [radius] * K, include_background=True)
    ours = class_surface_distance(surface_counts(prediction, label, num_classes=K))
    np.testing.assert_allclose(ours, theirs[0].numpy(), rtol=1e-6)


@pytest.mark.parametrize("count", [boundary_region_counts, surface_counts])
def test_equal_maps_score_one_and_absent_classes_nothing(
    count: Callable[..., NDArray[np.int32]],
) -> None:
    _, label = scene(1)
    present = np.isin(np.arange(K), label)
    assert 1 < present.sum() < K
    score = class_boundary_iou if count is boundary_region_counts else class_surface_distance
    found = score(count(label, label, num_classes=K))
    assert found[present] == pytest.approx(1)
    assert np.isnan(found[~present]).all()


def test_calibration_is_torchmetrics() -> None:
    prediction, label = scene(2, void=True)
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 2, (K, *label.shape)).astype(np.float32))
    prediction = logits.argmax(0).numpy().astype(np.uint8)
    confidence = logits.softmax(0).amax(0).numpy()
    counts = calibration_counts(confidence, prediction, label, num_classes=K)
    assert counts[:, 0].sum() == (label != VOID).sum()
    theirs = multiclass_calibration_error(
        logits.softmax(0)[None], torch.from_numpy(label)[None].long(), K, BINS, ignore_index=VOID
    )
    assert expected_calibration_error(counts) == pytest.approx(theirs.item(), abs=1e-6)


def test_calibration_by_hand() -> None:
    """Ten pixels at 0.8, of which 6 are right, and ten at 1.0, all right: ECE (0.2 + 0) / 2."""
    confidence = np.array([[0.8] * 10 + [1.0] * 10])
    label = np.zeros((1, 20), np.uint8)
    prediction = label.copy()
    prediction[0, :4] = 1
    counts = calibration_counts(confidence, prediction, label, num_classes=2)
    assert counts[11].tolist() == [10, 6, 8 * UNIT]  # 0.8 is the upper end of (11/15, 12/15]
    assert counts[14].tolist() == [10, 10, 10 * UNIT]
    assert expected_calibration_error(counts) == pytest.approx(0.1)
    sure, right, share = reliability(counts)
    assert (sure[11], right[11], share[11]) == pytest.approx((0.8, 0.6, 0.5))
    assert np.isnan(sure[0])


def evidence(*, old: bool = False, images: int = 3) -> Evidence:
    found: list[list[NDArray[np.integer]]] = [[], [], [], [], []]
    for seed in range(images):
        prediction, label = scene(seed)
        confusion = np.zeros((K + 1, K + 1), np.int64)
        np.add.at(confusion, (label.ravel(), prediction.ravel()), 1)
        sure = np.full(label.shape, 0.9)
        counted = (
            confusion,
            np.ones((K, 5), np.int32),
            boundary_region_counts(prediction, label, num_classes=K),
            surface_counts(prediction, label, num_classes=K),
            calibration_counts(sure, prediction, label, num_classes=K),
        )
        for kept, one in zip(found, counted, strict=True):
            kept.append(one)
    arrays = [np.stack(one) for one in found]
    return Evidence(tuple(map(str, range(images))), *arrays[: 2 if old else 5])


def test_scores_of_a_set_sum_up_its_counts() -> None:
    """Boundary IoU from summed counts, NSD as a mean over images, ECE over all pixels."""
    whole = evidence()
    found = other_scores(whole)
    assert whole.boundary_regions is not None
    assert whole.surfaces is not None
    both, one, other = whole.boundary_regions.sum(axis=0).T
    assert found["boundary IoU"] == pytest.approx((both / (one + other - both)).mean())
    of_images = [np.nanmean(class_surface_distance(counts)) for counts in whole.surfaces]
    assert found["NSD"] == pytest.approx(np.mean(of_images))
    right = np.trace(whole.confusion.sum(axis=0)) / whole.confusion.sum()
    assert found["ECE"] == pytest.approx(abs(right - 0.9), abs=1e-5)
    one_image = other_scores(whole.select([1]))
    assert one_image["NSD"] == pytest.approx(of_images[1])


def test_older_evidence_says_nothing_of_them() -> None:
    found = all_scores(evidence(old=True))
    assert [found["other"][name] for name in ("boundary IoU", "NSD", "ECE")] == [None] * 3
    assert found["per_class"]["NSD"] == found["per_class"]["boundary IoU"] == [None] * K
    assert found["other"]["Dice"] == pytest.approx(all_scores(evidence())["other"]["Dice"])


def test_label_maps_without_probabilities_have_no_calibration() -> None:
    whole = evidence()
    bare = Evidence(
        whole.names, whole.confusion, whole.boundaries, whole.boundary_regions, whole.surfaces,
        np.zeros((3, BINS, 3), np.int64),
    )  # fmt: skip
    assert np.isnan(other_scores(bare)["ECE"])
