"""What the types of a configuration cannot say of a value: that it can work. Imports no torch.

A data set is looked at by bench/data/check.py, a machine by bench/cost/check.py, a network by
bench/doctor; and before each training by bench/run/contract.py.
"""

import re
from collections.abc import Sequence
from typing import Any

from bench.band_checks import check_bands
from bench.config import Config, variant_of
from bench.cost.schema import check_cost
from bench.data.class_file import check_different
from bench.pretraining import KEY, WEIGHTS, check_pretraining
from bench.protocol import InferenceMode, Optimiser, ProtocolConfig, Schedule
from bench.records import evaluation_name
from bench.signature import parameters
from bench.target import check_arguments, check_target
from bench.tuning.checks import check_tuned
from bench.typed import refuse_unknown

Requirement = tuple[str, bool, str]  # key, whether its value will do, what else it must be
OPTIONAL_COUNT = "1 or more, or null"
POSTPROCESSES = ("none", "dense_crf", "test_time_augmentation")
DEVICES = r"auto|cpu|cuda(:\d+)?"


def check(config: Config) -> None:
    """Rejects values whose type is right and whose meaning is not.

    Raises:
        ValueError: naming the key, its value and the remedy.
    """
    requirements = [
        *_of_the_protocol(config),
        *_of_the_augmentation(config),
        *_of_the_inference(config),
        *_of_the_run(config),
        *_of_the_data(config),
    ]
    for key, holds, remedy in requirements:
        if not holds:
            raise ValueError(f"{key} is {_value(config, key)}; it must be {remedy}")
    _check_names_of_splits(config.protocol)
    check_different(config.dataset.classes, config.dataset.colours, "dataset")
    check_cost(config.cost)
    check_tuned(config)
    check_target("arch", config.arch.get("_target_"))
    check_target("dataset.reader", config.dataset.reader.get("_target_"))
    check_arguments("arch", config.arch, ["name", KEY])
    check_arguments("dataset.reader", config.dataset.reader)
    check_bands(config)
    check_pretraining(config)
    _check_postprocess(config.postprocess)


def _check_names_of_splits(protocol: ProtocolConfig) -> None:
    """Rejects a split whose name cannot be that of a file, before a network is trained for it.

    Raises:
        ValueError: naming the key and the split.
    """
    named = [("evaluation_splits", split) for split in protocol.evaluation_splits]
    for key, split in [*named, ("validation.split", protocol.validation.split)]:
        try:
            evaluation_name(split, 0)
        except ValueError as error:
            raise ValueError(f"protocol.{key}: {error}") from error


def _check_postprocess(postprocess: dict[str, Any]) -> None:
    """Rejects unknown keys of a post-processing, which is done after the training.

    Raises:
        ValueError: naming the key and the nearest one that there is.
    """
    if postprocess["name"] == "none":
        refuse_unknown(postprocess, ["name"], "postprocess")
        return
    if postprocess["name"] == "test_time_augmentation":
        _check_views(postprocess)
        return
    refuse_unknown(postprocess, ["name", "splits", "fixed", "search"], "postprocess")
    fixed, searched = (parameters(f"bench.crf.search.{name}") for name in ("Fixed", "Appearance"))
    assert fixed is not None
    assert searched is not None
    refuse_unknown(postprocess["fixed"], fixed, "postprocess.fixed")
    refuse_unknown(postprocess["search"], ["images", "rounds", *searched], "postprocess.search")


def _check_views(postprocess: dict[str, Any]) -> None:
    refuse_unknown(postprocess, ["name", "splits", "scales", "mirror"], "postprocess")
    scales, mirror = postprocess["scales"], postprocess["mirror"]
    numbers = isinstance(scales, list) and all(type(scale) in (int, float) for scale in scales)
    if not numbers or not scales or min(scales) <= 0 or len({*scales}) < len(scales):
        raise ValueError(
            f"postprocess.scales is {scales}; it must be a list of different numbers above 0"
        )
    if type(mirror) is not bool:
        raise ValueError(f"postprocess.mirror is {mirror}; it must be true or false")


def _of_the_run(config: Config) -> list[Requirement]:
    batch_size, device = config.protocol.batch_size, config.device
    starts_elsewhere = config.init_from is not None
    alone = config.processes == 1 and not config.protocol.compile
    return [
        ("seed", config.seed >= 0, "0 or more"),
        ("max_iterations", config.max_iterations >= 1, "1 or more"),
        ("milestones", min(config.milestones, default=1) >= 1, "iterations from 1 up"),
        ("checkpoint_minutes", config.checkpoint_minutes > 0, "above 0"),
        ("silence_minutes", config.silence_minutes > 0, "above 0"),
        ("threads", _optional_count(config.threads), OPTIONAL_COUNT),
        ("processes", 1 <= config.processes <= batch_size, "from 1 to protocol.batch_size"),
        (
            "cuda_graph",
            alone or not config.cuda_graph,
            "false with processes above 1 or protocol.compile=true",
        ),
        (
            "protocol.image_size",
            config.protocol.input_size is not None or not config.cost.measure,
            "[height, width] where cost.measure=true, or protocol.augmentation.crop be given",
        ),
        (
            "cost.backward",
            not (config.cost.measure and config.cost.backward and variant_of(config.postprocess)),
            "false where the cost of postprocess=test_time_augmentation is measured",
        ),
        ("device", re.fullmatch(DEVICES, device) is not None, "auto, cpu, cuda or cuda:N"),
        (
            "postprocess.name",
            config.postprocess.get("name") in POSTPROCESSES,
            f"one of {', '.join(POSTPROCESSES)}",
        ),
        (
            "device",
            config.processes == 1 or not device.startswith("cuda:"),
            f"auto, cpu or cuda where processes={config.processes}: each takes a GPU of its own",
        ),
        ("init_iteration", _optional_count(config.init_iteration), OPTIONAL_COUNT),
        *(
            (
                f"arch.{key}",
                not starts_elsewhere or config.arch.get(key) is None,
                "null where init_from=RUN gives the weights",
            )
            for key in WEIGHTS
        ),
    ]


def _of_the_protocol(config: Config) -> list[Requirement]:
    p, d = config.protocol, config.dataset
    validation, weights = p.validation, p.class_weights
    known = ["none", "median_frequency", "plain_frequency", *d.published_class_weights]
    remedy = f"one of {', '.join(known)}, or a list of {len(d.classes)} numbers"
    return [
        (
            "protocol.image_size",
            _is_optional_size(p.image_size),
            "[height, width] in pixels, or null: each image's own",
        ),
        ("protocol.batch_size", p.batch_size >= 1, "1 or more"),
        ("protocol.lr", p.lr > 0, "above 0"),
        ("protocol.momentum", 0 <= p.momentum < 1, "in [0, 1)"),
        ("protocol.weight_decay", p.weight_decay >= 0, "0 or more"),
        (
            "protocol.batch_norm.shift_decay_factor",
            (p.batch_norm.shift_decay_factor or 0) >= 0,
            "0 or more, or null",
        ),
        *_of_the_updates(config),
        ("protocol.dropout", 0 <= p.dropout < 1, "in [0, 1)"),
        ("protocol.class_weights", isinstance(weights, list) or weights in known, remedy),
        ("protocol.batch_norm.images", _optional_count(p.batch_norm.images), OPTIONAL_COUNT),
        ("protocol.validation.every", _optional_count(validation.every), OPTIONAL_COUNT),
        ("protocol.validation.patience", _optional_count(validation.patience), OPTIONAL_COUNT),
        ("protocol.evaluation_splits", bool(p.evaluation_splits), "at least one split"),
    ]


def _of_the_updates(config: Config) -> list[Requirement]:
    p, last = config.protocol, config.max_iterations
    adamw, poly = p.optimiser == Optimiser.adamw, p.schedule == Schedule.poly
    clip, unused = p.clip_norm, "{} unless protocol.{}"
    return [
        ("protocol.second_momentum", 0 <= p.second_momentum < 1, "in [0, 1)"),
        (
            "protocol.second_momentum",
            adamw or p.second_momentum == ProtocolConfig.second_momentum,
            unused.format(ProtocolConfig.second_momentum, "optimiser=adamw"),
        ),
        ("protocol.norm_decay_factor", p.norm_decay_factor >= 0, "0 or more"),
        ("protocol.encoder_lr_factor", p.encoder_lr_factor >= 0, "0 or more"),
        ("protocol.clip_norm", clip is None or clip > 0, "above 0, or null"),
        (
            "protocol.warm_up_iterations",
            0 <= p.warm_up_iterations < max(1, last),
            f"0 or more, and below max_iterations={last}",
        ),
        ("protocol.poly_power", p.poly_power > 0, "above 0"),
        ("protocol.dice_weight", p.dice_weight >= 0, "0 or more"),
        (
            "protocol.poly_power",
            poly or p.poly_power == ProtocolConfig.poly_power,
            unused.format(ProtocolConfig.poly_power, "schedule=poly"),
        ),
    ]


def _of_the_augmentation(config: Config) -> list[Requirement]:
    size, a = config.protocol.image_size, config.protocol.augmentation
    low, high = a.scale if a.scale is not None and len(a.scale) == 2 else (1.0, 1.0)
    factors = [(name, getattr(a, name)) for name in ("brightness", "contrast", "saturation")]
    key = "protocol.augmentation"
    return [
        (
            f"{key}.scale",
            a.scale is None or (len(a.scale) == 2 and 0 < low <= high),
            "[lowest, highest] factor, both above 0, or null",
        ),
        (f"{key}.crop", _is_optional_size(a.crop), "[height, width] in pixels, or null"),
        (
            f"{key}.crop",
            a.crop is None or size is None or fits(a.crop, size, high),
            f"within protocol.image_size={size}, enlarged by at most {high:g}, or it would never "
            "be full",
        ),
        *((f"{key}.{name}", 0 <= value <= 1, "from 0 to 1") for name, value in factors),
    ]


def fits(crop: list[int], size: Sequence[int], scale: float) -> bool:
    """Says whether a crop can lie within an image of (H, W) that is enlarged by a factor."""
    return all(part <= scale * side for part, side in zip(crop, size, strict=False))


def _of_the_inference(config: Config) -> list[Requirement]:
    size, i = config.protocol.image_size, config.protocol.inference
    if i.mode == InferenceMode.whole:
        return [
            (f"protocol.inference.{name}", getattr(i, name) is None, "null where mode=whole")
            for name in ("crop", "stride")
        ]
    sizes = [("crop", i.crop), ("stride", i.stride)]
    return [
        *(
            (
                f"protocol.inference.{name}",
                value is not None and _is_size(value),
                "[height, width] in pixels where mode=slide",
            )
            for name, value in sizes
        ),
        (
            "protocol.inference.stride",
            fits(i.stride or [], i.crop or [], 1.0),
            f"at most protocol.inference.crop={i.crop}, or pixels would be left out",
        ),
        (
            "protocol.inference.crop",
            size is None or fits(i.crop or [], size, 1.0),
            f"within protocol.image_size={size}",
        ),
    ]


def _of_the_data(config: Config) -> list[Requirement]:
    d, classes = config.dataset, len(config.dataset.classes)
    return [
        ("dataset.limit", _optional_count(d.limit), OPTIONAL_COUNT),
        ("dataset.classes", classes >= 2, "at least two names"),
        ("dataset.colours", len(d.colours) == classes, f"{classes} of [R, G, B]"),
        ("dataset.void", classes <= d.void <= 255, f"from {classes} to 255"),
    ]


def _optional_count(value: int | None) -> bool:
    return value is None or value >= 1


def _is_optional_size(size: list[int] | None) -> bool:
    return size is None or _is_size(size)


def _is_size(size: list[int]) -> bool:
    return len(size) == 2 and min(size) >= 1


def _value(config: Config, key: str) -> Any:
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else getattr(node, part)
    return node
