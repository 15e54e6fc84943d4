"""One run from configuration to record: the page to read first.

`python -m bench` prepares a folder for every run and starts `python -m bench.run FOLDER`, which
calls `run`; several processes can share a run (bench/run/distributed.py). FOLDER/config.json says
what to do; everything the run has to say goes into FOLDER (see bench/records.py). In order: build
the network, read and check the data, train to each stop, re-estimate batch-norm statistics,
evaluate, and at the end evaluate the best network that validation found.

Read on with preparation.py, which has all that comes before the first iteration; training.py, the
loop; milestones.py and evaluation.py, what a stop does. What a configuration leaves off (a graph of
the GPU, views, the CRF, wandb, weights of another run) is in files of its own, and not called.
"""

import time
from pathlib import Path

from bench.config import Config, WandbMode, identity, read_config
from bench.data.splits import Split, load_splits
from bench.records import End, State
from bench.run import checkpoints, distributed
from bench.run.device import prepare_device
from bench.run.milestones import evaluate_best, evaluate_missing, patience_exhausted
from bench.run.monitor import Monitor
from bench.run.preparation import (
    announce,
    check_splits,
    prepare_network,
    prepare_training,
    record_start,
    resume,
)
from bench.run.training import Training, train


def run(folder: Path, monitor: Monitor) -> End:
    """Executes the run of a folder and returns how it ended."""
    start = time.monotonic()
    config = read_config(folder)
    distributed.join(config.silence_minutes)
    device = prepare_device(config)
    network = prepare_network(config)  # a wrong argument shows before data are read
    splits = distributed.first_alone(
        lambda: load_splits(config, config.protocol.splits, device, monitor.beat)
    )
    check_splits(config, splits)
    training = prepare_training(config, folder, splits, device, monitor, network=network)
    seconds = announce(training, splits)
    if config.dry_run:
        return End(State.finished, iteration=0, estimated_seconds=seconds)
    resume(training)
    record_start(training, splits)
    if distributed.is_first() and config.wandb.mode != WandbMode.disabled:
        from bench.run.wandb_log import attach_wandb  # noqa: PLC0415 - what is off is not loaded

        attach_wandb(monitor, config, identity(config), folder)

    reason = None
    for iteration in stops(config):
        if iteration < training.iteration:
            continue
        train(training, iteration)
        evaluate_missing(training, splits, due_splits(config, iteration))
        reason = distributed.agreed(patience_exhausted(folder, config))
        if reason:
            evaluate_missing(training, splits, config.protocol.evaluation_splits)
            break
    evaluate_best(training, splits)
    if not distributed.is_first():
        return End(State.finished)
    postprocessed = postprocessings(training, splits)
    checkpoints.prune(folder)
    return End(
        State.finished,
        reason,
        iteration=training.iteration,
        max_iterations=config.max_iterations,
        postprocessed=postprocessed,
        seconds=round(time.monotonic() - start, 1),
    )


def postprocessings(training: Training, splits: dict[str, Split]) -> list[str]:
    """Evaluates as `postprocess` asks for; returns the names of such rows in the record."""
    match training.config.postprocess["name"]:
        case "dense_crf":
            from bench.crf.stage import postprocess  # noqa: PLC0415 - as above

            return postprocess(training, splits)
        case "test_time_augmentation":
            from bench.run.postprocessing import evaluate_views  # noqa: PLC0415 - as above

            return evaluate_views(training, splits)
    return []


def stops(config: Config) -> list[int]:
    """Lists the iterations at which training stops to validate or to evaluate."""
    last, every = config.max_iterations, config.protocol.validation.every
    validations = range(every, last + 1, every) if every else ()
    return sorted({*(m for m in config.milestones if m < last), *validations, last})


def due_splits(config: Config, iteration: int) -> list[str]:
    """Names the splits that are evaluated at a stop, validation first."""
    protocol, validation = config.protocol, config.protocol.validation
    last = iteration == config.max_iterations
    due = []
    if validation.every and (last or iteration % validation.every == 0):
        due.append(validation.split)
    if last or iteration in config.milestones:
        due += protocol.evaluation_splits
    return list(dict.fromkeys(due))
