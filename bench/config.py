"""The schema of a run: every key that is ours, its type and its meaning.

Hydra merges conf/ into these dataclasses, so a value of the wrong type is rejected when the
configuration is composed. What types cannot say, bench/checks.py says. This file imports no torch.

Two subtrees define the experiment and are hashed into its fingerprint: `dataset` and `protocol`;
where `tuning` is given, it stands there in the place of the values that it chooses. `arch`, `seed`,
these values and, where it is given, `init_from` complete a run's identity. Every other key says
where and how far to run, or, as `postprocess`, adds rows and changes none.
"""

import hashlib
import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from bench import records
from bench.cost.schema import CostConfig
from bench.data.schema import (
    GONE,
    NOT_IN_FINGERPRINT,
    AugmentationConfig,
    DatasetConfig,
    hashed_reader,
)
from bench.tuning.schema import Criterion, TuningConfig, hashed_tuning
from bench.typed import added, added_group, hashed, plain, typed


class Normalisation(StrEnum):
    """How 8-bit RGB images become network input; see bench/data/normalisation.py."""

    none = "none"
    imagenet = "imagenet"
    symmetric = "symmetric"
    lcn = "lcn"
    lrn = "lrn"


class LossNormaliser(StrEnum):
    """What the summed cross-entropy of a batch is divided by."""

    labelled_pixels = "labelled_pixels"
    weight_sum = "weight_sum"


class BatchNormStatistics(StrEnum):
    """How batch-norm statistics of many batches become one; see bench/run/batch_norm.py."""

    paper = "paper"
    exact = "exact"


class InferenceMode(StrEnum):
    """What a network sees of an image at a time in evaluation; see bench/run/inference.py."""

    whole = "whole"
    slide = "slide"


class Precision(StrEnum):
    """Arithmetic of the convolutions."""

    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"


class Optimiser(StrEnum):
    """How gradients become weight updates; see bench/run/optimiser.py."""

    sgd = "sgd"
    adamw = "adamw"


class Schedule(StrEnum):
    """How the learning rate goes over the iterations; see bench/run/schedule.py."""

    constant = "constant"
    poly = "poly"
    cosine = "cosine"


class WandbMode(StrEnum):
    """Where wandb sends a run."""

    disabled = "disabled"
    offline = "offline"
    online = "online"


@dataclass
class BatchNormConfig:
    """The pass over the training set that sets batch-norm statistics before each evaluation."""

    eps: float = MISSING
    statistics: BatchNormStatistics = MISSING
    images: int | None = MISSING  # how many training images; null: all of them
    shift_decay_factor: float | None = added(None)  # of weight_decay; null: bias_decay_factor


@dataclass
class ValidationConfig:
    """Selecting the best iteration on a validation split, and stopping early."""

    split: str = MISSING
    every: int | None = MISSING  # iterations between validations; null: no validation
    criterion: Criterion = MISSING
    patience: int | None = MISSING  # stop after so many validations without a gain; null: never


@dataclass
class InferenceConfig:
    """How an image becomes logits in evaluation and prediction."""

    mode: InferenceMode = added(InferenceMode.whole)
    crop: list[int] | None = added(None)  # of slide: height, width of a window
    stride: list[int] | None = added(None)  # of slide: rows, columns from one window to the next


@dataclass
class ProtocolConfig:
    """What is identical for every contestant of a comparison."""

    name: str = MISSING
    train_split: str = MISSING
    image_size: list[int] | None = MISSING  # height, width; null: each image's own
    normalisation: Normalisation = MISSING
    mirror: bool = MISSING
    augmentation: AugmentationConfig = added_group(AugmentationConfig)
    batch_size: int = MISSING
    lr: float = MISSING
    momentum: float = MISSING
    weight_decay: float = MISSING
    bias_lr_factor: float = MISSING  # biases of convolutions, not of batch norm
    bias_decay_factor: float = MISSING  # all biases, and batch-norm shifts without their own
    class_weights: Any = MISSING  # see bench/data/class_weights.py
    loss_normaliser: LossNormaliser = MISSING
    dropout: float = MISSING
    batch_norm: BatchNormConfig = field(default_factory=BatchNormConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    evaluation_splits: list[str] = MISSING
    inference: InferenceConfig = added_group(InferenceConfig)
    precision: Precision = MISSING
    channels_last: bool = MISSING
    compile: bool = False  # torch.compile in training; evaluation runs the network as it is
    deterministic: bool = MISSING
    optimiser: Optimiser = added(Optimiser.sgd)
    second_momentum: float = added(0.999)  # of adamw, whose first is `momentum`
    norm_decay_factor: float = added(1.0)  # scales of batch, layer and group norm
    encoder_lr_factor: float = added(1.0)  # parameters that the network loaded
    clip_norm: float | None = added(None)  # gradients are scaled down to this norm; null: never
    schedule: Schedule = added(Schedule.constant)
    warm_up_iterations: int = added(0)  # the rate rises linearly over so many
    poly_power: float = added(0.9)  # of the poly schedule
    dice_weight: float = added(0.0)  # of the soft Dice loss, added to the cross-entropy

    @property
    def input_size(self) -> list[int] | None:
        """Height and width of what the network is trained on; None: the images' own size."""
        return self.augmentation.crop or self.image_size

    @property
    def measured_size(self) -> list[int]:
        """Height and width at which costs are measured: of an image or, as they vary, of a crop."""
        size = self.image_size or self.augmentation.crop
        assert size is not None, "bench/checks.py"
        return size


@dataclass
class WandbConfig:
    """Weights & Biases; its failure never ends a run."""

    mode: WandbMode = WandbMode.disabled
    project: str = "segbench"


@dataclass
class Config:
    """One run."""

    arch: dict[str, Any] = MISSING
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    tuning: TuningConfig | None = None  # trials that choose values of the protocol; null: none
    postprocess: dict[str, Any] = field(default_factory=lambda: {"name": "none"})
    cost: CostConfig = field(default_factory=CostConfig)
    seed: int = 0
    max_iterations: int = MISSING
    iterations_by_network: dict[str, int] = field(default_factory=dict)
    milestones: list[int] = MISSING  # evaluated there and at max_iterations
    init_from: str | None = None  # a run's folder: start from its weights, best or else last
    init_iteration: int | None = None  # iteration of those weights; null: the selected one
    runs: str = "runs"  # the folder that holds all runs
    device: str = "auto"  # auto | cpu | cuda | cuda:N
    threads: int | None = None  # CPU threads of each process; null: torch's choice
    processes: int = 1  # that share the run on this machine, one a GPU
    cuda_graph: bool = False  # have a GPU replay training iterations as one launch; same numbers
    start: bool = True  # false: prepare the folder and say how torchrun starts it on several nodes
    checkpoint_minutes: float = 10.0
    silence_minutes: float = 60.0  # a run that gives no sign of life for so long is killed
    dry_run: bool = False  # say what would run, and stop
    rerun: bool = False  # start afresh; an old result is kept under another name
    accept_changes: bool = False  # resume although sources, torch, device or threads changed
    command: str = ""  # filled in by the entry: how the run was called, to call it again
    config_dir: str | None = None  # filled in likewise: the folder of a user's own network
    replay_of: str | None = None  # filled in by --from: the run whose configuration this was
    wandb: WandbConfig = field(default_factory=WandbConfig)


@dataclass
class ComposedConfig(Config):
    """A configuration as Hydra composes it, before `resolve`."""

    # null: what iterations_by_network says of the network
    max_iterations: int | None = MISSING  # type: ignore[assignment]


ConfigStore.instance().store(name="schema", node=ComposedConfig)


def fingerprint(config: Config) -> str:
    """Hashes what a comparison must share: the `dataset` and `protocol` subtrees, and `tuning`.

    And the last iteration, where the learning rate of every iteration depends on it.
    """
    dataset = {k: v for k, v in hashed(config.dataset).items() if k not in NOT_IN_FINGERPRINT}
    dataset["reader"] = hashed_reader(config.dataset.reader)
    protocol = hashed(config.protocol)
    content = {"dataset": dataset, "protocol": protocol, **hashed_tuning(config.tuning, protocol)}
    if depends_on_end(config.protocol):
        content["max_iterations"] = config.max_iterations
    return _digest(content)


def depends_on_end(protocol: ProtocolConfig) -> bool:
    """Says whether training to another last iteration would be another experiment throughout."""
    return protocol.schedule != Schedule.constant


def optimiser_states(protocol: ProtocolConfig) -> int:
    """Returns how many numbers the optimiser keeps for each weight: momentum; AdamW's two."""
    return 2 if protocol.optimiser == Optimiser.adamw else 1


def identity(config: Config) -> str:
    """Hashes what makes two runs the same run: the fingerprint, the network and the seed.

    And, of a tuned run, the protocol with the values chosen; of a run that starts from another
    one's weights, which: by name, so that it may move. What is said of weights
    (bench/pretraining.py) makes no other run of them.
    """
    arch = {key: value for key, value in config.arch.items() if key != "pretraining"}
    parts = [fingerprint(config), arch, config.seed]
    if config.tuning is not None:
        parts.append(hashed(config.protocol))
    if config.init_from is not None:
        parts.append([Path(config.init_from).name, config.init_iteration])
    return _digest(parts)


def variant_of(postprocess: dict[str, Any]) -> str:
    """Names the row of an evaluation in several views by what they are; "" where none is made."""
    if postprocess["name"] != "test_time_augmentation":
        return ""
    scales = "-".join(f"{scale:g}" for scale in postprocess["scales"])
    return f"TTA-{scales}{'-mirrored' if postprocess['mirror'] else ''}"


def run_folder(config: Config) -> Path:
    """Returns the folder that belongs to a run: readable parts, then its identity."""
    parts = [config.dataset.name, config.protocol.name, config.arch["name"]]
    readable = "-".join("".join(c if c.isalnum() else "_" for c in part) for part in parts)
    name = f"{readable}-seed{config.seed}-{identity(config)}"
    return Path(config.runs).absolute() / name.lower()


def write_config(folder: Path, config: Config) -> None:
    """Writes what a run is to do, before it begins."""
    content = {
        "fingerprint": fingerprint(config),
        "config": plain(config),
    }
    records.write_json(folder / "config.json", content)


def read_config(folder: Path) -> Config:
    """Reads the configuration of a recorded run.

    Raises:
        ValueError: the folder is no run, or its record is not of this version.
    """
    try:
        return typed(Config, recorded(folder))
    except ValueError as error:
        path = folder / "config.json"
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} is not the record of a run: {error}") from error


def recorded(folder: Path) -> dict[str, Any]:
    """Reads a run's configuration as it was written, but for keys of old that changed no result.

    Raises:
        ValueError: the folder is no run.
    """
    path = folder / "config.json"
    config = records.read_json(path).get("config")
    if not isinstance(config, dict):
        raise ValueError(f"{path}: not the record of a run")
    dataset = config.get("dataset")
    if isinstance(dataset, dict):
        config["dataset"] = {key: value for key, value in dataset.items() if key not in GONE}
    return config


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
