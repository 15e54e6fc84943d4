"""A split in memory: decoded once, checked completely, kept as uint8.

All labels are checked here, before training starts, so that a wrong value is an error that names
its file and not a loss that explodes.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench.config import build
from bench.data.images import UInt8Array, resize_image, resize_label
from bench.data.pairs import Pair


@dataclass(frozen=True)
class Split:
    """One split of a data set, N images.

    Attributes:
        images: uint8 (N, 3, H, W), RGB, at the size of the network's input.
        labels: uint8 (N, H, W), likewise, for training.
        truths: N label maps uint8 (h, w) at their own size, for evaluation.
        digests: N hashes of the image pixels as stored.
    """

    name: str
    names: list[str]
    images: torch.Tensor
    labels: torch.Tensor
    truths: list[UInt8Array]
    digests: list[str]

    @property
    def digest(self) -> str:
        """A hash of every name, image and label: two runs with equal digests saw equal data."""
        total = hashlib.sha256()
        for name, image, truth in zip(self.names, self.digests, self.truths, strict=True):
            total.update(f"{name} {image} {truth.shape}".encode() + truth.tobytes())
        return total.hexdigest()[:16]


def load_splits(config: dict[str, Any], names: list[str]) -> dict[str, Split]:
    """Reads the named splits of a resolved configuration.

    Raises:
        ValueError: a pair cannot be read, its sizes differ, a label value has no class, or one
            image stands in two splits.
    """
    splits = {name: _load(config, name) for name in dict.fromkeys(names)}
    _require_disjoint(list(splits.values()))
    return splits


def pairs_of(dataset: dict[str, Any], split: str) -> list[Pair]:
    """Returns the unread pairs of a split, as many as `dataset.limit` allows."""
    arguments = {"split": split}
    if dataset["root"] is not None:
        arguments["root"] = dataset["root"]
    pairs: list[Pair] = build("dataset.reader", dataset["reader"], **arguments)
    return pairs[: dataset["limit"]]


def _load(config: dict[str, Any], name: str) -> Split:
    pairs = pairs_of(config["dataset"], name)
    height, width = config["protocol"]["image_size"]
    images = np.empty((len(pairs), height, width, 3), np.uint8)
    labels = np.empty((len(pairs), height, width), np.uint8)
    truths: list[UInt8Array] = []
    digests: list[str] = []
    for index, (image, truth) in enumerate(_decoded(pairs, config["dataset"])):
        images[index] = resize_image(image, height, width)
        labels[index] = resize_label(truth, height, width)
        truths.append(truth)
        digests.append(hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest())
    return Split(
        name=name,
        names=[pair.name for pair in pairs],
        images=torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
        labels=torch.from_numpy(labels),
        truths=truths,
        digests=digests,
    )


def _decoded(pairs: list[Pair], dataset: dict[str, Any]) -> Iterator[tuple[UInt8Array, UInt8Array]]:
    """Decodes and checks pairs in order, on all cores: Pillow decodes without holding the GIL."""

    def decode(pair: Pair) -> tuple[UInt8Array, UInt8Array]:
        image, label = pair.image(), pair.label()
        if image.shape[:2] != label.shape:
            raise ValueError(
                f"{pair.label_source}: the label is {_size(label)} and its image {_size(image)}; "
                "they must have one size"
            )
        check_values(label, len(dataset["classes"]), dataset["void"], pair.label_source)
        return image, label

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(decode, pairs)


def check_values(label: UInt8Array, num_classes: int, void: int, source: str) -> None:
    """Rejects a label with a value that is neither a class nor void.

    Raises:
        ValueError: naming the source and the value.
    """
    counts = np.bincount(label.ravel(), minlength=256)
    counts[[*range(num_classes), void]] = 0
    if counts.any():
        raise ValueError(
            f"{source}: label value {int(counts.argmax())} is neither a class "
            f"(0..{num_classes - 1}) nor void ({void}); correct the file, "
            "dataset.classes or dataset.void"
        )


def _require_disjoint(splits: list[Split]) -> None:
    """Refuses an image that stands in two splits, under one name or under two."""
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for split in splits:
        for name, digest in zip(split.names, split.digests, strict=True):
            for key in (("name", name), ("pixels", digest)):
                other_split, other_name = seen.setdefault(key, (split.name, name))
                if other_split != split.name:
                    raise ValueError(
                        f"{split.name}/{name} and {other_split}/{other_name} have the same "
                        f"{key[0]}; an image may stand in one split only, so remove one of them"
                    )


def _size(array: UInt8Array) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
