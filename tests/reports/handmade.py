"""Runs and cost records made by hand, of numbers that a reader can check."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench import records
from bench.command_line import compose_config
from bench.losses import append_losses
from bench.typed import plain

CLASSES = ["Sky", "Road", "Car"]
COLOURS = [[128, 128, 128], [128, 64, 128], [64, 0, 128]]
IMAGES = 120  # twelve blocks of ten frames


def configuration(
    name: str = "SegNet-Basic",
    seed: int = 0,
    *,
    dataset: str = "CamVid",
    classes: Sequence[str] = CLASSES,
    sequence: str | None = "^([a-z])",
    max_iterations: int = 100,
    arch: dict[str, Any] | None = None,
    **protocol: Any,
) -> dict[str, Any]:
    """A resolved configuration, as far as reports read it."""
    return {
        "arch": {"name": name, "_target_": f"architectures.basic.{name}", **(arch or {})},
        "dataset": {
            "name": dataset,
            "root": "no such folder",
            "reader": {"_target_": "bench.data.camvid.read"},
            "classes": list(classes),
            "colours": [COLOURS[i % 3] for i in range(len(classes))],
            "void": 255,
            "sequence": sequence,
            "note": "",
        },
        "protocol": {
            "name": "table1",
            "train_split": "train",
            "image_size": [360, 480],
            "class_weights": "none",
            "batch_size": 12,
            "lr": 0.1,
            "validation": {"split": "val", "every": None, "criterion": "G", "patience": None},
            "evaluation_splits": ["test"],
            **protocol,
        },
        "seed": seed,
        "max_iterations": max_iterations,
        "milestones": [],
        "command": f"python -m bench arch={name}",
    }


def whole_configuration(seed: int = 0) -> dict[str, Any]:
    """A configuration with all keys, of four iterations, for the classes of this file."""
    overrides = ["arch=segnet_basic", "dataset=synthetic", "protocol=demo", "max_iterations=4"]
    found = plain(compose_config([*overrides, f"seed={seed}"]))
    found["dataset"].update(classes=CLASSES, colours=COLOURS)
    return found


def evidence(
    right: float, classes: int = 3, images: int = IMAGES, spread: int = 0
) -> dict[str, np.ndarray[Any, Any]]:
    """Images of 100 pixels a class, of which a share is right and the rest goes to the next class.

    Args:
        right: the share.
        classes: K.
        images: N, half of them of sequence a, half of b.
        spread: by how many pixels ten images are better, the next ten worse, and so on.
    """
    confusion = np.zeros((images, classes + 1, classes + 1), np.int32)
    boundaries = np.zeros((images, classes, 5), np.int32)
    for image in range(images):
        hits = round(100 * right) + (-spread if image // 10 % 2 else spread)
        for index in range(classes):
            confusion[image, index, index] = hits
            confusion[image, index, (index + 1) % classes] += 100 - hits
        boundaries[image] = (100, 100, hits, hits, hits)
    names = np.array([f"{'ab'[2 * i // images]}{i:04d}" for i in range(images)])
    return {"names": names, "confusion": confusion, "boundaries": boundaries}


def write_run(
    runs: Path,
    config: dict[str, Any],
    shares: dict[tuple[str, int], float],
    *,
    fingerprint: str | None = None,
    state: str | None = "finished",
    spread: int = 0,
    digest: str = "d1",
    images: int = IMAGES,
    code: dict[str, str] | None = None,
) -> Path:
    """Writes the records of a run; `shares` gives the right share by (split, iteration)."""
    weighting = config["protocol"]["class_weights"]
    name = f"{config['arch']['name']}-{weighting}-seed{config['seed']}".lower()
    folder = runs / "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    folder.mkdir(parents=True)
    content = {"fingerprint": fingerprint or f"f-{weighting}", "config": config}
    records.write_json(folder / "config.json", content)
    environment = {
        "device": "Test CPU",
        "threads": 1,
        "torch": "2.15",
        "python": "3.11",
        "commit": "0123456789abcdef+",
    }
    records.write_json(folder / "environment.json", environment | ({"code": code} if code else {}))
    network = {"parameters": 1_425_000, "initialisation": "He initialisation", "loaded_weights": {}}
    records.write_json(folder / "network.json", network)
    splits = {split: {"images": images, "digest": digest} for split in ("train", "test")}
    records.write_json(folder / "data.json", {"splits": splits, "class_weights": None})
    for (split, iteration), share in shares.items():
        arrays = evidence(share, len(config["dataset"]["classes"]), images, spread)
        summary = {"split": split, "iteration": iteration, "images": images}
        records.write_evaluation(folder, summary, arrays)
    append_losses(folder, 1, [3.0, 2.0, 1.0, 0.5], 2.0)
    if state is not None:
        reason = None if state == "finished" else "it did not end well"
        records.write_json(folder / "end.json", {"state": state, "reason": reason})
    return folder


def write_many(runs: Path, count: int, images: int = 20) -> None:
    """Writes runs of 11 classes, five seeds of each network, of shares from 0.3 to 0.8."""
    classes = [f"class {index}" for index in range(11)]
    for number in range(count):
        config = configuration(f"Net {number // 5}", number % 5, classes=classes)
        share = 0.3 + 0.5 * (number * 7919 % 1000) / 1000
        write_run(runs, config, {("test", 100): share}, spread=5, images=images)


def cost_record(name: str, forward: Sequence[float], **more: Any) -> dict[str, Any]:
    """A cost record of a network, as bench writes it."""
    return {
        "version": 1,
        "kind": "cost",
        "arch": {"name": name, "_target_": f"architectures.basic.{name}"},
        "num_classes": 3,
        "image_size": [360, 480],
        "precision": "fp32",
        "environment": {"device": "Test GPU", "torch": "2.15"},
        "time": {"batch": 1, "forward_ms": list(forward), "backward_ms": [2 * f for f in forward]},
        "memory": {
            "training": {"batch": 4, "readings": {"nvml_process_bytes": 6_000_000_000}},
            "inference": {"batch": 1, "readings": {"allocated_bytes": 1_000_000_000}},
        },
        "storage": {"retained_bytes_first_level": 4 * 180 * 240},
        "work": {"parameters": 1_425_000, "model_bytes": 5_700_000},
        "state": "measured",
        "reason": None,
        **more,
    }


def write_picture(path: Path, size: tuple[int, int] = (24, 32)) -> None:
    """Writes a small label map of three vertical stripes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    label = np.repeat(np.arange(3, dtype=np.uint8), 11)[: size[1]]
    image = Image.fromarray(np.tile(label, (size[0], 1)))
    image.putpalette([channel for colour in COLOURS for channel in colour])
    image.save(path)
