"""What is wrong with a data set though each of its pairs can be read."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.files import some
from bench.data.images import read_label
from bench.data.pairs import Pair
from bench.data.schema import DatasetConfig


@dataclass(frozen=True)
class Inspected:
    """What is remembered of a sound pair.

    Attributes:
        pair: where to read it again.
        size: of label and image, in words.
        pixels: of each class (K+1,), void last.
        digest: a hash of the image.
    """

    pair: Pair
    size: str
    pixels: NDArray[np.int64]
    digest: str


Splits = dict[str, list[Inspected]]


def unlabelled(splits: Splits) -> list[str]:
    """Names the splits in which every pixel is void."""
    return [
        f"{split}: none of its {len(pairs)} labels has a labelled pixel, all is void, so there is "
        "nothing to train on or to score; give labels, or use another split"
        for split, pairs in splits.items()
        if pairs and not _total(pairs)[:-1].any()
    ]


def without_a_pixel(splits: Splits, dataset: DatasetConfig, training: str) -> list[str]:
    """Names the classes that the training labels, or if they are not here all, lack.

    Where void may have swallowed such a class, the message begins with what would help.
    """
    where = [training] if splits.get(training) else [split for split in splits if splits[split]]
    pairs = [pair for split in where for pair in splits[split]]
    total = _total(pairs)[:-1] if pairs else np.zeros(0)
    if not total.any():  # told as unlabelled
        return []
    absent = np.flatnonzero(total == 0).tolist()
    names = [repr(dataset.classes[index]) for index in absent]
    absence = f"{', '.join(where)}: no pixel of class {some(names)}" if absent else ""
    swallowed = _swallowed(pairs) if absent and "values" in dataset.reader else None
    if swallowed is None:
        return [absence] if absence else []
    value, source = swallowed
    remedy = f"if the value {value} in {source}, which counts as void, is class {names[0]}, set "
    return [remedy + f"{_values_with(dataset, absent[0], value)}; {absence}"]


def leaks(splits: Splits) -> list[str]:
    """Names images with the same pixels in two splits."""
    return [
        f"{' and '.join(names[:4])} have the same pixels"
        for names in _shared(splits, lambda known: known.digest)
    ]


def equal_names(splits: Splits) -> list[str]:
    """Notes names that stand in two splits for different pictures, which is no fault."""
    shared = _shared(splits, lambda known: known.pair.name)
    if not shared:
        return []
    return [f"{len(shared)} names stand in several splits, such as {some(shared[0])}: no fault"]


def _shared(splits: Splits, key: Callable[[Inspected], str]) -> list[list[str]]:
    """Groups the images, as SPLIT/NAME, that have one key and stand in two splits or more."""
    places: dict[str, set[str]] = defaultdict(set)
    names: dict[str, list[str]] = defaultdict(list)
    for split, pairs in splits.items():
        for known in pairs:
            places[key(known)].add(split)
            names[key(known)].append(f"{split}/{known.pair.name}")
    return [names[shared] for shared, where in places.items() if len(where) > 1]


def _total(pairs: list[Inspected]) -> NDArray[np.int64]:
    total: NDArray[np.int64] = np.sum([known.pixels for known in pairs], axis=0)
    return total


def _swallowed(pairs: list[Inspected]) -> tuple[int, str] | None:
    """Returns the value that most void pixels have in the first label with void, and its file."""
    for known in pairs:
        if known.pixels[-1] and len(known.pair.files) > 1:
            path = known.pair.files[1]
            try:
                stored, truth = read_label(path), known.pair.label()
            except ValueError:  # in colours, in which void says what it is
                return None
            values = np.bincount(stored[truth == truth.max()])
            return int(values.argmax()), str(path)
    return None


def _values_with(dataset: DatasetConfig, index: int, value: int) -> str:
    """Says how a stored value becomes a class."""
    stored = dataset.reader.get("values") or list(range(len(dataset.classes)))
    changed = [*stored[:index], value, *stored[index + 1 :]]
    return f"dataset.reader.values={str(changed).replace(' ', '')}"
