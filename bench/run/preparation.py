"""Everything between a configuration and the first iteration: build, announce, resume, record."""

import shutil
from pathlib import Path

import torch

from bench import records
from bench.config import Config, identity
from bench.data.class_weights import class_weights
from bench.data.splits import Split
from bench.run import checkpoints, distributed
from bench.run.device import has_fast_bf16
from bench.run.environment import changes, describe_environment
from bench.run.init_from import describe, start_from_run
from bench.run.monitor import Monitor
from bench.run.network import build_network, check_logits, placed
from bench.run.training import Training, make_optimiser, seconds_per_iteration
from bench.words import DAY, duration


def wanted_splits(config: Config) -> list[str]:
    """Names every split the run will read."""
    protocol = config.protocol
    validates = protocol.validation.every is not None
    validation = [protocol.validation.split] if validates else []
    return [protocol.train_split, *validation, *protocol.evaluation_splits]


def prepare_training(
    config: Config,
    folder: Path,
    splits: dict[str, Split],
    device: torch.device,
    monitor: Monitor,
) -> Training:
    """Builds network, optimiser and class weights.

    Raises:
        ValueError: the training split is smaller than a batch, or the network breaks the contract.
    """
    protocol, dataset = config.protocol, config.dataset
    split = splits[protocol.train_split]
    if protocol.batch_size > len(split.names):
        raise ValueError(
            f"protocol.batch_size is {protocol.batch_size}, but split {split.name!r} has only "
            f"{len(split.names)} images; lower it or raise dataset.limit"
        )
    weights = class_weights(protocol.class_weights, split.pixels, dataset)
    network = placed(start_from_run(build_network(config), config), protocol, device)
    check_logits(network, config, device)
    return Training(
        config=config,
        folder=folder,
        network=network,
        model=distributed.training_model(network, device, compiled=protocol.compile),
        optimiser=make_optimiser(network, protocol),
        split=split,
        class_weights=None
        if weights is None
        else torch.tensor(weights, dtype=torch.float32, device=device),
        device=device,
        monitor=monitor,
    )


def check_pictures(config: Config, splits: dict[str, Split]) -> None:
    """Rejects dataset.pictures that no evaluated split contains.

    Raises:
        ValueError: naming it.
    """
    evaluated = config.protocol.evaluation_splits
    names = {name for split in evaluated for name in splits[split].names}
    for name in config.dataset.pictures:
        if name not in names:
            raise ValueError(
                f"dataset.pictures names {name!r}, which is no image of {', '.join(evaluated)}; "
                f"they are named like {min(names)!r}"
            )


def announce(training: Training, splits: dict[str, Split]) -> None:
    """Says what will run, how large it is and how long it will take; checks the disk.

    Raises:
        ValueError: the disk is too full for the run's checkpoints.
    """
    config, notice = training.config, training.monitor.notice
    protocol, network = config.protocol, describe(training.network, config)
    counts = ", ".join(f"{len(split.names)} {name}" for name, split in splits.items())
    epochs = config.max_iterations * protocol.batch_size / len(training.split.names)
    notice(
        f"{config.arch['name']}: {network['parameters'] / 1e6:.3f} M parameters "
        f"({network['initialisation']}), {config.dataset.name} ({counts}; "
        f"{training.split.residence}), protocol {protocol.name}, "
        f"{config.max_iterations} iterations ({epochs:.1f} epochs)"
    )
    # Weights and momentum, three times while a checkpoint is renamed; two sets of weights, one more
    # while written. Predictions and evidence are some 10 kB an image.
    images = sum(len(splits[name].names) for name in protocol.evaluation_splits)
    need = 9 * network["model_bytes"] + 20_000 * images
    there = sum(path.stat().st_size for path in training.folder.glob("*.pt"))
    free = shutil.disk_usage(training.folder).free
    if free < need - there:
        raise ValueError(
            f"runs={config.runs} has {free / 1e6:.1f} MB free and this run needs up to "
            f"{max(0, need - there) / 1e6:.1f} MB; free some space or set runs=PATH to another disk"
        )
    each = seconds_per_iteration(training)
    seconds = each * config.max_iterations
    notice(
        f"about {duration(seconds)} of training on this device ({each:.2f} s an iteration), plus "
        f"evaluation; up to {need / 1e6:.0f} MB on disk"
    )
    if protocol.precision == "bf16" and training.device.type == "cpu" and not has_fast_bf16():
        notice("protocol.precision=bf16 is emulated by this CPU; protocol.precision=fp32 is faster")
    if seconds > DAY and protocol.name != "short":
        notice(f"for a result today: {config.command} protocol=short")


def resume(training: Training) -> None:
    """Continues from the newest sound checkpoint, if there is one.

    Raises:
        ValueError: what ran then is not what would run now, and that was not accepted.
    """
    folder, config = training.folder, training.config
    state = distributed.first_alone(lambda: checkpoints.load_checkpoint(folder, training.monitor))
    if state is None:
        if distributed.is_first():
            records.cut_losses(folder, 0)
        return
    if state.get("identity") not in (None, identity(config)):
        raise ValueError(
            f"the checkpoint in {folder} is of another run (identity {state['identity']}); "
            "restore its own, or start afresh with rerun=true"
        )
    then = records.read_json(folder / "environment.json")
    changed = changes(then, describe_environment(config, training.device))
    if changed and not config.accept_changes:
        raise ValueError(
            f"{folder.name} has a checkpoint at iteration {state['iteration']}, but since then "
            f"{'; '.join(changed)}: give accept_changes=true to go on, or rerun=true for a new run"
        )
    training.restore(state)
    assert distributed.agreed(training.iteration) == training.iteration
    if distributed.is_first():
        records.cut_losses(folder, training.iteration)
    training.monitor.notice(f"resuming at iteration {training.iteration}")
    for text in changed:
        training.monitor.notice(f"accepted change: {text}")


def record_start(training: Training, splits: dict[str, Split]) -> None:
    """Writes what is known before training: environment, network, data.

    Raises:
        ValueError: the data are not those the run began with.
    """
    if not distributed.is_first():
        return
    folder, weights = training.folder, training.class_weights
    data = {
        "splits": {n: {"images": len(s.names), "digest": s.digest} for n, s in splits.items()},
        "class_weights": None if weights is None else weights.tolist(),
    }
    if training.iteration > 0 and records.read_json(folder / "data.json") != data:
        raise ValueError(
            f"the data under dataset.root={training.config.dataset.root} differ from those "
            f"{folder.name} was trained on; restore them, or start afresh with rerun=true"
        )
    records.write_json(folder / "data.json", data)
    records.write_json(folder / "network.json", describe(training.network, training.config))
    environment = describe_environment(training.config, training.device)
    if training.iteration > 0:
        then = records.read_json(folder / "environment.json")
        environment["accepted_changes"] = [
            *then.get("accepted_changes", []),
            *(f"iteration {training.iteration}: {text}" for text in changes(then, environment)),
        ]
    records.write_json(folder / "environment.json", environment)
