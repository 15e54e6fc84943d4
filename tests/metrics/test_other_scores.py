"""What peers report, from the same counts: by hand, and by torchmetrics and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, precision_score

from bench.metrics.calibration import BINS, UNIT
from bench.metrics.regions import (
    PEERS,
    class_dice,
    class_precision,
    confusion_matrix,
    frequency_weighted_iou,
    global_accuracy,
    mean_class_accuracy,
    mean_iou,
    micro_iou,
)
from bench.metrics.scores import OTHERS, Evidence, other_scores

K, VOID = 4, 9


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    """Class 2 is only predicted, class 3 is absent from both; a tenth is void."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, (20, 30))
    prediction = np.where(rng.random(label.shape) < 0.7, label, rng.integers(0, 3, label.shape))
    label[:2] = VOID
    return prediction, label


def matrix(prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
    return confusion_matrix(prediction, label, num_classes=K, void=VOID)


def by_mmseg(prediction: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Mmsegmentation's aAcc, mAcc, mIoU and mDice: areas of labelled pixels, divided, nanmean."""
    mask = label != VOID
    p, t = prediction[mask], label[mask]
    areas = [np.bincount(x, minlength=K)[:K] for x in (p[p == t], p, t)]
    both, predicted, true = (area.astype(float) for area in areas)
    with np.errstate(invalid="ignore"):
        return {
            "G": both.sum() / true.sum(),
            "C": np.nanmean(both / true),
            "mIoU": np.nanmean(both / (predicted + true - both)),
            "Dice": np.nanmean(2 * both / (predicted + true)),
        }


def by_hugging_face(prediction: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """`mean_iou` of Hugging Face's evaluate, which is fetched and in no package: histograms."""

    def areas(values: np.ndarray) -> np.ndarray:
        return np.histogram(values, bins=K, range=(0, K - 1))[0]

    keep = np.not_equal(label, VOID)
    prediction, label = prediction[keep], np.array(label)[keep]
    both, one, other = areas(prediction[prediction == label]), areas(prediction), areas(label)
    with np.errstate(invalid="ignore"):
        return {
            "G": both.sum() / other.sum(),
            "C": np.nanmean(both / other),
            "mIoU": np.nanmean(both / (one + other - both)),
        }


def by_cityscapes(prediction: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """The class mean of Cityscapes' own script, with four of its label ids for ours."""
    name = "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling"
    script = pytest.importorskip(name, reason="it asks for a package that no new Python installs")
    ids = [7, 8, 11, 12]  # road, sidewalk, building, wall
    table = np.zeros(VOID + 1, int)
    table[:K] = ids
    confusion = script.generateMatrix(script.args)
    np.add.at(confusion, (table[label], table[prediction]), 1)
    names = [script.id2label[one].name for one in ids]
    of_classes = {
        name: script.getIouScoreForLabel(one, confusion, script.args)
        for name, one in zip(names, ids, strict=True)
    }
    return {"mIoU": script.getScoreAverage(of_classes, script.args)}


PEERS_SCORES = {"mmseg": by_mmseg, "huggingface": by_hugging_face, "cityscapes": by_cityscapes}


@pytest.mark.filterwarnings("ignore")  # of what the scripts themselves import
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", PEERS)
def test_a_peers_name_gives_the_peers_figures(name: str, seed: int) -> None:
    """With classes that are absent, only predicted or only true, and void pixels."""
    rng = np.random.default_rng(seed)
    some, others = rng.choice(K, 3, replace=False), rng.choice(K, 2, replace=False)
    label = rng.choice(some, (30, 40))
    prediction = np.where(rng.random(label.shape) < 0.6, label, rng.choice(others, label.shape))
    label[rng.random(label.shape) < 0.2] = VOID
    prediction[prediction == VOID] = 0
    confusion = matrix(prediction, label)
    ours = {
        "G": global_accuracy(confusion),
        "C": mean_class_accuracy(confusion, name),
        "mIoU": mean_iou(confusion, name),
        "Dice": np.nanmean(class_dice(confusion)),
    }
    theirs = PEERS_SCORES[name](prediction, label)
    assert {key: float(ours[key]) for key in theirs} == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("name", PEERS)
def test_a_peers_name_is_its_pair_of_conventions(name: str, maps: tuple) -> None:
    """C over the truth, mIoU over the union: three classes count for the one, two for the other."""
    confusion, theirs = matrix(*maps), by_mmseg(*maps)
    assert mean_class_accuracy(confusion, name) == pytest.approx(theirs["C"])
    assert mean_iou(confusion, name) == pytest.approx(theirs["mIoU"])
    assert mean_iou(confusion, name) != pytest.approx(mean_iou(confusion, "ground_truth"))


def test_scores_of_classes_agree_with_scikit_learn(maps: tuple) -> None:
    prediction, label = maps
    mask = label != VOID
    true, predicted = label[mask], prediction[mask]
    confusion, labels = matrix(*maps), [0, 1, 2]
    for ours, theirs in ((class_precision, precision_score), (class_dice, f1_score)):
        wanted = theirs(true, predicted, labels=labels, average=None, zero_division=0)
        np.testing.assert_allclose(ours(confusion)[:3], wanted)
        assert np.isnan(ours(confusion)[3])


def test_means_over_the_set_agree_with_torchmetrics(maps: tuple) -> None:
    theirs = pytest.importorskip("torchmetrics.classification").MulticlassJaccardIndex
    p, t = (torch.tensor(x).long() for x in maps)
    confusion = matrix(*maps)
    for ours, average in ((micro_iou, "micro"), (frequency_weighted_iou, "weighted")):
        wanted = theirs(K, average=average, ignore_index=VOID)(p, t).item()
        assert ours(confusion) == pytest.approx(wanted, abs=1e-6)


def test_means_over_images_by_hand() -> None:
    """Eleven images of one class pair: IoU 1 ten times and 1/3 once; the worst tenth are two."""
    confusion = np.zeros((11, 3, 3), np.int64)
    confusion[:, 0, 0] = confusion[:, 1, 1] = 4
    confusion[3, 0] = [2, 2, 0]
    confusion[3, 1] = [2, 2, 0]
    names = tuple(map(str, range(11)))
    found = other_scores(Evidence(names, confusion, np.zeros((11, 2, 5), np.int32)))
    assert found["image mIoU"] == pytest.approx((10 + 1 / 3) / 11)
    assert found["image mIoU, worst tenth"] == pytest.approx((1 + 1 / 3) / 2)
    assert found["image Dice"] == pytest.approx((10 + 0.5) / 11)
    assert found["micro IoU"] == pytest.approx(84 / 92)


def test_resampled_scores_are_those_of_the_images_drawn() -> None:
    """Every score of weighted images is that of a set in which they are repeated."""
    rng = np.random.default_rng(1)
    n = 23
    confusion = rng.integers(0, 50, (n, K + 1, K + 1))
    confusion[4] = 0  # an image of which nothing is labelled
    confusion[5, :, 2] = confusion[5, 2] = 0
    boundaries = np.zeros((n, K, 5), np.int32)
    within = rng.integers(1, 40, (n, K, 1))
    regions = np.concatenate([within, within + 5, within + 9], axis=-1).astype(np.int32)
    surfaces = np.concatenate([within + 9, within + 5, within, within], axis=-1).astype(np.int32)
    pixels = rng.integers(0, 30, (n, BINS))
    calibration = np.stack([pixels, pixels // 2, UNIT * pixels * 2 // 3], axis=-1)
    names = tuple(map(str, range(n)))
    whole = Evidence(names, confusion, boundaries, regions, surfaces, calibration)
    weights = np.stack([rng.multinomial(n, np.full(n, 1 / n)) for _ in range(5)])
    found = other_scores(whole, weights)
    assert tuple(found) == OTHERS
    for row, times in enumerate(weights):
        drawn = other_scores(whole.select(np.repeat(np.arange(n), times)))
        assert {name: values[row] for name, values in found.items()} == pytest.approx(drawn)
