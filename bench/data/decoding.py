"""From a pair of files to checked arrays at protocol.image_size, or at their own size."""

import hashlib
from dataclasses import dataclass

import numpy as np

from bench.config import Config
from bench.data.bands import Array
from bench.data.images import UInt8Array, resize_image, resize_label
from bench.data.pairs import Pair


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


def _size(array: Array) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
