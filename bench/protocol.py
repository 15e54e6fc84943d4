"""The schema of a protocol: what is identical for every contestant of a comparison.

It is hashed into a run's fingerprint, see bench/config.py. This file imports no torch.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from omegaconf import MISSING

from bench.data.schema import AugmentationConfig
from bench.tuning.schema import Criterion
from bench.typed import added, added_group


class Normalisation(StrEnum):
    """How images become network input; see bench/data/normalisation.py."""

    none = "none"
    imagenet = "imagenet"
    symmetric = "symmetric"
    lcn = "lcn"
    lrn = "lrn"
    bands = "bands"


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
    def splits(self) -> list[str]:
        """Names of all that a run reads: what it trains on, validates on, and evaluates."""
        validation = [] if self.validation.every is None else [self.validation.split]
        return [self.train_split, *validation, *self.evaluation_splits]

    @property
    def measured_size(self) -> list[int]:
        """Height and width at which costs are measured: of an image or, as they vary, of a crop."""
        size = self.image_size or self.augmentation.crop
        assert size is not None, "bench/checks.py"
        return size


def depends_on_end(protocol: ProtocolConfig) -> bool:
    """Says whether training to another last iteration would be another experiment throughout."""
    return protocol.schedule != Schedule.constant


def copies_on_disk(protocol: ProtocolConfig) -> tuple[int, int]:
    """Returns how many times its weights a checkpoint of a run has, and all that it writes at most.

    A checkpoint has, for each weight, what the optimiser keeps: momentum, AdamW two numbers. There
    are three while one is renamed, and two sets of weights as evaluated, one more while written.
    """
    checkpoint = 3 if protocol.optimiser == Optimiser.adamw else 2
    return checkpoint, 3 * checkpoint + 3
