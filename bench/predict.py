"""`python -m bench.predict RUN IMAGES OUT`: a trained network on any images.

Writes for each image OUT/NAME.png, a label map with the data set's palette at the image's own size,
and OUT/NAME.overlay.png, the colours over the image; with --probs also OUT/NAME.npz, the class
probabilities `probs` as float16 (K, H, W).
"""

import argparse
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from bench import records
from bench.command_line import user_errors
from bench.data.files import SUFFIXES as IMAGE_SUFFIXES
from bench.data.images import UInt8Array, read_image, resize_image, write_label, write_png
from bench.run.evaluation import resized_logits
from bench.run.network import autocast, network_input
from bench.run.trained import Trained, add_arguments, load_trained

OVERLAY_OPACITY = 0.5


def main() -> None:
    """Predicts images of a file or folder."""
    parser = argparse.ArgumentParser(prog="python -m bench.predict", description=__doc__)
    add_arguments(parser)
    parser.add_argument("images", type=Path, help="an image, or a folder of images")
    parser.add_argument("out", type=Path, help="the folder to write to")
    parser.add_argument("--probs", action="store_true", help="also write class probabilities")
    arguments = parser.parse_args()
    with user_errors(parser):
        paths = image_paths(arguments.images)
        trained = load_trained(arguments)
        arguments.out.mkdir(parents=True, exist_ok=True)
        progress = tqdm(paths, desc="predicting", ncols=100, disable=None)
        for path, image, logits in predicted(trained, progress):
            write(arguments.out / path.stem, image, logits, trained, arguments.probs)
    print(f"{len(paths)} predictions of {trained.config.arch['name']} written to {arguments.out}")


def image_paths(place: Path) -> list[Path]:
    """Lists the image itself, or the images of a folder.

    Raises:
        ValueError: there is none, or two share a name up to the suffix.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise ValueError(f"{place}: no such file or folder")
    paths = sorted(p for p in place.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise ValueError(f"{place}: holds no image")
    stems = [path.stem for path in paths]
    for path in paths:
        if stems.count(path.stem) > 1:
            raise ValueError(f"{path}: another image of the same name would overwrite its result")
    return paths


@torch.inference_mode()
def predicted(trained: Trained, paths: Iterable[Path]) -> Iterator[tuple[Path, UInt8Array, Tensor]]:
    """Yields (path, image (H, W, 3), logits (K, H, W) at the image's size) of each image."""
    protocol = trained.config.protocol
    height, width = protocol.image_size
    for path in paths:
        image = read_image(path)
        resized = torch.from_numpy(resize_image(image, height, width).copy()).permute(2, 0, 1)
        images = network_input(resized[None], protocol, trained.device)
        with autocast(trained.device, protocol.precision):
            logits = trained.network(images).float()
        yield path, image, resized_logits(logits[0], image.shape[:2])


def write(stem: Path, image: UInt8Array, logits: Tensor, trained: Trained, probs: bool) -> None:
    """Writes the label map, the overlay and, if asked for, the probabilities of an image."""
    colours = trained.config.dataset.colours
    label = logits.max(dim=0).indices.to(torch.uint8).cpu().numpy()
    write_label(stem.with_name(f"{stem.name}.png"), label, colours)
    painted = np.array(colours, np.uint8)[label]
    mixed = OVERLAY_OPACITY * painted + (1 - OVERLAY_OPACITY) * image
    write_png(stem.with_name(f"{stem.name}.overlay.png"), Image.fromarray(mixed.astype(np.uint8)))
    if probs:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, probs=logits.softmax(dim=0).half().cpu().numpy())
        records.write_bytes(stem.with_name(f"{stem.name}.npz"), buffer.getvalue())


if __name__ == "__main__":
    main()
