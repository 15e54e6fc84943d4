"""From pairs of files to checked arrays at protocol.image_size, or at their own size.

A split is decoded once: its store is opened, or the split is decoded into one.
"""

import hashlib
import importlib.util
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import tifffile
from numpy.typing import NDArray

from bench.config import Config
from bench.data.ahead import ahead
from bench.data.bands import Array
from bench.data.images import UInt8Array, resize_image, resize_label
from bench.data.pairs import Pair
from bench.data.schema import NOT_IN_FINGERPRINT, Residence
from bench.data.store import FOLDER, Store, build, opened
from bench.typed import hashed

log = logging.getLogger("bench")

Progress = Callable[[str, int, int], None]  # phase, done, total

WORTH_BYTES = 32e6  # smaller splits are decoded in less time than their files are looked after


@dataclass(frozen=True)
class Decoder:
    """Reads pairs as a data set's configuration says; without a size, at each image's own."""

    num_classes: int
    void: int
    size: tuple[int, int] | None  # height, width

    @classmethod
    def of(cls, config: Config) -> "Decoder":
        """Takes classes, void and input size from a resolved configuration."""
        dataset, size = config.dataset, config.protocol.image_size
        return cls(len(dataset.classes), dataset.void, None if size is None else (size[0], size[1]))

    def read(self, pair: Pair) -> tuple[Array, UInt8Array]:
        """Returns image (h, w, C) and label (h, w) at their own size.

        Raises:
            ValueError: a file cannot be read, the sizes differ, or a label value has no class.
        """
        image, truth = pair.image(), pair.label()
        if image.shape[:2] != truth.shape:
            swapped = image.shape[1::-1] == truth.shape
            hint = ", and the label must lie as the image does by its EXIF orientation"
            raise ValueError(
                f"{pair.label_source}: the label is {_size(truth)} and its image {_size(image)}; "
                f"they must have one size{hint if swapped else ''}"
            )
        check_values(truth, self.num_classes, self.void, pair.label_source)
        return image, truth

    def decode(self, pair: Pair) -> tuple[Array, UInt8Array, str]:
        """Returns image (C, H, W), label (h, w) at its own size, and a hash of the stored image.

        Raises:
            ValueError: as `read`.
        """
        image, truth = self.read(pair)
        digest = hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest()
        return self.image(image), truth, digest

    def image(self, image: Array) -> Array:
        """Turns an image (h, w, C) into one (C, H, W) of the size that is kept."""
        resized = resize_image(image, *(self.size or image.shape[:2]))
        return np.ascontiguousarray(resized.transpose(2, 0, 1))

    def label(self, truth: UInt8Array) -> UInt8Array:
        """Turns a label (h, w) into one (H, W) of the size that is kept."""
        return resize_label(truth, *(self.size or truth.shape))


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


def pixel_counts(label: UInt8Array, num_classes: int) -> NDArray[np.int64]:
    """Counts the pixels (K+1,) of each class in a label map; all others, void, come last."""
    counts = np.bincount(label.ravel(), minlength=256)
    return np.append(counts[:num_classes], counts[num_classes:].sum())


def require_labelled(split: str, pixels: NDArray[np.int64]) -> None:
    """Refuses a split, to train or select on, in which every pixel is void.

    Raises:
        ValueError: naming it.
    """
    if not pixels[:, :-1].any():
        raise ValueError(
            f"split {split!r}: none of its {len(pixels)} labels has a labelled pixel, all is void; "
            "give labels, or set dataset.reader.values to the values that they store"
        )


def _size(array: Array) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"


def decoded(config: Config, name: str, pairs: list[Pair], progress: Progress) -> Store:
    """Opens the store of a split, or decodes the split into one."""
    fill, key = partial(_filled, config, name, pairs, progress), _key(config, pairs)
    mapped, known = (key and key.with_suffix(suffix) for suffix in (".store", ".index"))
    places = [(mapped, True), (None, True), (known, False)]
    for path, arrays in places[2 if config.dataset.resident == Residence.files else 0 :]:
        try:
            return (path and opened(path)) or build(path, len(pairs), fill, arrays=arrays)
        except OSError as error:
            log.warning(
                f"{path or 'temporary file'}: {error.strerror}; {name} will be decoded again "
                f"{'next time' if path else 'for every batch'}, unless dataset.cache can be "
                "written and has room"
            )
    return build(None, len(pairs), fill, arrays=False)


def _filled(
    config: Config, name: str, pairs: list[Pair], progress: Progress, known: dict[str, Any]
) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yields image, label and truth of every pair, and finds out what is known of them."""
    decoder, total = Decoder.of(config), hashlib.sha256()
    digests, pixels = [], []
    for index, (image, truth, digest) in enumerate(ahead(decoder.decode, pairs)):
        progress(f"reading {name}", index, len(pairs))
        digests.append(digest)
        pixels.append(pixel_counts(decoder.label(truth), decoder.num_classes).tolist())
        total.update(f"{pairs[index].name} {digest} {truth.shape}".encode() + truth.tobytes())
        yield image, truth
    size = "{1}x{0}".format(*decoder.size) if decoder.size else "their own size"
    about = f"{config.dataset.name} {name}, {len(pairs)} images at {size}"
    known |= {"about": about, "digests": digests, "pixels": pixels}
    known["digest"] = total.hexdigest()[:16]


def _key(config: Config, pairs: list[Pair]) -> Path | None:
    """Returns a path that stands for all that decides a decoded split; None: it is not kept."""
    dataset = config.dataset
    if dataset.cache is None or not pairs or not all(pair.files for pair in pairs):
        return None
    height, width = config.protocol.image_size or pairs[0].image().shape[:2]
    if 4 * len(pairs) * height * width < WORTH_BYTES:
        return None
    module = importlib.util.find_spec(dataset.reader["_target_"].rpartition(".")[0])
    code = [*sorted(Path(__file__).parent.rglob("*.py"))]
    code += [Path(module.origin)] if module is not None and module.origin is not None else []
    files = list(dict.fromkeys(file for pair in pairs for file in pair.files))
    digests = dict(zip(files, ahead(_file_digest, files), strict=True))
    content = [
        PIL.__version__,
        tifffile.__version__,
        list(map(_file_digest, code)),
        {k: v for k, v in hashed(dataset).items() if k not in NOT_IN_FINGERPRINT},
        config.protocol.image_size,
        [[pair.name, *(digests[file] for file in pair.files)] for pair in pairs],
    ]
    key = hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=12).hexdigest()
    return Path(dataset.cache).expanduser() / FOLDER / key


def _file_digest(path: Path) -> str:
    """Hashes a file, or raises ValueError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
