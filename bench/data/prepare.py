"""Turning a data set into the plain folder layout at one size, once.

    OUT/images/SPLIT/NAME.png    RGB, resized smoothly
    OUT/labels/SPLIT/NAME.png    class indices and void, resized by nearest, with a palette
    OUT/classes.yaml             so that dataset=folder reads it too
    OUT/prepared.json            from what and how
    OUT/checksums.csv            SHA-256 of every picture; written last, it says that all is there

Pictures appear whole or not at all, and a call that was cut short is continued by the next one.
"""

import csv
import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from bench import records
from bench.config import Config
from bench.data.ahead import ahead
from bench.data.decoding import Decoder
from bench.data.images import resize_image, resize_label, write_label, write_png
from bench.data.pairs import Pair
from bench.temporary_files import KILLED_SECONDS, remove_leftovers

CHECKSUMS = "checksums.csv"


def is_complete(folder: Path) -> bool:
    """Says whether a preparation has finished."""
    return (folder / CHECKSUMS).is_file()


def prepare(
    config: Config,
    pairs: dict[str, list[Pair]],
    out: Path,
    threads: int | None = None,
) -> int:
    """Writes the pairs of every split at the configured size; returns how many were missing.

    Args:
        config: with the data set and `protocol.image_size`.
        pairs: of each split.
        out: the folder to write.
        threads: that work in parallel; None: one a core.

    Raises:
        ValueError: a pair is wrong, the disk is full, or the folder holds another preparation.
    """
    if config.dataset.bands is not None:
        raise ValueError(
            f"dataset.bands is {config.dataset.bands}; only sets of 8-bit RGB can be prepared as "
            "PNG: use the folder as it is"
        )
    _describe(config, out)
    remove_leftovers(out, KILLED_SECONDS)
    writer = _Writer(out, Decoder.of(config), config.dataset.colours)
    tasks = [(split, pair) for split, of_split in pairs.items() for pair in of_split]
    missing = [task for task in tasks if not writer.is_written(*task)]
    try:
        for split in pairs:
            for kind in ("images", "labels"):
                (out / kind / split).mkdir(parents=True, exist_ok=True)
        written = ahead(lambda task: writer.write(*task), missing, threads)
        for _ in tqdm(written, total=len(missing), desc="preparing", ncols=100):
            pass
        _write_checksums(out, [path for task in tasks for path in writer.paths(*task)], threads)
    except OSError as error:
        raise ValueError(
            f"{out}: {error.strerror}; free some space, then call again: it goes on where it "
            "stopped"
        ) from error
    return len(missing)


def wrong_files(folder: Path) -> list[str]:
    """Names the files of a prepared folder that are missing or have another checksum."""
    with (folder / CHECKSUMS).open(newline="") as file:
        expected = {row["file"]: row["sha256"] for row in csv.DictReader(file)}
    actual = ahead(partial(_sha256, folder), expected)
    return [name for name, sha256 in zip(expected, actual, strict=True) if sha256 != expected[name]]


@dataclass(frozen=True)
class _Writer:
    out: Path
    decoder: Decoder
    colours: list[list[int]]

    def paths(self, split: str, pair: Pair) -> tuple[Path, Path]:
        name = f"{pair.name}.png"
        return self.out / "images" / split / name, self.out / "labels" / split / name

    def is_written(self, split: str, pair: Pair) -> bool:
        return all(path.is_file() for path in self.paths(split, pair))

    def write(self, split: str, pair: Pair) -> None:
        image, truth = self.decoder.read(pair)
        image_path, label_path = self.paths(split, pair)
        size = self.decoder.size or truth.shape
        write_png(image_path, Image.fromarray(resize_image(image, *size)))
        write_label(label_path, resize_label(truth, *size), self.colours)


def _describe(config: Config, out: Path) -> None:
    """Writes what is being prepared, or compares it with what the folder says.

    Raises:
        ValueError: the folder holds something else.
    """
    dataset = config.dataset
    described = {
        "dataset": dataset.name,
        "image_size": config.protocol.image_size,
        "classes": dataset.classes,
        "void": dataset.void,
        "limit": dataset.limit,
    }
    path = out / "prepared.json"
    if path.is_file():
        before = json.loads(path.read_text())
        changed = [key for key, value in described.items() if before.get(key) != value]
        if changed:
            raise ValueError(
                f"{out} holds a preparation of another {', '.join(changed)} "
                f"({before.get(changed[0])}); choose another folder, or remove it"
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty and holds no preparation; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    colours = ", ".join(
        f"{json.dumps(name, ensure_ascii=False)}: {colour}"
        for name, colour in zip(dataset.classes, dataset.colours, strict=True)
    )
    classes = f"classes: {{{colours}}}\nvoid: {dataset.void}\n"
    records.write_bytes(out / "classes.yaml", classes.encode())
    records.write_bytes(path, f"{json.dumps(described, indent=1)}\n".encode())


def _write_checksums(out: Path, paths: list[Path], threads: int | None) -> None:
    names = [str(path.relative_to(out)) for path in paths]
    sums = ahead(partial(_sha256, out), names, threads)
    rows = [f"{name},{sha256}\n" for name, sha256 in zip(names, sums, strict=True)]
    records.write_bytes(out / CHECKSUMS, "".join(["file,sha256\n", *rows]).encode())


def _sha256(folder: Path, name: str) -> str | None:
    path = folder / name
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
