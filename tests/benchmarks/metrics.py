"""Speed of the metrics, as ratios to distance transforms, torchmetrics and scikit-learn.

    python tests/benchmarks/metrics.py [LABELS] --images 20

LABELS is a folder of label PNGs; default: CamVid's test labels under $SEGBENCH_CAMVID. Predictions
are the labels bent by a smooth random displacement of 4 pixels (seeded), which is harder on the
matching than a trained network: its maps have fewer and smoother boundaries. All contestants take
turns on every image in one process and thread; a ratio is the median over images. The last line
is JSON. Milliseconds depend on the machine, ratios hardly do.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # also where the package is not installed

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassJaccardIndex,
)

from bench.data.images import read_label
from bench.metrics.boundaries import TOLERANCE, boundary_counts, boundary_pairs
from bench.metrics.regions import confusion_matrix

LabelMap = NDArray[np.uint8]

CLASSES, VOID = 11, 11

# (what is measured, what it is compared with)
COMPARISONS = (
    ("confusion", "torchmetrics_confusion"),
    ("confusion", "torchmetrics_g_c_miou"),
    ("confusion", "sklearn_confusion"),
    ("tolerance", "distance_transforms"),
    ("both_readings", "distance_transforms"),
    ("both_readings", "both_readings_37_classes"),
)


def bent(label: LabelMap, rng: np.random.Generator, pixels: float = 4.0) -> LabelMap:
    """Displaces a label map smoothly by the given standard deviation; void becomes class 0."""
    height, width = label.shape
    fields = gaussian_filter(rng.standard_normal((2, height, width)), (0, 20, 20))
    shift = fields * (pixels / fields.std())
    y, x = np.rint(np.indices(label.shape) + shift).astype(int)
    prediction: LabelMap = label[y.clip(0, height - 1), x.clip(0, width - 1)]
    prediction[prediction == VOID] = 0
    return prediction


def distance_transforms(prediction: LabelMap, label: LabelMap) -> list[tuple[int, int]]:
    """The usual way to the tolerance reading: two distance transforms a class."""
    radius = TOLERANCE * np.hypot(*label.shape)
    result = []
    for index in range(CLASSES):
        edges = [_boundary(pixels == index) for pixels in (prediction, label)]
        far = [distance_transform_edt(~e) if e.any() else np.full(e.shape, np.inf) for e in edges]
        near = (edges[0] & (far[1] <= radius), edges[1] & (far[0] <= radius))
        result.append((int(near[0].sum()), int(near[1].sum())))
    return result


def _boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    others = (padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:])
    result: NDArray[np.bool_] = np.logical_or.reduce([mask != other for other in others])
    return result


def in_37_classes(pixels: LabelMap) -> LabelMap:
    """Splits every class by thirds of the width; void becomes 255."""
    third = np.arange(pixels.shape[1]) * 3 // pixels.shape[1]
    return np.where(pixels == VOID, 255, pixels + 12 * third).astype(np.uint8)


def contestants() -> dict[str, Callable[[LabelMap, LabelMap], object]]:
    """Everything that is timed, as functions of (prediction, label)."""
    confusion = MulticlassConfusionMatrix(CLASSES, ignore_index=VOID)
    three_scores = MetricCollection(
        {
            "G": MulticlassAccuracy(CLASSES, ignore_index=VOID, average="micro"),
            "C": MulticlassAccuracy(CLASSES, ignore_index=VOID, average="macro"),
            "mIoU": MulticlassJaccardIndex(CLASSES, ignore_index=VOID),
        }
    )
    tensors = torch.from_numpy
    return {
        "confusion": lambda p, t: confusion_matrix(p, t, num_classes=CLASSES, void=VOID),
        "tolerance": lambda p, t: [b.near() for b in boundary_pairs(p, t, num_classes=CLASSES)],
        "both_readings": lambda p, t: boundary_counts(p, t, num_classes=CLASSES),
        "both_readings_37_classes": lambda p, t: boundary_counts(
            in_37_classes(p), in_37_classes(t), num_classes=37
        ),
        "distance_transforms": distance_transforms,
        "torchmetrics_confusion": lambda p, t: confusion.update(tensors(p), tensors(t)),
        "torchmetrics_g_c_miou": lambda p, t: three_scores.update(tensors(p), tensors(t)),
        "sklearn_confusion": lambda p, t: sklearn_confusion_matrix(
            t[t != VOID], p[t != VOID], labels=range(CLASSES)
        ),
    }


def measure(pairs: list[tuple[LabelMap, LabelMap]]) -> dict[str, list[float]]:
    """Milliseconds of every contestant on every image; the first image is run once uncounted."""
    functions = contestants()
    milliseconds: dict[str, list[float]] = {name: [] for name in functions}
    for prediction, label in [pairs[0], *pairs]:
        for name, function in functions.items():
            start = time.perf_counter()
            function(prediction, label)
            milliseconds[name].append(1000 * (time.perf_counter() - start))
    return {name: values[1:] for name, values in milliseconds.items()}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Speed of the metrics, as ratios.")
    camvid = os.environ.get("SEGBENCH_CAMVID")
    default = Path(camvid) / "testannot" if camvid else None
    parser.add_argument("labels", type=Path, nargs="?", default=default)
    parser.add_argument("--images", type=int, default=20, help="spread over the folder")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.labels is None:
        parser.error("name a folder of label PNGs or set SEGBENCH_CAMVID")
    torch.set_num_threads(1)
    rng = np.random.default_rng(options.seed)
    paths = sorted(options.labels.glob("*.png"))
    # np.array: torch warns of arrays that cannot be written to, as Pillow's are.
    labels = [np.array(read_label(path)) for path in paths[:: max(1, len(paths) // options.images)]]
    milliseconds = measure([(bent(label, rng), label) for label in labels[: options.images]])
    for name, values in milliseconds.items():
        print(f"{name:<28}{statistics.median(values):>10.2f} ms an image")
    ratios = {
        f"{other} / {ours}": statistics.median(
            theirs / mine
            for theirs, mine in zip(milliseconds[other], milliseconds[ours], strict=True)
        )
        for ours, other in COMPARISONS
    }
    for name, ratio in ratios.items():
        print(f"{name:<44}{ratio:>8.1f}")
    print(json.dumps({name: round(ratio, 2) for name, ratio in ratios.items()}))


if __name__ == "__main__":
    main()
