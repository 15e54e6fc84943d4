"""Dense CRF: sharpen class probabilities along the colour edges of their image.

    python -m bench.dense_crf PROBS IMAGES OUT

refines every PROBS/NAME.npz (key `probs`) or PROBS/NAME.npy, float (C, H, W), with the image
IMAGES/NAME.png or .jpg, and writes the labels as OUT/NAME.png, 8-bit class indices (of a GeoTIFF
OUT/NAME.tif, with its georeference). NAME is the path below the folder, folders included.
"""

import argparse
import itertools
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
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
from bench.data.files import paired, picture_files, tell_skipped
from bench.data.images import read_image
from bench.launch.processes import worker_pool
from bench.records import writing
from bench.results import check_plan, label_suffix, write_arrays, write_label

COMMAND = "bench.dense_crf"


def refine_file(
    probs_path: Path,
    image_path: Path,
    target: Path,
    *,
    device: str,
    save_probs: bool,
    **parameters: Any,
) -> None:
    """Applies `dense_crf` to one pair of files and writes `target`.png and, if asked for, .npz."""
    probs, image = read_probs(probs_path), torch.from_numpy(np.array(read_image(image_path)))
    try:
        refined = dense_crf(probs.to(device), image.to(device), **parameters).cpu()
        if len(refined) > 256:
            raise ValueError(f"{len(refined)} classes do not fit an 8-bit label image")
    except ValueError as error:
        raise ValueError(f"{probs_path}: {error}") from error
    label = refined.argmax(dim=0).to(torch.uint8).numpy()
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    write_label(target, Image.fromarray(label), image_path, COMMAND)
    if save_probs:
        write_arrays(target.with_name(f"{target.name}.npz"), COMMAND, probs=refined.half().numpy())


def read_probs(path: Path) -> Tensor:
    """Reads (C, H, W) probabilities as float32 from a .npy file or the key `probs` of a .npz."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file)
            array = loaded["probs"] if isinstance(loaded, NpzFile) else loaded
            return torch.from_numpy(array.astype(np.float32))
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        message = f"{path}: neither a .npy array nor a .npz file with the key probs ({error})"
        raise ValueError(message) from error


def plan(
    probs: Path, images: Path, out: Path, *, save_probs: bool
) -> list[tuple[Path, Path, Path]]:
    """Lists what is to be done: probabilities, image, and the result without its suffix.

    Says on stderr what was passed over in the two folders.

    Raises:
        ValueError: a file has no partner, or a result would overwrite something of the user's.
    """
    found = picture_files(probs, {".npz", ".npy"}), picture_files(images)
    tell_skipped(*found)
    pairs = paired(*found)
    targets = {
        pair[0]: [name + label_suffix(pair[1]), *([f"{name}.npz"] if save_probs else [])]
        for name, pair in pairs.items()
    }
    check_plan(out, targets, itertools.chain(*pairs.values()), COMMAND)
    return [(*pair, out / name) for name, pair in pairs.items()]


def _refine_all(
    refine: Callable[[Path, Path, Path], None],
    tasks: list[tuple[Path, Path, Path]],
    processes: int,
) -> Iterator[None]:
    """Refines the images in order, on `processes` processes of one thread each."""
    if processes == 1:
        yield from itertools.starmap(refine, tasks)
        return
    with worker_pool(processes, partial(torch.set_num_threads, 1)) as pool:
        yield from pool.map(refine, *zip(*tasks, strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command `python -m bench.dense_crf`; a mistake in its use ends it with status 2."""
    outlive_consoles(essential=True)
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    probs, images, out = (options.pop(name) for name in ("probs", "images", "out"))
    processes = options.pop("processes")
    try:
        if options["device"] == "cuda" and not torch.cuda.is_available():
            raise ValueError("--device cuda: torch finds no CUDA device here, use --device cpu")
        if processes < 1:
            raise ValueError(f"--processes {processes} must be 1 or more")
        tasks = plan(probs, images, out, save_probs=options["save_probs"])
        results = _refine_all(partial(refine_file, **options), tasks, min(processes, len(tasks)))
        for _ in tqdm(results, total=len(tasks), unit="image", disable=None):  # only on a terminal
            pass
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {COMMAND}",
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
