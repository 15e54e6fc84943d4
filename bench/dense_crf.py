"""Dense CRF: sharpen class probabilities along the colour edges of their image.

    python -m bench.dense_crf PROBS IMAGES OUT

refines every PROBS/NAME.npz (key `probs`) or PROBS/NAME.npy, float (C, H, W), with the image
IMAGES/NAME.png or .jpg, and writes the labels as OUT/NAME.png, 8-bit class indices.

Sources: Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
Potentials", NIPS 2011 (eq. 3 the two kernels, algorithm 1 the mean field); Chen et al., "Semantic
Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", ICLR 2015 (DeepLab) for
the parameters. The SegNet paper lists the outcome as DeepLab-LargeFOV-denseCRF (Tables 3 and 4).

A search over parameters goes through `mean_field`, which takes the filters ready-made: the cached
`smoothness_lattice` serves every image of a size, and an `appearance_lattice` every w1.
"""

import argparse
import io
import itertools
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from bench.data.images import read_image, write_png
from bench.data.pairs import IMAGE_SUFFIXES
from bench.permutohedral import (
    Lattice,
    Normalisation,
    appearance_lattice,
    smoothness_lattice,
)
from bench.records import write_bytes

# A stored probability of 0 must not forbid a class: float16 rounds to 0 below half of this, its
# smallest number, so probabilities read from float16 and float32 files are refined alike.
SMALLEST_PROBABILITY = 2.0**-24

# Rounding to float16 moves a sum by at most 2^-11, to bfloat16 by 2^-8.
SUM_TOLERANCE = 2.0**-7


@torch.no_grad()
def dense_crf(
    probs: Tensor,
    image: Tensor,
    *,
    w1: float,
    sigma_alpha: float,
    sigma_beta: float,
    w2: float,
    sigma_gamma: float,
    iterations: int = 10,
    normalisation: Normalisation = "after",
) -> Tensor:
    """Refine the class probabilities of one image.

    Pixels i and j attract each other to the same class (Potts) with the strength, for positions p
    in pixels and colours I in 0..255,

        w1 exp(-|p_i - p_j|^2 / 2 sigma_alpha^2 - |I_i - I_j|^2 / 2 sigma_beta^2)
        + w2 exp(-|p_i - p_j|^2 / 2 sigma_gamma^2).

    Args:
        probs: (C, H, W), any floating type; sums to 1 over C.
        image: (H, W, 3) uint8 RGB, not normalised, on the device of `probs`.
        w1: weight of the appearance kernel.
        sigma_alpha: its range in pixels.
        sigma_beta: its range in colour.
        w2: weight of the smoothness kernel.
        sigma_gamma: its range in pixels.
        iterations: mean-field updates; 0 returns `probs`.
        normalisation: of both kernels, see `Lattice.normalised`.

    Returns:
        (C, H, W) float32 probabilities, on the device of `probs`. The lattice treats x and y
        differently, so the result for transposed input is close but not equal.

    Raises:
        ValueError: naming the argument, if the input is not as above, a parameter is out of range,
            or a range is so small that the lattice cannot be indexed.
    """
    check_input(probs, image)
    _, height, width = probs.shape
    smoothness = smoothness_lattice(height, width, sigma_gamma, normalisation, probs.device)
    appearance = appearance_lattice(image, sigma_alpha, sigma_beta, normalisation)
    return mean_field(probs, [(w2, smoothness), (w1, appearance)], iterations)


@torch.no_grad()
def mean_field(
    probs: Tensor, filters: Sequence[tuple[float, Lattice]], iterations: int = 10
) -> Tensor:
    """Infer the marginals of the CRF whose kernels are `filters`, pairs of weight and filter.

    Args:
        probs: (C, H, W) class probabilities; the unary potentials are -log probs.
        filters: normalised lattices over the H * W pixels, in row-major order.
        iterations: updates Q <- softmax(log probs + sum of weight * filter(Q)).

    Returns:
        (C, H, W) float32.

    Raises:
        ValueError: if a weight or `iterations` is negative, or a weight not finite.
    """
    weights = [weight for weight, _ in filters]
    if iterations < 0 or not all(0 <= weight < math.inf for weight in weights):
        raise ValueError(
            f"the weights of the kernels {weights} and iterations={iterations} must be finite and "
            "0 or more"
        )
    log_probs = probs.flatten(1).T.float().clamp_min(SMALLEST_PROBABILITY).log().contiguous()
    marginals = _softmax(log_probs)  # (H * W, C): a pixel's row is what the lattice moves
    for _ in range(iterations):
        scores = log_probs.clone()
        for weight, lattice in filters:
            scores.add_(lattice.filter(marginals), alpha=weight)
        marginals = _softmax(scores)
    return marginals.T.reshape(probs.shape)


def _softmax(scores: Tensor) -> Tensor:
    """Softmax of every row: for rows as short as these, 7 times as fast on the CPU as torch's."""
    powers = (scores - scores.amax(dim=1, keepdim=True)).exp_()
    return powers.div_(powers.sum(dim=1, keepdim=True))


def check_input(probs: Tensor, image: Tensor) -> None:
    """Raise ValueError, saying which and why, unless `dense_crf` can use these two."""
    if probs.ndim != 3 or not probs.is_floating_point():
        raise ValueError(
            f"probs must be float (C, H, W), not {probs.dtype} of shape {tuple(probs.shape)}"
        )
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"image must be uint8 (H, W, 3), RGB in 0..255 and not normalised, not {image.dtype} "
            f"of shape {tuple(image.shape)}"
        )
    if probs.shape[1:] != image.shape[:2]:
        raise ValueError(
            f"probs are {probs.shape[1]}x{probs.shape[2]} but the image is {image.shape[0]}x"
            f"{image.shape[1]}: resample the probabilities to the size of the image first"
        )
    if not probs.isfinite().all():
        raise ValueError("probs contain NaN or infinity")
    total = probs.sum(dim=0, dtype=torch.float32)
    worst = (total - 1).abs().max().item()
    if probs.min() < 0 or worst > SUM_TOLERANCE:
        raise ValueError(
            f"probs must be at least 0 and sum to 1 over the classes, but the smallest is "
            f"{probs.min():.4g} and a sum is off by {worst:.4g}: apply softmax to logits first"
        )


def refine_file(
    probs_path: Path,
    image_path: Path,
    out: Path,
    *,
    device: str,
    save_probs: bool,
    **parameters: Any,
) -> None:
    """Apply `dense_crf` to one pair of files and write the results to the folder `out`."""
    probs, image = read_probs(probs_path), torch.from_numpy(np.array(read_image(image_path)))
    try:
        refined = dense_crf(probs.to(device), image.to(device), **parameters).cpu()
        if len(refined) > 256:
            raise ValueError(f"{len(refined)} classes do not fit an 8-bit label image")
    except ValueError as error:
        raise ValueError(f"{probs_path}: {error}") from error
    label = refined.argmax(dim=0).to(torch.uint8).numpy()
    write_png(out / f"{probs_path.stem}.png", Image.fromarray(label))
    if save_probs:
        content = io.BytesIO()
        np.savez_compressed(content, probs=refined.half().numpy())
        write_bytes(out / f"{probs_path.stem}.npz", content.getvalue())


def read_probs(path: Path) -> Tensor:
    """Read (C, H, W) probabilities as float32 from a .npy file or the key `probs` of a .npz one."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file)
            array = loaded["probs"] if isinstance(loaded, NpzFile) else loaded
            return torch.from_numpy(array.astype(np.float32))
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        message = f"{path}: neither a .npy array nor a .npz file with the key probs ({error})"
        raise ValueError(message) from error


def pair_files(probs: Path, images: Path) -> list[tuple[Path, Path]]:
    """Pair the files of two folders by name without suffix, in sorted order.

    Raises:
        ValueError: if a folder has no such file, two of one name, or one without a partner.
    """
    ours, theirs = _by_stem(probs, {".npz", ".npy"}), _by_stem(images, IMAGE_SUFFIXES)
    unpaired = sorted(ours.keys() ^ theirs.keys())
    if unpaired:
        raise ValueError(
            f"{probs} and {images} must hold the same names, but {unpaired[0]} is in one only, "
            f"and so are {len(unpaired) - 1} more"
        )
    return [(ours[stem], theirs[stem]) for stem in ours]


def _by_stem(folder: Path, suffixes: set[str]) -> dict[str, Path]:
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in suffixes]
    by_stem = {path.stem: path for path in files}
    if not files or len(by_stem) < len(files):
        raise ValueError(
            f"{folder}: {len(files)} files of kind {', '.join(sorted(suffixes))} with "
            f"{len(by_stem)} names; there must be some, each with a name of its own"
        )
    return by_stem


def _refine_all(
    refine: Callable[[Path, Path], None], pairs: list[tuple[Path, Path]], processes: int
) -> Iterator[None]:
    """Refine the pairs in order, on `processes` processes of one thread each."""
    if processes == 1:
        yield from itertools.starmap(refine, pairs)
        return
    # Started afresh, not forked: a fork of a process whose torch has threads may hang.
    with ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        yield from pool.map(refine, *zip(*pairs, strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command `python -m bench.dense_crf`; a mistake in its use ends it with status 2."""
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    probs, images, processes = (options.pop(name) for name in ("probs", "images", "processes"))
    try:
        if options["out"].resolve() in (probs.resolve(), images.resolve()):
            raise ValueError("OUT must be a folder of its own: results keep the names of the input")
        if options["device"] == "cuda" and not torch.cuda.is_available():
            raise ValueError("--device cuda: torch finds no CUDA device here, use --device cpu")
        if processes < 1:
            raise ValueError(f"--processes {processes} must be 1 or more")
        pairs = pair_files(probs, images)
        options["out"].mkdir(parents=True, exist_ok=True)
        results = _refine_all(partial(refine_file, **options), pairs, min(processes, len(pairs)))
        for _ in tqdm(results, total=len(pairs), unit="image", disable=None):  # only on a terminal
            pass
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.dense_crf",
        description="Refine class probabilities with a dense CRF and write label images.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("probs", type=Path, help="folder of .npz (key probs) or .npy files, float (C, H, W)")
    add("images", type=Path, help="folder of 8-bit images with the same names")
    add("out", type=Path, help="folder for the labels, 8-bit PNG of class indices")
    # w1, sigma_alpha, sigma_beta: the best reported for DeepLab-LargeFOV, on Pascal VOC.
    add("--w1", type=float, default=4, help="weight of the appearance kernel")
    add("--sigma-alpha", type=float, default=121, help="its range in pixels")
    add("--sigma-beta", type=float, default=5, help="its range in colour, of 0..255")
    # w2, sigma_gamma, iterations: fixed in Chen et al., ICLR 2015.
    add("--w2", type=float, default=3, help="weight of the smoothness kernel")
    add("--sigma-gamma", type=float, default=3, help="its range in pixels")
    add("--iterations", type=int, default=10, help="mean-field updates")
    add(
        "--normalisation",
        choices=get_args(Normalisation),
        default="after",
        help="of the kernels: after (as DeepLab does) or symmetric",
    )
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute")
    cores = torch.get_num_threads()
    add("--processes", type=int, default=cores, help="images at a time; 1 is best on a GPU")
    add("--probs", dest="save_probs", action="store_true", help="write NAME.npz too, in float16")
    return parser


if __name__ == "__main__":
    main()
