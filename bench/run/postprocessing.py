"""Rows beside a network's own: its best predictions once more, processed as `postprocess` says.

The network's own row stays as it is; what a row costs is in its record. NETWORK-TTA-... is the
network shown several views of each image; NETWORK-denseCRF is made by bench/crf/stage.py.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from bench import records
from bench.config import variant_of
from bench.data.splits import Split
from bench.run.evaluation import (
    Prediction,
    collect_evidence,
    full_size_logits,
    label_map,
    told_scores,
)
from bench.run.milestones import evaluated_network
from bench.run.training import Training
from bench.run.views import Views
from bench.selection import best_iteration


def missing_rows(
    training: Training, splits: dict[str, Split], variant: str
) -> tuple[int, list[Split]]:
    """Returns the iteration to process, and the splits of `postprocess` that have no row of it."""
    folder = training.folder
    iteration = best_iteration(folder, training.config) or training.iteration
    evaluations = records.read_evaluations(folder, variant=variant)
    done = {found["split"] for found in evaluations if found["iteration"] == iteration}
    wanted = training.config.postprocess["splits"]
    return iteration, [splits[name] for name in wanted if name in splits and name not in done]


def record_row(
    training: Training,
    split: Split,
    iteration: int,
    variant: str,
    predictions: Iterable[Prediction],
    *,
    details: Callable[[], dict[str, Any]],
) -> None:
    """Evaluates predictions, records them as a row, and tells its scores.

    Predictions are computed as they are asked for, so that their time is measured; `details` says
    what else the record has, once they are computed.
    """
    folder, config, start = training.folder, training.config, time.monotonic()
    pictures = folder / "predictions" / records.evaluation_name(split.name, iteration, variant)
    pictures.mkdir(parents=True, exist_ok=True)
    evidence = collect_evidence(predictions, split, config.dataset, pictures)
    summary = {
        "split": split.name,
        "iteration": iteration,
        "variant": variant,
        "images": len(split.names),
        "seconds_per_image": (time.monotonic() - start) / len(split.names),
    }
    records.write_evaluation(folder, summary | details(), evidence)
    row = f"{config.arch['name']}-{variant}"
    training.monitor.notice(f"{row}, {split.name}: {told_scores(evidence)}")


def evaluate_views(training: Training, splits: dict[str, Split]) -> list[str]:
    """Evaluates in several views the splits that `postprocess` names and that have no row yet.

    Returns:
        The names of the post-processings that the record now holds.
    """
    config, views = training.config, Views.of(training.config.postprocess)
    variant = variant_of(config.postprocess)
    iteration, missing = missing_rows(training, splits, variant)
    parameters = {"scales": [*views.scales], "mirror": views.mirror}
    details = {"parameters": parameters, "passes": len(views)}
    if not missing:
        return [variant]
    network = evaluated_network(training, iteration)
    device, monitor = training.device, training.monitor
    for split in missing:
        images = full_size_logits(network, split, config, device, monitor, predict=views.probs)
        predictions = (
            (index, label_map(probs), probs.amax(dim=0).float().cpu().numpy())
            for index, probs in images
        )
        record_row(training, split, iteration, variant, predictions, details=lambda: details)
    return [variant]
