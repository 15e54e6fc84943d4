"""The sizes that a network will be given, once the data are read; what cannot work is refused."""

from collections.abc import Iterable

from bench.checks import fits
from bench.config import Config, variant_of
from bench.data.splits import Split
from bench.run.inference import window_size
from bench.run.views import Views, scaled

TRIED = 4  # of many sizes at which images are evaluated, so many are tried before training

Size = tuple[int, int]  # H, W


def training_size(config: Config, split: Split) -> Size:
    """Returns the size of what is trained on.

    Raises:
        ValueError: images of several sizes would make a batch, or a crop is larger than each.
    """
    protocol, sizes = config.protocol, sorted(set(split.sizes), key=lambda size: size[0] * size[1])
    crop, (_, high) = protocol.augmentation.crop, protocol.augmentation.scale or (1.0, 1.0)
    if protocol.image_size is None and crop is None and len(sizes) > 1:
        raise ValueError(
            f"protocol.image_size is null, but the images of split {split.name!r} have "
            f"{len(sizes)} sizes, from {_words(sizes[0])} to {_words(sizes[-1])}; give "
            "protocol.augmentation.crop=[H,W], so that they make batches"
        )
    if crop is not None and not any(fits(crop, size, high) for size in sizes):
        raise ValueError(
            f"protocol.augmentation.crop is {crop}, and no image of split {split.name!r} is so "
            f"large, enlarged by at most {high:g}: the largest is {_words(sizes[-1])}; lower it"
        )
    height, width = protocol.input_size or sizes[0]
    return height, width


def evaluation_sizes(config: Config, splits: Iterable[Split]) -> list[Size]:
    """Returns sizes that the network will be given in evaluation: the smallest to the largest.

    Views of an image (`postprocess=test_time_augmentation`) are among them.

    Of many, a few spread evenly: a network that takes all of these is hardly particular.
    """
    inference = config.protocol.inference
    views = Views.of(config.postprocess).scales if variant_of(config.postprocess) else ()
    scales = (1.0, *views)
    seen = {scaled(size, scale) for split in splits for size in split.sizes for scale in scales}
    given = {window_size(size, inference) for size in seen}
    sizes = sorted(given, key=lambda size: size[0] * size[1])
    steps = min(TRIED, len(sizes))
    return [sizes[number * (len(sizes) - 1) // max(1, steps - 1)] for number in range(steps)]


def _words(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
