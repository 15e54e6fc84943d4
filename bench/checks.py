"""What the types of bench/config.py cannot say of a value: that it can work. Imports no torch."""

import re
from typing import Any

from bench.config import Config
from bench.cost.schema import check_cost
from bench.data.class_file import check_different
from bench.signature import parameters
from bench.target import check_arguments, check_target
from bench.tuning.checks import check_tuned
from bench.typed import refuse_unknown

Requirement = tuple[str, bool, str]  # key, whether its value will do, what else it must be
OPTIONAL_COUNT = "1 or more, or null"
POSTPROCESSES = ("none", "dense_crf")
DEVICES = r"auto|cpu|cuda(:\d+)?"


def check(config: Config) -> None:
    """Rejects values whose type is right and whose meaning is not.

    Raises:
        ValueError: naming the key, its value and the remedy.
    """
    requirements = [*_of_the_protocol(config), *_of_the_run(config), *_of_the_data(config)]
    for key, holds, remedy in requirements:
        if not holds:
            raise ValueError(f"{key} is {_value(config, key)}; it must be {remedy}")
    check_different(config.dataset.classes, config.dataset.colours, "dataset")
    check_cost(config.cost)
    check_tuned(config)
    check_target("arch", config.arch.get("_target_"))
    check_target("dataset.reader", config.dataset.reader.get("_target_"))
    check_arguments("arch", config.arch, ["name"])
    check_arguments("dataset.reader", config.dataset.reader)
    _check_postprocess(config.postprocess)


def _check_postprocess(postprocess: dict[str, Any]) -> None:
    """Rejects unknown keys of a post-processing, which is done after the training.

    Raises:
        ValueError: naming the key and the nearest one that there is.
    """
    if postprocess["name"] == "none":
        refuse_unknown(postprocess, ["name"], "postprocess")
        return
    refuse_unknown(postprocess, ["name", "splits", "fixed", "search"], "postprocess")
    fixed, searched = (parameters(f"bench.crf.search.{name}") for name in ("Fixed", "Appearance"))
    assert fixed is not None
    assert searched is not None
    refuse_unknown(postprocess["fixed"], fixed, "postprocess.fixed")
    refuse_unknown(postprocess["search"], ["images", "rounds", *searched], "postprocess.search")


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
        ("device", re.fullmatch(DEVICES, device) is not None, "auto, cpu, cuda or cuda:N"),
        ("postprocess.name", config.postprocess.get("name") in POSTPROCESSES, "none or dense_crf"),
        (
            "device",
            config.processes == 1 or not device.startswith("cuda:"),
            f"auto, cpu or cuda where processes={config.processes}: each takes a GPU of its own",
        ),
        ("init_iteration", _optional_count(config.init_iteration), OPTIONAL_COUNT),
        (
            "arch.weights",
            not starts_elsewhere or config.arch.get("weights") is None,
            "null where init_from=RUN gives the weights",
        ),
    ]


def _of_the_protocol(config: Config) -> list[Requirement]:
    p, d = config.protocol, config.dataset
    validation, weights = p.validation, p.class_weights
    known = ["none", "median_frequency", "plain_frequency", *d.published_class_weights]
    remedy = f"one of {', '.join(known)}, or a list of {len(d.classes)} numbers"
    return [
        ("protocol.image_size", _is_size(p.image_size), "[height, width] in pixels"),
        ("protocol.batch_size", p.batch_size >= 1, "1 or more"),
        ("protocol.lr", p.lr > 0, "above 0"),
        ("protocol.momentum", 0 <= p.momentum < 1, "in [0, 1)"),
        ("protocol.weight_decay", p.weight_decay >= 0, "0 or more"),
        (
            "protocol.batch_norm.shift_decay_factor",
            (p.batch_norm.shift_decay_factor or 0) >= 0,
            "0 or more, or null",
        ),
        ("protocol.dropout", 0 <= p.dropout < 1, "in [0, 1)"),
        ("protocol.class_weights", isinstance(weights, list) or weights in known, remedy),
        ("protocol.batch_norm.images", _optional_count(p.batch_norm.images), OPTIONAL_COUNT),
        ("protocol.validation.every", _optional_count(validation.every), OPTIONAL_COUNT),
        ("protocol.validation.patience", _optional_count(validation.patience), OPTIONAL_COUNT),
        ("protocol.evaluation_splits", bool(p.evaluation_splits), "at least one split"),
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


def _is_size(size: list[int]) -> bool:
    return len(size) == 2 and min(size) >= 1


def _value(config: Config, key: str) -> Any:
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else getattr(node, part)
    return node
