"""G, C, mIoU against hand-made figures, torchmetrics and scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.metrics.regions import (
    ABSENT_CLASSES,
    REGION_SCORES,
    class_accuracy,
    class_iou,
    confusion_matrix,
    global_accuracy,
    mean_class_accuracy,
    mean_iou,
    region_score,
)

K = 4
VOIDS = st.sampled_from([K, 9, 255])
SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))


@st.composite
def map_pairs(draw, void_predictions=True):
    """A prediction and a truth of one size, with values 0..K-1 and void."""
    void, shape = draw(VOIDS), draw(SHAPES)
    classes = st.integers(0, K - 1)
    with_void = st.one_of(classes, st.just(void))
    prediction = arrays(np.uint8, shape, elements=with_void if void_predictions else classes)
    return draw(prediction), draw(arrays(np.uint8, shape, elements=with_void)), void


def matrix(prediction, label, void):
    """`confusion_matrix` of K classes."""
    return confusion_matrix(prediction, label, num_classes=K, void=void)


@settings(deadline=None)
@given(map_pairs())
def test_matrix_agrees_with_scikit_learn(maps):
    """Rows are truth and columns prediction, void last."""
    sklearn = pytest.importorskip("sklearn.metrics")
    prediction, label, void = maps
    expected = sklearn.confusion_matrix(label.ravel(), prediction.ravel(), labels=[*range(K), void])
    result = matrix(*maps)
    assert result.dtype == np.int64
    np.testing.assert_array_equal(result, expected)


@settings(deadline=None)
@given(map_pairs(void_predictions=False))
def test_union_scores_agree_with_torchmetrics(maps):
    """The `union` convention is torchmetrics' macro average, and G its micro average."""
    theirs = pytest.importorskip("torchmetrics.classification")
    prediction, label, void = maps
    if (label == void).all():
        return  # torchmetrics says 0, we say undefined
    p, t = torch.tensor(prediction).long(), torch.tensor(label).long()
    confusion = matrix(*maps)
    accuracy, iou = theirs.MulticlassAccuracy, theirs.MulticlassJaccardIndex
    for ours, score in (
        (global_accuracy(confusion), accuracy(K, average="micro", ignore_index=void)),
        (mean_class_accuracy(confusion, "union"), accuracy(K, ignore_index=void)),
        (mean_iou(confusion, "union"), iou(K, ignore_index=void)),
    ):
        assert ours == pytest.approx(score(p, t).item(), abs=1e-6)


@settings(deadline=None)
@given(map_pairs(), st.permutations(range(K)))
def test_scores_ignore_mirroring_and_class_names(maps, order):
    """Mirroring changes nothing; renaming classes permutes the per-class scores."""
    prediction, label, void = maps
    confusion = matrix(*maps)
    np.testing.assert_array_equal(matrix(prediction[:, ::-1], label[:, ::-1], void), confusion)
    rename = np.arange(256, dtype=np.uint8)
    rename[:K] = order
    renamed = matrix(rename[prediction], rename[label], void)
    np.testing.assert_array_equal(class_iou(renamed)[list(order)], class_iou(confusion))
    for rule in ABSENT_CLASSES:
        np.testing.assert_allclose(mean_iou(renamed, rule), mean_iou(confusion, rule))


@settings(deadline=None)
@given(map_pairs())
def test_perfect_prediction_scores_one(maps):
    """Identity scores 1 wherever anything is labelled."""
    _, label, void = maps
    confusion = matrix(label, label, void)
    if (label == void).all():
        assert np.isnan(global_accuracy(confusion))
    else:
        assert global_accuracy(confusion) == 1
        assert mean_class_accuracy(confusion, "ground_truth") == 1
        assert mean_iou(confusion, "union") == 1


def test_the_three_conventions_differ_as_documented():
    """Truth has classes 0 and 1, prediction 0 and 2, class 3 is nowhere."""
    label = np.array([[0, 0, 1, 1]], np.uint8)
    prediction = np.array([[0, 0, 0, 2]], np.uint8)
    confusion = matrix(prediction, label, 255)
    np.testing.assert_array_equal(class_accuracy(confusion), [1, 0, np.nan, np.nan])
    np.testing.assert_array_equal(class_iou(confusion), [2 / 3, 0, 0, np.nan])
    assert global_accuracy(confusion) == 1 / 2
    assert [mean_class_accuracy(confusion, rule) for rule in ABSENT_CLASSES] == [
        1 / 4,
        1 / 2,
        1 / 3,
    ]
    assert [mean_iou(confusion, rule) for rule in ABSENT_CLASSES] == pytest.approx(
        [2 / 3 / 4, 2 / 3 / 2, 2 / 3 / 3]
    )
    by_name = {name: region_score(confusion, name) for name in REGION_SCORES}
    assert by_name == pytest.approx({"G": 1 / 2, "C": 1 / 4, "mIoU": 2 / 3 / 4})


def test_void_truth_is_left_out_and_void_prediction_is_wrong():
    """Pixels of void truth do not count, not even for the class predicted there."""
    label = np.array([[0, 0, 1, 255, 255]], np.uint8)
    prediction = np.array([[0, 255, 1, 2, 255]], np.uint8)
    confusion = matrix(prediction, label, 255)
    assert global_accuracy(confusion) == pytest.approx(2 / 3)
    np.testing.assert_array_equal(class_accuracy(confusion), [1 / 2, 1, np.nan, np.nan])
    np.testing.assert_array_equal(class_iou(confusion), [1 / 2, 1, np.nan, np.nan])
    assert mean_iou(confusion, "union") == 3 / 4


def test_image_without_labels_has_no_scores():
    """Undefined is NaN under every convention, whatever is predicted there."""
    label = np.full((3, 3), 255, np.uint8)
    confusion = matrix(np.zeros((3, 3), np.uint8), label, 255)
    assert np.isnan(global_accuracy(confusion))
    for score in (mean_iou, mean_class_accuracy):
        assert np.isnan([score(confusion, rule) for rule in ABSENT_CLASSES]).all()


def test_one_pixel_and_many_classes():
    """A 1x1 image of 37 classes gives one count."""
    confusion = confusion_matrix(
        np.array([[36]], np.uint8), np.array([[5]], np.uint8), num_classes=37, void=255
    )
    assert confusion.shape == (38, 38)
    assert confusion[5, 36] == confusion.sum() == 1


def test_counts_stay_exact_where_float32_would_saturate():
    """A sum over many images passes 2^24 and still counts single pixels."""
    confusion = np.zeros((2, K + 1, K + 1), np.int64)
    confusion[0, 0, 0], confusion[1, 0, 1] = 2**24, 1
    assert 1 - global_accuracy(confusion.sum(0)) == pytest.approx(1 / (2**24 + 1), rel=1e-6)


def test_scores_take_leading_axes():
    """A stack of matrices gives the scores of each."""
    stack = np.random.default_rng(0).integers(0, 9, (2, 3, K + 1, K + 1))
    for rule in ABSENT_CLASSES:
        assert mean_iou(stack, rule).shape == (2, 3)
        assert mean_iou(stack, rule)[1, 2] == mean_iou(stack[1, 2], rule)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.int64])
def test_integer_type_does_not_matter(dtype):
    """Any integer type gives the counts of uint8, and the maps are left as they were."""
    rng = np.random.default_rng(0)
    prediction, label = rng.integers(0, K, (2, 20, 30)).astype(dtype)
    label[:3] = 255
    before = prediction.copy(), label.copy()
    expected = matrix(prediction.astype(np.uint8), label.astype(np.uint8), 255)
    np.testing.assert_array_equal(matrix(prediction, label, 255), expected)
    np.testing.assert_array_equal((prediction, label), before)


@pytest.mark.parametrize(
    ("value", "void"), [(-1, 4), (5, 4), (300, 4), (4, 255), (254, 255), (256, 255), (-1, 255)]
)
@pytest.mark.parametrize("role", ["prediction", "truth"])
def test_foreign_value_is_refused_by_file_and_value(value, void, role):
    """Neither a class nor void: below 0, between the classes and void, or above void."""
    maps = {"prediction": np.zeros((2, 2), np.int32), "truth": np.zeros((2, 2), np.int32)}
    maps[role][1, 1] = value
    with pytest.raises(ValueError, match=rf"0006R0\.png: the {role} holds the value {value}, "):
        confusion_matrix(*maps.values(), num_classes=K, void=void, name="0006R0.png")


def test_sizes_that_differ_are_refused():
    """The message names both sizes."""
    with pytest.raises(ValueError, match=r"x\.png.*\(2, 3\).*\(3, 2\).*nearest"):
        confusion_matrix(
            np.zeros((2, 3), np.uint8),
            np.zeros((3, 2), np.uint8),
            num_classes=K,
            void=K,
            name="x.png",
        )
