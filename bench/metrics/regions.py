"""G, C and mIoU as pure functions of one confusion matrix.

A confusion matrix here is int64 (K+1, K+1): rows are truth, columns prediction; the last row holds
pixels whose truth is void, the last column predictions that are void. Every score leaves the last
row out. A void prediction on labelled truth stays in its class's row, so it counts as wrong.
Definitions: paper, section 3.3; the authors' compute_test_results.m. A score takes the matrix, or
the `ClassPixels` of it, which are all that it needs.
"""

from typing import Literal, NamedTuple, assert_never, get_args

import numpy as np
from numpy.typing import NDArray

from bench.metrics.ratios import FloatArray, mean_defined, ratio

AbsentClasses = Literal["paper_script", "ground_truth", "union"]
ABSENT_CLASSES: tuple[AbsentClasses, ...] = get_args(AbsentClasses)
# What peers report is a pair: one rule for C, which they call mAcc, and another one for mIoU.
Peer = Literal["mmseg", "huggingface", "cityscapes"]
PEERS: tuple[Peer, ...] = get_args(Peer)
MeanRule = AbsentClasses | Peer


def rules_of(name: MeanRule) -> tuple[AbsentClasses, AbsentClasses]:
    """Returns the rules for C and for mIoU.

    mmsegmentation's `mAcc` and `mIoU`, Hugging Face's `mean_accuracy` and `mean_iou`, and
    cityscapesScripts' class mean leave out what has no denominator: C goes over the classes in the
    truth, mIoU over those in truth or prediction.
    """
    for rule in ABSENT_CLASSES:
        if name == rule:
            return rule, rule
    return "ground_truth", "union"


class ClassPixels(NamedTuple):
    """The pixels of each class, (..., K) each, on labelled pixels: all that the scores need.

    They are linear in the confusion matrix: those of a set of images are the sums of its images'.
    Floats will do for counts below 2^53, and are summed far faster.
    """

    right: NDArray[np.number]
    in_truth: NDArray[np.number]
    predicted: NDArray[np.number]


Confusion = NDArray[np.integer] | ClassPixels


def confusion_matrix(
    prediction: NDArray[np.integer],
    label: NDArray[np.integer],
    *,
    num_classes: int,
    void: int,
    name: str = "",
) -> NDArray[np.int64]:
    """Counts pixels by (truth, prediction).

    Label maps are piecewise constant, so the counting goes by runs of equal pixel pairs: about a
    twentieth of the pixels on street scenes.

    Args:
        prediction: (H, W), values 0..K-1 and void; uint8 is fastest, any integer type is allowed.
        label: (H, W), likewise.
        num_classes: K.
        void: the value that stands for "no class"; not negative and not below K.
        name: the file the maps belong to, for error messages.

    Returns:
        int64 (K+1, K+1), see the head of this file; float32 would saturate at 16,777,216.

    Raises:
        ValueError: the sizes differ, or a value is neither a class nor void.
    """
    assert void >= num_classes, (void, num_classes)
    if prediction.shape != label.shape:
        raise ValueError(
            f"{name or 'image'}: prediction has shape {prediction.shape}, truth {label.shape}; "
            "resize the prediction (nearest neighbour) to the size of the truth"
        )
    values = [*range(num_classes), void]
    for role, pixels in (("prediction", prediction), ("truth", label)):
        if pixels.min() < 0 or pixels.max() > void:
            raise _foreign_value(pixels, values, role, name)
    size = void + 1
    code_type = np.min_scalar_type(size * size - 1)
    code = label.astype(code_type).ravel()
    code *= code_type.type(size)
    code += prediction.astype(code_type).ravel()
    start = np.concatenate(([0], np.flatnonzero(code[1:] != code[:-1]) + 1))
    length = np.diff(start, append=code.size)  # weights of bincount are float64: exact to 2^53
    joint = np.bincount(code[start], length, minlength=size * size).reshape(size, size)
    confusion = joint[np.ix_(values, values)].astype(np.int64)
    if confusion.sum() != label.size:  # a value between K and void
        for role, pixels in (("prediction", prediction), ("truth", label)):
            if not np.isin(pixels, values).all():
                raise _foreign_value(pixels, values, role, name)
    return confusion


def summed(confusions: NDArray[np.integer]) -> NDArray[np.int64]:
    """Returns the confusion matrix (K+1, K+1) of a set: the sum over its images (N, K+1, K+1)."""
    total: NDArray[np.int64] = confusions.sum(axis=0, dtype=np.int64)
    return total


def class_pixels(confusion: Confusion) -> ClassPixels:
    """Right, true and predicted pixels of each class, (..., K+1, K+1) -> (..., K) each."""
    if isinstance(confusion, ClassPixels):
        return confusion
    labelled = confusion[..., :-1, :]
    right = np.diagonal(labelled, axis1=-2, axis2=-1)
    return ClassPixels(right, labelled.sum(-1), labelled.sum(-2)[..., :-1])


def global_accuracy(confusion: Confusion) -> FloatArray:
    """G: the share of labelled pixels that are right. (..., K+1, K+1) -> (...), 0..1 or NaN."""
    right, in_truth, _ = class_pixels(confusion)
    return ratio(right.sum(-1), in_truth.sum(-1))


def class_accuracy(confusion: Confusion) -> FloatArray:
    """The share of each class's pixels that are right: (..., K); NaN if absent from the truth."""
    right, in_truth, _ = class_pixels(confusion)
    return ratio(right, in_truth)


def class_iou(confusion: Confusion) -> FloatArray:
    """Intersection over union of each class: (..., K); NaN if absent from truth and prediction."""
    right, in_truth, predicted = class_pixels(confusion)
    return ratio(right, in_truth + predicted - right)


def class_precision(confusion: Confusion) -> FloatArray:
    """The share of the pixels predicted as a class that are right: (..., K); NaN if there is none.

    Predictions on void truth do not count.
    """
    right, _, predicted = class_pixels(confusion)
    return ratio(right, predicted)


def class_dice(confusion: Confusion) -> FloatArray:
    """Dice, or F1, of each class: (..., K); NaN if absent from truth and prediction (Dice 1945)."""
    right, in_truth, predicted = class_pixels(confusion)
    return ratio(2 * right, in_truth + predicted)


def micro_iou(confusion: Confusion) -> FloatArray:
    """Intersections over unions, each summed over the classes first: (...)."""
    right, in_truth, predicted = class_pixels(confusion)
    return ratio(right.sum(-1), (in_truth + predicted - right).sum(-1))


def frequency_weighted_iou(confusion: Confusion) -> FloatArray:
    """The mean of `class_iou` weighted by the pixels of the truth: (...) (Long et al. 2015)."""
    _, in_truth, _ = class_pixels(confusion)
    weighted = (in_truth * np.nan_to_num(class_iou(confusion))).sum(-1)
    return ratio(weighted, in_truth.sum(-1))


def mean_class_accuracy(
    confusion: Confusion, absent_classes: MeanRule = "paper_script"
) -> FloatArray:
    """C: the mean of `class_accuracy`, (...); see `_mean_over_classes` for the convention."""
    return _mean_over_classes(class_accuracy(confusion), confusion, rules_of(absent_classes)[0])


def mean_iou(confusion: Confusion, absent_classes: MeanRule = "paper_script") -> FloatArray:
    """mIoU: the mean of `class_iou`, (...); see `_mean_over_classes` for the convention."""
    return _mean_over_classes(class_iou(confusion), confusion, rules_of(absent_classes)[1])


# The names the paper uses, each with the convention of the authors' script.
REGION_SCORES = {"G": global_accuracy, "C": mean_class_accuracy, "mIoU": mean_iou}


def region_score(confusion: NDArray[np.integer], name: str) -> float:
    """G, C or mIoU by name, of one matrix (K+1, K+1); 0..1 or NaN."""
    return REGION_SCORES[name](confusion).item()


def region_scores(confusion: NDArray[np.integer]) -> dict[str, float]:
    """G, C and mIoU of one matrix (K+1, K+1), by name; 0..1 or NaN."""
    return {name: region_score(confusion, name) for name in REGION_SCORES}


def _mean_over_classes(
    values: FloatArray, confusion: Confusion, absent_classes: AbsentClasses
) -> FloatArray:
    """Averages (..., K) over the classes that a convention counts; NaN if it counts none.

    paper_script: all K, an absent class counts 0 (compute_test_results.m); none where no pixel is
        labelled, which leaves nothing to be right or wrong about.
    ground_truth: the classes that occur in the truth (detectron2). PASCAL VOC's own script counts a
        class that is only predicted as 0 and says NaN where one is absent from both.
    union: the classes that occur in the truth or, on labelled pixels, in the prediction; a class
        that is only predicted counts 0 (torchmetrics' macro average).
    """
    _, in_truth, predicted = class_pixels(confusion)
    zero_if_undefined = np.nan_to_num(values)
    match absent_classes:
        case "paper_script":
            counted = np.broadcast_to(in_truth.sum(-1, keepdims=True) > 0, values.shape)
        case "ground_truth":
            counted = in_truth > 0
        case "union":
            counted = in_truth + predicted > 0
        case _:
            assert_never(absent_classes)
    return mean_defined(np.where(counted, zero_if_undefined, np.nan))


def _foreign_value(
    pixels: NDArray[np.integer], values: list[int], role: str, name: str
) -> ValueError:
    foreign = np.setdiff1d(pixels, values)[0]
    *_, last, void = values
    return ValueError(
        f"{name or 'image'}: the {role} holds the value {foreign}, which is neither a class "
        f"(0..{last}) nor void ({void}); check the number of classes and the void value"
    )
