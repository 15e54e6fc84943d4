"""Dense CRF: sharpen class probabilities along the colour edges of their image.

    python -m bench.dense_crf PROBS IMAGES OUT

refines every PROBS/NAME.npz (key `probs`) or PROBS/NAME.npy, float (C, H, W), with the image
IMAGES/NAME.png or .jpg, and writes the labels as OUT/NAME.png, 8-bit class indices.
"""

import argparse
import io
import itertools
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
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

from bench.console import outlive_consoles
from bench.crf.lattice import Normalisation
from bench.crf.mean_field import dense_crf
from bench.data.files import SUFFIXES as IMAGE_SUFFIXES
from bench.data.images import read_image, write_png
from bench.records import write_bytes


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


def _by_stem(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
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
    outlive_consoles(essential=True)
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
