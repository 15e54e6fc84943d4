"""Evaluating a network: one prediction an image, kept as evidence from which scores follow.

Runs call it at their milestones, and the command bench/evaluate.py for other data. Evidence is the
confusion matrix of every image (and its counts of contours and confidences); scores, intervals and
tables are functions of it, in bench/metrics and reports.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.config import Config
from bench.data.images import UInt8Array, write_label
from bench.data.schema import DatasetConfig
from bench.data.splits import Batch, Split
from bench.metrics.boundaries import boundary_counts
from bench.metrics.calibration import BINS, calibration_counts
from bench.metrics.contours import boundary_region_counts, surface_counts
from bench.metrics.regions import confusion_matrix, region_scores, summed
from bench.protocol import InferenceConfig
from bench.run import batch_norm, distributed
from bench.run.inference import infer, padded, size_multiple
from bench.run.monitor import Monitor
from bench.run.network import autocast, network_input
from bench.run.training import Training
from bench.seeds import derive_seed
from bench.words import figures

PICTURES = 8  # so that figures need no network; `python -m bench.predict` gives all of them
COUNTING_AHEAD = 64  # predictions that may wait to be counted, so that memory stays bounded

# Index, label map (H, W), and the probability of its classes float32 (H, W), if there is one.
Prediction = tuple[int, UInt8Array, NDArray[np.float32] | None]


def evaluation_network(training: Training) -> nn.Module:
    """Returns a copy of the network with batch-norm statistics over the training images."""
    config, protocol = training.config, training.config.protocol
    size, count = protocol.batch_size, len(training.split.names)
    wanted = min(protocol.batch_norm.images or count, count)
    seed = derive_seed(config.seed, "batch_norm")
    order = np.random.default_rng(seed).permutation(count)[:wanted]
    # All batches are full, the last one wrapping round, because all count the same.
    batches = -(-wanted // size)
    order = np.resize(order, batches * size)

    multiple = size_multiple(training.network)

    def inputs() -> Iterator[Tensor]:
        numbers = range(distributed.rank(), batches, distributed.size())
        own_batches = order.reshape(batches, size)[numbers.start :: numbers.step]
        for number, (images, _) in enumerate(_unaltered(training, own_batches, numbers)):
            training.monitor.check_stop()
            training.monitor.beat("batch-norm statistics", number, len(own_batches))
            yield padded(network_input(images, training.config, training.device), multiple)

    return batch_norm.recomputed(
        training.network, inputs(), protocol.batch_norm.statistics, protocol.precision
    )


def _unaltered(
    training: Training, chosen: NDArray[np.int64], numbers: Iterable[int]
) -> Iterator[Batch]:
    """Yields the training images of some batches as they are, or crops of them at scale 1.

    Crops are taken where images are kept at their own size, which need not be one. Their draws
    follow from the number of the batch.
    """
    config, split = training.config, training.split
    if config.protocol.image_size is not None or config.protocol.augmentation.crop is None:
        return split.batches(chosen)
    from bench.data.augmentation import Augmentation, draws  # noqa: PLC0415 - it loads OpenCV

    size = config.protocol.batch_size
    drawn = (draws(config.seed, number, size, "batch_norm crops") for number in numbers)
    return split.crops(chosen, drawn, Augmentation.of(config, split.sizes[0]).unscaled)


@torch.inference_mode()
def full_size_logits(
    network: nn.Module,
    split: Split,
    config: Config,
    device: torch.device,
    monitor: Monitor,
    *,
    only: NDArray[np.int64] | None = None,
    shared: bool = False,
    predict: Callable[[nn.Module, Tensor, InferenceConfig], Tensor] = infer,
) -> Iterator[tuple[int, Tensor]]:
    """Yields (index, logits (K, H, W) at the size of the truth) for every image of a split.

    `only` gives the indices of some images, to leave the others out. `shared` leaves out what other
    processes predict: whole batches, so that each is computed as it would be alone. `predict` gives
    the logits, or probabilities, of normalised images.

    Logits are resized (bilinear) to the truth and not the truth to the logits, so that scores are
    comparable whatever size the network works at. Images kept at their own size are predicted one
    by one.
    """
    protocol = config.protocol
    network.eval()
    order = np.arange(len(split.names)) if only is None else only
    count, size = len(order), 1 if protocol.image_size is None else protocol.batch_size
    chosen = [order[first : first + size] for first in range(0, count, size)]
    if shared:
        chosen = chosen[distributed.rank() :: distributed.size()]
        count = size * len(chosen)
    for number, (images, _) in enumerate(split.batches(chosen)):
        monitor.check_stop()
        monitor.beat(f"evaluating {split.name}", number * size, count)
        torch.manual_seed(derive_seed(config.seed, "evaluation", int(chosen[number][0])))
        values = network_input(images, config, device)
        with autocast(device, protocol.precision):
            logits = predict(network, values, protocol.inference)
        for index, scores in zip(chosen[number].tolist(), logits, strict=True):
            yield index, resized_logits(scores, split.truths[index].shape)
    monitor.beat(f"evaluating {split.name}", count, count)


def pictured(split: Split, dataset: DatasetConfig) -> set[str]:
    """Names the images whose predictions are kept: `dataset.pictures`, or 8, spread evenly."""
    if dataset.pictures:
        return set(dataset.pictures) & set(split.names)
    spread = np.linspace(0, len(split.names) - 1, min(PICTURES, len(split.names)))
    return {split.names[position] for position in spread.round().astype(int)}


def label_map(logits: Tensor) -> UInt8Array:
    """Turns logits or probabilities (K, H, W) into class indices uint8 (H, W)."""
    return logits.max(dim=0).indices.to(torch.uint8).cpu().numpy()


def confidence(logits: Tensor) -> NDArray[np.float32]:
    """Turns logits (K, H, W) into the probability of the likeliest class, float32 (H, W)."""
    probability: NDArray[np.float32] = logits.softmax(dim=0).amax(dim=0).cpu().numpy()
    return probability


def resized_logits(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resizes logits (K, h, w) to (K, H, W), bilinear with half-pixel centres."""
    if logits.shape[1:] == size:
        return logits
    # F.interpolate, in deterministic mode on a GPU, takes many launches to have a sorted gradient.
    resized: Tensor = torch.ops.aten.upsample_bilinear2d(logits[None], size, False)[0]
    return resized


def collect_evidence(
    predictions: Iterable[Prediction],
    split: Split,
    dataset: DatasetConfig,
    pictures: Path | None = None,
) -> dict[str, NDArray[Any]]:
    """Compares predictions with the truth of a split of N images.

    Args:
        predictions: one for every image, at the size of the truth.
        split: with the truth.
        dataset: the data set's configuration.
        pictures: a folder for a few predictions (see `pictured`) as palette PNGs, or None.

    Returns:
        names (N,); confusion int32 (N, K+1, K+1), rows truth, columns prediction, void last; the
        counts of `Evidence`: boundaries, boundary_regions, surfaces and calibration.
    """
    kept = pictured(split, dataset)
    counts = _Counts(split, len(dataset.classes), dataset.void)
    # Contours are matched in a thread, while the network computes with the GIL released.
    with ThreadPoolExecutor(1) as pool:
        counting: deque[Future[None]] = deque()
        for index, prediction, probability in predictions:
            counts.count_pixels(index, prediction)
            if pictures is not None and split.names[index] in kept:
                write_label(pictures / f"{split.names[index]}.png", prediction, dataset.colours)
            counting.append(pool.submit(counts.count_contours, index, prediction, probability))
            if len(counting) > COUNTING_AHEAD:
                counting.popleft().result()
        for future in counting:
            future.result()
    return counts.arrays()


class _Counts:
    """What is counted of every image of a split; images that nobody predicts are 0."""

    def __init__(self, split: Split, num_classes: int, void: int) -> None:
        self._split, self._classes, self._void = split, num_classes, void
        images = len(split.names)
        self._confusion = np.zeros((images, num_classes + 1, num_classes + 1), np.int32)
        self._boundaries = np.zeros((images, num_classes, 5), np.int32)
        self._regions = np.zeros((images, num_classes, 3), np.int32)
        self._surfaces = np.zeros((images, num_classes, 4), np.int32)
        self._calibration = np.zeros((images, BINS, 3), np.int64)

    def count_pixels(self, index: int, prediction: UInt8Array) -> None:
        """Counts what raises an error for a prediction that is none."""
        self._confusion[index] = confusion_matrix(
            prediction, self._split.truths[index], num_classes=self._classes, void=self._void
        )

    def count_contours(
        self, index: int, prediction: UInt8Array, probability: NDArray[np.float32] | None
    ) -> None:
        """Counts the rest of an image."""
        pair, classes = (prediction, self._split.truths[index]), self._classes
        self._boundaries[index] = boundary_counts(*pair, num_classes=classes)
        self._regions[index] = boundary_region_counts(*pair, num_classes=classes)
        self._surfaces[index] = surface_counts(*pair, num_classes=classes)
        if probability is not None:
            self._calibration[index] = calibration_counts(probability, *pair, num_classes=classes)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the counts by their names in `Evidence`."""
        return {
            "names": np.array(self._split.names),
            "confusion": self._confusion,
            "boundaries": self._boundaries,
            "boundary_regions": self._regions,
            "surfaces": self._surfaces,
            "calibration": self._calibration,
        }


def told_scores(evidence: dict[str, NDArray[Any]]) -> str:
    """Says the scores of a set in words."""
    return figures(region_scores(summed(evidence["confusion"])), 3)


def evaluate(
    network: nn.Module,
    split: Split,
    config: Config,
    *,
    device: torch.device,
    monitor: Monitor,
    pictures: Path | None = None,
) -> dict[str, NDArray[Any]]:
    """Returns the evidence of a network on a split, see `collect_evidence`.

    Args:
        network: its batch-norm statistics set.
        split: what to predict.
        config: the run's configuration.
        device: where the network is.
        monitor: hears of progress.
        pictures: a folder for a few predictions (see `pictured`) as palette PNGs, or None.
    """
    logits = full_size_logits(network, split, config, device, monitor, shared=True)
    predictions = ((index, label_map(scores), confidence(scores)) for index, scores in logits)
    evidence = collect_evidence(predictions, split, config.dataset, pictures)
    for name, counts in evidence.items():
        if name != "names":  # images of other processes are 0 so far
            distributed.total(torch.from_numpy(counts))
    return evidence
