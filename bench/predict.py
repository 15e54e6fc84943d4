"""`python -m bench.predict RUN IMAGES OUT`: a trained network on any images.

Writes for each image OUT/NAME.png, a label map with the data set's palette at the image's own size
(of a GeoTIFF OUT/NAME.tif, with its georeference), and OUT/NAME.overlay.png, the colours over the
image; with --probs also OUT/NAME.npz, the class probabilities `probs` as float16 (K, H, W). NAME is
the image's path below IMAGES, folders included. An image that cannot be read is left out and named;
the exit code is 1 then.
"""

import argparse
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from bench import records
from bench.command_line import user_errors
from bench.data.bands import Array
from bench.data.files import OVERLAY, composed, picture_files, tell_skipped
from bench.data.images import UInt8Array, label_picture, resize_image, shown
from bench.data.pairs import image_reader
from bench.data.staging import widened
from bench.results import check_plan, label_suffix, write_label, write_picture, zip_mark
from bench.run.inference import infer
from bench.run.network import autocast, network_input
from bench.run.resizing import resized_bands
from bench.run.trained import Trained, add_arguments, load_trained

COMMAND = "bench.predict"


def main(words: Sequence[str] | None = None) -> None:
    """Predicts images of a file or folder; exits with 1 if any of them had to be left out."""
    parser = argparse.ArgumentParser(prog=f"python -m {COMMAND}", description=__doc__)
    add_arguments(parser)
    parser.add_argument("images", type=Path, help="an image, or a folder of images")
    parser.add_argument("out", type=Path, help="the folder to write to")
    parser.add_argument("--probs", action="store_true", help="also write class probabilities")
    arguments = parser.parse_args(words)
    with user_errors(parser):
        images = image_files(arguments.images, arguments.out)
        ends = [f"{OVERLAY}.png", *([".npz"] if arguments.probs else [])]
        targets = {
            path: [name + end for end in (label_suffix(path), *ends)]
            for name, path in images.items()
        }
        check_plan(arguments.out, targets, images.values(), COMMAND)
        trained = load_trained(arguments)
        left_out = predict(trained, images, arguments.out, probs=arguments.probs)
    print(
        f"{len(images) - len(left_out)} predictions of {trained.config.arch['name']} written to "
        f"{arguments.out}"
    )
    if left_out:
        print(f"{len(left_out)} of {len(images)} images were left out:", file=sys.stderr)
        print("\n".join(left_out), file=sys.stderr)
        sys.exit(1)


def image_files(place: Path, out: Path) -> dict[str, Path]:
    """Returns the image itself, or the images of a folder, by the names of their results.

    Where OUT lies inside the folder, what it holds are results and not images.

    Raises:
        ValueError: there is none, or two share a name up to the suffix.
    """
    if place.is_file():
        return {composed(place.stem, place): place}
    if not place.exists():
        raise ValueError(f"{place}: no such file or folder")
    found = picture_files(place)
    tell_skipped(found)
    results = out.resolve()
    if place.resolve() not in results.parents:
        return found.paths
    images = {
        name: path
        for name, path in found.paths.items()
        if results not in (path.parent.resolve() / path.name).parents
    }
    if not images:
        raise ValueError(f"{place}: holds no image outside {out}")
    return images


def predict(
    trained: Trained, images: Mapping[str, Path], out: Path, *, probs: bool = False
) -> list[str]:
    """Predicts images and writes the results; returns why those that were left out cannot be read.

    Memory is bounded by a few times the pixels of one image, whatever the number of classes.
    """
    left_out, read = [], image_reader(trained.config.dataset.bands)
    for name, path in tqdm(images.items(), desc="predicting", ncols=100, disable=None):
        try:
            image = read(path)
        except ValueError as error:
            left_out.append(str(error))
            continue
        target = out / name
        with records.writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        logits = network_logits(trained, image)
        prediction = predicted(logits, shown(image), trained.config.dataset.colours, probs=probs)
        stem = target.name  # it may have a dot, which with_suffix would take for a suffix
        write_label(target, prediction.label, path, COMMAND)
        write_picture(target.with_name(f"{stem}{OVERLAY}.png"), prediction.overlay, COMMAND)
        if prediction.log_sums is not None:
            write_probs(target.with_name(f"{stem}.npz"), logits, prediction.log_sums)
    return left_out


@torch.inference_mode()
def network_logits(trained: Trained, image: Array) -> Tensor:
    """Returns what the network gives for an image (H, W, C): logits (K, h, w) at its own size."""
    protocol = trained.config.protocol
    size = protocol.image_size or image.shape[:2]
    resized = torch.from_numpy(widened(resize_image(image, *size)).copy()).permute(2, 0, 1)
    images = network_input(resized[None], trained.config, trained.device)
    with autocast(trained.device, protocol.precision):
        return infer(trained.network, images, protocol.inference)[0]


@dataclass(frozen=True)
class Prediction:
    """What is predicted for an image of H x W.

    Attributes:
        label: the palette picture of the label map.
        overlay: the classes' colours over the image.
        log_sums: log of the sum of exponentials of each pixel's logits, float32 (H, W); None
            where no probabilities are wanted.
    """

    label: Image.Image
    overlay: Image.Image
    log_sums: Tensor | None


@torch.inference_mode()
def predicted(
    logits: Tensor, image: UInt8Array, colours: list[list[int]], *, probs: bool = False
) -> Prediction:
    """Resizes logits (K, h, w) to an image (H, W, 3), and decides and paints its pixels."""
    height, width = image.shape[:2]
    label = np.empty((height, width), np.uint8)
    overlay = np.empty_like(image)
    log_sums = torch.empty(height, width) if probs else None
    table = np.array(colours, np.uint8)
    for rows, scores in resized_bands(logits, (height, width)):
        label[rows] = scores.max(dim=0).indices.to(torch.uint8).cpu().numpy()
        if log_sums is not None:
            log_sums[rows] = scores.logsumexp(dim=0).cpu()
        overlay[rows] = (table[label[rows]].astype(np.uint16) + image[rows]) // 2
    return Prediction(label_picture(label, colours), Image.fromarray(overlay), log_sums)


@torch.inference_mode()
def write_probs(path: Path, logits: Tensor, log_sums: Tensor) -> None:
    """Writes the softmax of logits (K, h, w) at the size of `log_sums`, a class at a time."""
    size = (log_sums.shape[0], log_sums.shape[1])
    header = {"descr": "<f2", "fortran_order": False, "shape": (len(logits), *size)}
    with (
        records.replacing(path, durable=False) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.comment = zip_mark(COMMAND)
        with archive.open("probs.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            for index in range(len(logits)):
                for rows, scores in resized_bands(logits[index, None], size):
                    probs = (scores[0].cpu() - log_sums[rows]).exp().half()
                    member.write(probs.numpy().astype("<f2").tobytes())


if __name__ == "__main__":
    main()
