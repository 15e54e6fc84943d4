"""Everything between a configuration and the first iteration: build, announce, resume, record."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench import records
from bench.config import Config, identity
from bench.data.class_weights import class_weights
from bench.data.decoding import require_labelled
from bench.data.files import some
from bench.data.splits import Split
from bench.losses import cut_losses
from bench.pretraining import KEY, check_loaded
from bench.protocol import copies_on_disk
from bench.run import checkpoints, distributed
from bench.run.contract import failures_explained, warnings
from bench.run.device import has_fast_bf16
from bench.run.environment import changes, describe_environment
from bench.run.graph import graphed
from bench.run.inference import evaluation_sizes, padded_size, size_multiple
from bench.run.init_from import require_same_weights, start_from_run
from bench.run.monitor import Monitor
from bench.run.network import build_network, check_logits, describe, placed
from bench.run.optimiser import make_optimiser, pretrained_parameters
from bench.run.training import Training, seconds_per_iteration, training_size
from bench.words import DAY, duration


def prepare_network(config: Config) -> nn.Module:
    """Builds the network with the weights that it starts from; needs no data.

    Raises:
        ValueError: it cannot be built as configured.
    """
    network = build_network(config)
    loaded: dict[str, str] = getattr(network, "loaded_weights", {})
    if loaded or KEY in config.arch:
        check_loaded(config, loaded)
    pretrained_parameters(network, config.protocol)
    return network if config.init_from is None else start_from_run(network, config)


def prepare_training(
    config: Config,
    folder: Path,
    splits: dict[str, Split],
    device: torch.device,
    monitor: Monitor,
    *,
    network: nn.Module | None = None,
) -> Training:
    """Prepares optimiser and class weights for a network, or for a new one.

    Raises:
        ValueError: the training split is smaller than a batch, its images do not make batches, the
            network breaks the contract, or there is no GPU for a CUDA graph.
    """
    protocol = config.protocol
    if config.cuda_graph and device.type != "cuda":
        raise ValueError(f"cuda_graph is true, but device={device}; set cuda_graph=false")
    split = splits[protocol.train_split]
    if protocol.batch_size > len(split.names):
        raise ValueError(
            f"protocol.batch_size is {protocol.batch_size}, but split {split.name!r} has only "
            f"{len(split.names)} images; lower it or raise dataset.limit"
        )
    weights = None
    if protocol.class_weights != "none":
        of_classes = class_weights(protocol.class_weights, split.pixels, config.dataset)
        weights = torch.tensor(of_classes, dtype=torch.float32, device=device)
    network = network or prepare_network(config)
    description = describe(network, config)
    network = placed(network, protocol, device)
    _examine(network, config, splits, device, monitor)
    optimiser = make_optimiser(network, protocol)
    return Training(
        config=config,
        folder=folder,
        network=network,
        model=distributed.training_model(network, device, compiled=protocol.compile),
        optimiser=optimiser,
        graph=graphed(optimiser, protocol) if config.cuda_graph else None,
        split=split,
        class_weights=weights,
        device=device,
        monitor=monitor,
        description=description,
    )


def _examine(
    network: nn.Module,
    config: Config,
    splits: dict[str, Split],
    device: torch.device,
    monitor: Monitor,
) -> None:
    """Holds a network to its contract, and says what it does that training would not soon show."""
    size = training_size(config, splits[config.protocol.train_split])
    evaluated = [splits[name] for name in config.protocol.splits[1:] if name in splits]
    for given_size in dict.fromkeys([size, *evaluation_sizes(config, evaluated)]):
        check_logits(network, config, device, given_size)
    height, width = padded_size(size, size_multiple(network))
    generator = torch.Generator().manual_seed(0)
    shape = (2, config.dataset.in_channels, height, width)
    images = torch.randn(shape, generator=generator).to(device)
    with failures_explained(config, len(images), "training"):
        texts = warnings(network, images)
    for text in texts:
        monitor.notice(f"WARNING {config.arch['name']}: {text}")


def check_splits(config: Config, splits: dict[str, Split]) -> None:
    """Rejects a split to train or select on without a labelled pixel, and pictures of no split.

    Raises:
        ValueError: naming the split, or the picture of dataset.pictures that none evaluated has.
    """
    evaluated = config.protocol.evaluation_splits
    for name in config.protocol.splits[: -len(evaluated)]:
        require_labelled(name, splits[name].pixels)
    names = {name for split in evaluated for name in splits[split].names}
    for name in config.dataset.pictures:
        if name not in names:
            raise ValueError(
                f"dataset.pictures names {name!r}, which is no image of {', '.join(evaluated)}; "
                f"they are named like {min(names)!r}"
            )


def announce(training: Training, splits: dict[str, Split]) -> float:
    """Says what will run, how large it is and how long it will take; checks the disk.

    Returns:
        The seconds that training will take.

    Raises:
        ValueError: the disk is too full for the run's checkpoints.
    """
    config, notice = training.config, training.monitor.notice
    protocol, network = config.protocol, training.description
    counts = ", ".join(f"{len(split.names)} {name}" for name, split in splits.items())
    epochs = config.max_iterations * protocol.batch_size / len(training.split.names)
    notice(
        f"{config.arch['name']}: {network['parameters'] / 1e6:.3f} M parameters "
        f"({network['initialisation']}), {config.dataset.name} ({counts}; "
        f"{training.split.residence}), protocol {protocol.name}, "
        f"{config.max_iterations} iterations ({epochs:.1f} epochs)"
    )
    never = np.flatnonzero(training.split.pixels[:, :-1].sum(axis=0) == 0)
    if len(never):
        notice(
            f"class {some([config.dataset.classes[index] for index in never])} has no pixel in the "
            f"labels of split {training.split.name!r}; `python -m bench.data check` says why"
        )
    need = _needed_bytes(training, splits)
    if protocol.compile:
        notice("compiling the network, once for the run; large ones take minutes")
    each = seconds_per_iteration(training)
    seconds = each * config.max_iterations
    notice(
        f"about {duration(seconds)} of training on this device ({each:.2f} s an iteration), plus "
        f"evaluation; up to {need / 1e6:.0f} MB on disk"
    )
    if protocol.precision == "bf16" and training.device.type == "cpu" and not has_fast_bf16():
        notice("protocol.precision=bf16 is emulated by this CPU; protocol.precision=fp32 is faster")
    if seconds > DAY and not protocol.name.endswith("short"):
        quick = "modern_short" if protocol.name == "modern" else "short"
        notice(f"for a result today: {config.command} protocol={quick}")
    return seconds


def _needed_bytes(training: Training, splits: dict[str, Split]) -> int:
    """Returns what the run may write, or raises ValueError where the disk has no room for it."""
    config, protocol = training.config, training.config.protocol
    # Predictions and evidence are some 10 kB an image.
    images = sum(len(splits[name].names) for name in protocol.evaluation_splits)
    _, copies = copies_on_disk(protocol)
    need = int(copies * training.description["model_bytes"] + 20_000 * images)
    there = sum(path.stat().st_size for path in training.folder.glob("*.pt"))
    free = shutil.disk_usage(training.folder).free
    if free < need - there:
        raise ValueError(
            f"runs={config.runs} has {free / 1e6:.1f} MB free and this run needs up to "
            f"{max(0, need - there) / 1e6:.1f} MB; free some space or set runs=PATH to another disk"
        )
    return need


def resume(training: Training) -> None:
    """Continues from the newest sound checkpoint, if there is one.

    Raises:
        ValueError: what ran then is not what would run now, and that was not accepted.
    """
    folder, config = training.folder, training.config
    state = distributed.first_alone(lambda: checkpoints.load_checkpoint(folder, training.monitor))
    if state is None:
        if distributed.is_first():
            cut_losses(folder, 0)
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
    _restore(training, state)
    assert distributed.agreed(training.iteration) == training.iteration
    if distributed.is_first():
        cut_losses(folder, training.iteration)
    training.monitor.notice(f"resuming at iteration {training.iteration}")
    for text in changed:
        training.monitor.notice(f"accepted change: {text}")


def _restore(training: Training, state: dict[str, Any]) -> None:
    """Takes a checkpoint's state over.

    Raises:
        ValueError: a part is missing or does not fit, or it is from beyond the last iteration.
    """
    folder, last = training.folder, training.config.max_iterations
    if state["iteration"] > last:
        raise ValueError(
            f"{folder.name} has a checkpoint at iteration {state['iteration']}, beyond "
            f"max_iterations={last}; raise that, or start afresh with rerun=true"
        )
    try:
        training.restore(state)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"the checkpoint in {folder} does not fit this run ({reason}); restore its own, or "
            "start afresh with rerun=true"
        ) from error


def record_start(training: Training, splits: dict[str, Split]) -> None:
    """Writes what is known before training: environment, network, data.

    Raises:
        ValueError: the data are not those the run began with.
    """
    if not distributed.is_first():
        return
    folder, weights = training.folder, training.class_weights
    data = {
        "splits": {
            name: {
                "images": len(split.names),
                "digest": split.digest,
                "names": records.names_digest(split.names),
            }
            for name, split in splits.items()
        },
        "class_weights": None if weights is None else weights.tolist(),
    }
    if training.iteration > 0 and not _agree(records.read_json(folder / "data.json"), data):
        raise ValueError(
            f"the data under dataset.root={training.config.dataset.root} differ from those "
            f"{folder.name} was trained on; restore them, or start afresh with rerun=true"
        )
    records.write_json(folder / "data.json", data)
    if training.iteration > 0:
        require_same_weights(folder, training.description)
    records.write_json(folder / "network.json", training.description)
    environment = describe_environment(training.config, training.device)
    if training.iteration > 0:
        then = records.read_json(folder / "environment.json")
        environment["accepted_changes"] = [
            *then.get("accepted_changes", []),
            *(f"iteration {training.iteration}: {text}" for text in changes(then, environment)),
        ]
    records.write_json(folder / "environment.json", environment)


def _agree(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Says whether two descriptions of data are of the same; older ones have no `names`."""
    splits = now["splits"].items()
    older = {name: {**entry, **before["splits"].get(name, {})} for name, entry in splits}
    return {**before, "splits": {**before["splits"], **older}} == now
