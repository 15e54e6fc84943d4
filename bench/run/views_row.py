"""The row NETWORK-TTA-... of a run: its network, shown several views of each image.

The network's own row stays as it is. What the views cost is in the row's record.
"""

import time

from torch import nn

from bench import records
from bench.config import variant_of
from bench.data.splits import Split
from bench.run.evaluation import collect_evidence, full_size_logits, label_map, told_scores
from bench.run.milestones import evaluated_network
from bench.run.training import Training
from bench.run.views import Views
from bench.selection import best_iteration


def evaluate_views(training: Training, splits: dict[str, Split]) -> list[str]:
    """Evaluates in several views the splits that `postprocess` names and that have no row yet.

    Returns:
        The names of the post-processings that the record now holds.
    """
    settings, folder = training.config.postprocess, training.folder
    variant = variant_of(settings)
    iteration = best_iteration(folder, training.config) or training.iteration
    done = records.read_evaluations(folder, variant=variant)
    evaluated = {evaluation["split"] for evaluation in done if evaluation["iteration"] == iteration}
    missing = [name for name in settings["splits"] if name in splits and name not in evaluated]
    network = evaluated_network(training, iteration) if missing else None
    for name in missing:
        assert network is not None
        _evaluate(training, network, splits[name], iteration)
    return [variant]


def _evaluate(training: Training, network: nn.Module, split: Split, iteration: int) -> None:
    config, folder, start = training.config, training.folder, time.monotonic()
    views, variant = Views.of(config.postprocess), variant_of(config.postprocess)
    name = records.evaluation_name(split.name, iteration, variant)
    pictures = folder / "predictions" / name
    pictures.mkdir(parents=True, exist_ok=True)
    device, monitor = training.device, training.monitor
    of_images = full_size_logits(network, split, config, device, monitor, predict=views.probs)
    predictions = (
        (index, label_map(probs), probs.amax(dim=0).float().cpu().numpy())
        for index, probs in of_images
    )
    evidence = collect_evidence(predictions, split, config.dataset, pictures)
    summary = {
        "split": split.name,
        "iteration": iteration,
        "variant": variant,
        "images": len(split.names),
        "parameters": {"scales": [*views.scales], "mirror": views.mirror},
        "passes": len(views),
        "seconds_per_image": (time.monotonic() - start) / len(split.names),
    }
    records.write_evaluation(folder, summary, evidence)
    row = f"{config.arch['name']}-{variant}"
    monitor.notice(f"{row}, {split.name}: {told_scores(evidence)}")
