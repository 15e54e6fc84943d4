"""Which evaluations a run makes, which of its networks is the best, and when it may stop early.

Everything here is a function of the evaluations on disk, so that a run killed between any two
steps resumes as if it had never been killed.
"""

import copy
import shutil
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import nn

from bench import records
from bench.config import Config
from bench.data.splits import Split
from bench.metrics.regions import region_score, region_scores, summed
from bench.run import checkpoints, distributed
from bench.run.evaluation import evaluate, evaluation_network, told_scores
from bench.run.training import Training
from bench.selection import best_iteration, validations


def evaluate_missing(training: Training, splits: dict[str, Split], due: list[str]) -> None:
    """Evaluates the network as it is now on those splits that have no record yet.

    The weights as evaluated are kept, and with them the best ones by validation.
    """
    folder, config, iteration = training.folder, training.config, training.iteration
    validation = config.protocol.validation
    missing = _missing(folder, due, iteration)
    if not missing:
        return
    network = evaluation_network(training)
    weights = {"iteration": iteration, "network": network.state_dict()}
    if distributed.is_first():
        checkpoints.save(folder / checkpoints.LAST, weights)
    for split in missing:
        validates = validation.every is not None and split == validation.split
        evidence = _evaluate_with_pictures(training, network, splits[split], iteration, validates)
        if not distributed.is_first():
            continue
        if validates and _beats_all(evidence, folder, config):
            checkpoints.save(folder / checkpoints.BEST, weights)
        _record(training, split, iteration, evidence)


def _missing(folder: Path, due: list[str], iteration: int) -> list[str]:
    """Names the splits that have no record of an iteration yet; all processes hear the same."""
    done = {e["split"] for e in records.read_evaluations(folder) if e["iteration"] == iteration}
    return distributed.agreed([split for split in due if split not in done])


def evaluate_best(training: Training, splits: dict[str, Split]) -> None:
    """Evaluates the best network that validation found, unless that has been done."""
    folder, config = training.folder, training.config
    best = distributed.agreed(best_iteration(folder, config))
    if best is None:
        return
    missing = _missing(folder, config.protocol.evaluation_splits, best)
    if not missing:
        return
    network = evaluated_network(training, best)
    training.monitor.notice(f"evaluating the best network, of iteration {best}")
    for split in missing:
        evidence = _evaluate_with_pictures(training, network, splits[split], best, False)
        if distributed.is_first():
            _record(training, split, best, evidence)


def evaluated_network(training: Training, iteration: int) -> nn.Module:
    """Returns the network as it was evaluated at the best or the last iteration."""
    tensors = checkpoints.weights_of(training.folder, iteration)
    if tensors is None:
        raise ValueError(
            f"{training.folder.name} has no weights of iteration {iteration}; "
            "start afresh with rerun=true"
        )
    network = copy.deepcopy(training.network)
    network.load_state_dict(tensors)
    return network.eval()


def patience_exhausted(folder: Path, config: Config) -> str | None:
    """Says why training may stop early, or None."""
    patience = config.protocol.validation.patience
    best = best_iteration(folder, config)
    if patience is None or best is None:
        return None
    since = sum(iteration > best for iteration, _ in validations(folder, config))
    return f"no gain in {since} validations since iteration {best}" if since >= patience else None


def _beats_all(evidence: dict[str, NDArray[Any]], folder: Path, config: Config) -> bool:
    score = region_score(summed(evidence["confusion"]), config.protocol.validation.criterion)
    return all(score > earlier for _, earlier in validations(folder, config))


def _evaluate_with_pictures(
    training: Training, network: nn.Module, split: Split, iteration: int, validates: bool
) -> dict[str, NDArray[Any]]:
    """Evaluates; some predictions are kept as pictures, but none of a validation."""
    folder, config = training.folder, training.config
    pictures = None
    if not validates:
        name = records.evaluation_name(split.name, iteration)
        pictures = folder / "predictions" / name
        pictures.mkdir(parents=True, exist_ok=True)
        best = best_iteration(folder, config)
        last = max(iteration, training.iteration)
        keep = {records.evaluation_name(split.name, i) for i in (best, last, iteration) if i}
        for old in pictures.parent.glob(f"{split.name}-*"):
            if old.name not in keep and distributed.is_first():
                shutil.rmtree(old)
    return evaluate(
        network, split, config, device=training.device, monitor=training.monitor, pictures=pictures
    )


def _record(
    training: Training, split: str, iteration: int, evidence: dict[str, NDArray[Any]]
) -> None:
    """Writes an evaluation and tells its scores."""
    summary = {
        "split": split,
        "iteration": iteration,
        "images": len(evidence["names"]),
    }
    records.write_evaluation(training.folder, summary, evidence)
    training.monitor.notice(f"iteration {iteration}, {split}: {told_scores(evidence)}")
    scores = region_scores(summed(evidence["confusion"]))
    measured = {f"{split}/{name}": value for name, value in scores.items()}
    training.monitor.measure(training.iteration, measured)
