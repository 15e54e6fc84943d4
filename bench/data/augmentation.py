"""Random scale, crop and colour of training images: the same draws for every network.

A draw is six numbers in [0, 1) for an image, a function of (seed, iteration, position in the batch)
alone. At scale s a crop of h x w is a window of h/s x w/s pixels of the image, rounded and at a
random place, resized to h x w: bilinear without antialiasing, its label by nearest. Where a window
is larger than the image, the image lies at a random place in it; around it labels are void and
pixels the mean of ImageNet. Brightness, contrast and saturation act as one linear map of
the colours, rounded once.

All of it is arithmetic of whole numbers, for one image by OpenCV (`Augmentation.cut`) and for a
batch by torch on its device (`Augmentation.cut_batch`): both give the same bytes, so that a machine
without OpenCV only loses time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.config import Config
from bench.data.bands import Array
from bench.data.images import UInt8Array
from bench.data.schema import AugmentationConfig
from bench.data.staging import staged, widened
from bench.seeds import derive_seed

try:
    import cv2

    cv2.setNumThreads(1)  # threads work on an image each
except ImportError:  # where nothing can be installed; torch takes several times as long
    cv2 = None  # type: ignore[assignment]

OUTSIDE = (124, 116, 104)  # RGB around an image: the mean of ImageNet
GREY = (77, 150, 29)  # 256ths of R, G and B in the grey of a pixel (ITU-R BT.601)
ONE = 1024  # factors of colours are multiples of 1/1024: float32 has all their products exactly
WEIGHT = 256  # bilinear weights are multiples of 1/256, as those of OpenCV's exact interpolation

Draws = NDArray[np.float64]  # (n, 6): scale, top, left, brightness, contrast, saturation


def draws(seed: int, iteration: int, batch_size: int, purpose: str = "augmentation") -> Draws:
    """Draws six numbers for each image of a batch; what is switched off leaves its own unused."""
    return np.random.default_rng(derive_seed(seed, purpose, iteration)).random((batch_size, 6))


class Window(NamedTuple):
    """What is cut out of an image, in its pixels; it may reach beyond it."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Augmentation:
    """Scale, crop and colour as a protocol has them.

    Attributes:
        settings: how much is drawn.
        crop: h, w of what is cut out.
        void: the label around an image.
        outside: what each band is around an image.
    """

    settings: AugmentationConfig
    crop: tuple[int, int]
    void: int
    outside: Sequence[float] = OUTSIDE

    @classmethod
    def of(cls, config: Config, own_size: tuple[int, int]) -> "Augmentation":
        """Takes a configuration's; without crop and image_size, crops are of the images' own."""
        height, width = config.protocol.input_size or own_size
        dataset = config.dataset
        outside = OUTSIDE if dataset.bands is None else dataset.band_mean or [0.0] * dataset.bands
        return cls(config.protocol.augmentation, (height, width), dataset.void, outside)

    @property
    def unscaled(self) -> "Augmentation":
        """Crops alone: at scale 1, and without changes of colour."""
        return replace(self, settings=AugmentationConfig(crop=self.settings.crop))

    def window(self, draw: NDArray[np.float64], size: tuple[int, ...]) -> Window:
        """Returns the window of a draw (6,) in an image of (H, W)."""
        low, high = self.settings.scale or (1.0, 1.0)
        scale = low + draw[0] * (high - low)
        spans = [max(1, round(side / scale)) for side in self.crop]
        slacks = [side - span for side, span in zip(size, spans, strict=True)]
        starts = [
            int(part * (abs(slack) + 1)) * (1 if slack > 0 else -1)
            for part, slack in zip(draw[1:3].tolist(), slacks, strict=True)
        ]
        return Window(*starts, *spans)

    def colours(self, draw: NDArray[np.float64]) -> tuple[int, int, int] | None:
        """Returns what a draw makes of colours, None where nothing of them is drawn.

        With factors b, c, s a pixel x of grey g, in a crop of mean grey m, becomes
        b c s x + b c (1 - s) g + b (1 - c) m; these are the three coefficients, in 1024ths.
        """
        a = self.settings
        strengths = np.array([a.brightness, a.contrast, a.saturation])
        if not strengths.any():
            return None
        b, c, s = (1 + strengths * (2 * draw[3:] - 1)).tolist()
        return round(ONE * b * c * s), round(ONE * b * c * (1 - s)), round(ONE * b * (1 - c))

    def cut(
        self, image: Array, label: UInt8Array, draw: NDArray[np.float64]
    ) -> tuple[Array, UInt8Array]:
        """Returns the crop (C, h, w) of an image (C, H, W) and the (h, w) of its label (H, W).

        Of 8-bit RGB that is mapped from disk only the window is read.
        """
        if cv2 is None or image.dtype != np.uint8 or len(image) != 3:
            pair = torch.tensor(widened(image))[None], torch.tensor(label)[None]
            one, truth = self.cut_batch(*pair, draw[None])
            return one[0].numpy(), truth[0].numpy()
        window, (height, width) = self.window(draw, label.shape), self.crop
        cut = np.empty((3, height, width), np.uint8)
        for channel, plane in enumerate(image):
            part = _part(plane, window, round(self.outside[channel]))
            cv2.resize(part, (width, height), cut[channel], interpolation=cv2.INTER_LINEAR_EXACT)
        factors = self.colours(draw)
        if factors is not None:
            _recolour(cut, *factors)
        rows, columns = _nearest(window.height, height), _nearest(window.width, width)
        return cut, _part(label, window, self.void).take(rows, 0).take(columns, 1)

    def cut_batch(self, images: Tensor, labels: Tensor, drawn: Draws) -> tuple[Tensor, Tensor]:
        """Returns the crops (N, C, h, w) and (N, h, w) of images (N, C, H, W) and their labels.

        On their device, without waiting for it. Sums of more than 8 bits are taken in float64,
        which has all those of 16 bits exactly.
        """
        narrow, real = images.dtype == torch.uint8, images.is_floating_point()
        windows = [self.window(draw, labels.shape[1:]) for draw in drawn]
        height, width = self.crop
        rows = np.stack([_places(w.top, w.height, height) for w in windows])
        columns = np.stack([_places(w.left, w.width, width) for w in windows])
        device = images.device
        up, down, row_weights, row = _staged(rows, device)
        left, right, column_weights, column = _staged(columns, device)
        outside = torch.tensor([value if real else round(value) for value in self.outside])
        outside = staged(outside.to(images.dtype), device)[:, None, None]
        share, row_share = column_weights.int()[:, None, None], row_weights.int()[:, None, :, None]
        wide = torch.Tensor.int if narrow else torch.Tensor.double
        upper, lower = (
            wide(_picked(images, line, left, outside)) * (WEIGHT - share)
            + wide(_picked(images, line, right, outside)) * share
            for line in (up, down)
        )
        mixed = upper * (WEIGHT - row_share) + lower * row_share
        cut = mixed / WEIGHT**2 if real else (mixed + WEIGHT**2 // 2) // WEIGHT**2
        cut = cut.to(images.dtype)
        factors = [found for draw in drawn if (found := self.colours(draw)) is not None]
        if factors:
            cut = _recoloured(cut, staged(torch.tensor(factors, dtype=torch.int32), device))
        void = staged(torch.tensor([self.void], dtype=torch.uint8), device)[:, None, None]
        return cut, _picked(labels[:, None], row, column, void)[:, 0]


def _part(plane: UInt8Array, window: Window, outside: int) -> UInt8Array:
    """Returns a view of a window of (H, W), or a copy where it reaches beyond."""
    top, left, height, width = window
    inside = plane[max(top, 0) : top + height, max(left, 0) : left + width]
    if inside.shape == (height, width):
        return inside
    part = np.full((height, width), outside, np.uint8)
    above, before = max(-top, 0), max(-left, 0)
    part[above : above + inside.shape[0], before : before + inside.shape[1]] = inside
    return part


def _nearest(span: int, count: int) -> NDArray[np.int64]:
    """Returns the pixel of a span on which the middle of each of `count` equal parts lies."""
    return (2 * np.arange(count) + 1) * span // (2 * count)


def _places(start: int, span: int, count: int) -> NDArray[np.int64]:
    """Returns where `count` pixels resized from a span lie: int64 (4, count).

    The two neighbours and the weight of the second, as OpenCV's INTER_LINEAR_EXACT finds them, and
    the pixel for labels.
    """
    position = 1 / (count / span) * (np.arange(count) + 0.5) - 0.5  # rounded as OpenCV rounds
    first = np.floor(position)
    weight = np.where(first < 0, 0, np.rint((position - first) * WEIGHT)).astype(np.int64)
    neighbours = [np.clip(first + step, 0, span - 1).astype(np.int64) for step in (0, 1)]
    return np.stack(
        [*(start + place for place in neighbours), weight, start + _nearest(span, count)]
    )


def _staged(places: NDArray[np.int64], device: torch.device) -> tuple[Tensor, ...]:
    """Moves the places (N, 4, count) of a batch to the device, as four tensors (N, count)."""
    return staged(torch.from_numpy(places), device).unbind(1)


def _picked(maps: Tensor, rows: Tensor, columns: Tensor, outside: Tensor) -> Tensor:
    """Returns (N, C, h, w) of maps (N, C, H, W) at rows (N, h) and columns (N, w).

    `outside` (C, 1, 1) is what is beyond them.
    """
    channels, height, width = maps.shape[1:]
    where = (rows.clamp(0, height - 1) * width)[:, :, None] + columns.clamp(0, width - 1)[:, None]
    flat = where.flatten(1)[:, None].expand(-1, channels, -1)
    values = maps.flatten(2).gather(2, flat).view(-1, channels, *where.shape[1:])
    inside = ((rows >= 0) & (rows < height))[:, :, None]
    inside = inside & ((columns >= 0) & (columns < width))[:, None]
    return torch.where(inside[:, None], values, outside)


def _recolour(image: UInt8Array, own: int, grey: int, mean: int) -> None:
    """Changes the colours of an image (3, h, w), in place; see `Augmentation.colours`."""
    red, green, blue = (
        np.multiply(p, g, dtype=np.uint16) for p, g in zip(image, GREY, strict=True)
    )
    greys = ((red + green + blue + 128) >> 8).astype(np.uint8)
    middle = int(greys.sum(dtype=np.int64)) // greys.size
    # Half a unit more, so that no sum lies in the middle of two values, which OpenCV may round
    # either way.
    constant = (mean * middle + 0.5) / ONE
    for plane in image:
        cv2.addWeighted(plane, own / ONE, greys, grey / ONE, constant, plane)


def _recoloured(images: Tensor, factors: Tensor) -> Tensor:
    """Returns images (N, 3, h, w) with the colours that factors (N, 3) make of theirs."""
    wide = images.int()
    red, green, blue = (wide[:, channel] * weight for channel, weight in enumerate(GREY))
    greys = (red + green + blue + 128) >> 8
    middle = (greys.sum(dim=(1, 2)) // greys[0].numel()).int()
    own, grey, mean = (factors[:, i, None, None] for i in range(3))
    constant = grey * greys + mean * middle[:, None, None]
    mixed = own[:, None] * wide + constant[:, None]
    return ((mixed + ONE // 2) >> 10).clamp(0, 255).to(torch.uint8)
