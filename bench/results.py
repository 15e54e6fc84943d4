"""Files that a command writes for its inputs: planned before it starts, so that none is lost.

Every file is marked as a result of its command. What exists under a planned name and is neither an
earlier result nor absent is a user's, and is left alone.
"""

import io
import os
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, TiffImagePlugin

from bench import records
from bench.data.geotiff import georeference

KEY = "segbench"  # of the mark in a PNG's text, whose value is the command
SOFTWARE = 305  # the tag of a TIFF in which the mark stands


def check_plan(
    out: Path, targets: Mapping[Path, Sequence[str]], read: Iterable[Path], command: str
) -> None:
    """Rejects results that would destroy something, by the identity of files and not their names.

    Args:
        out: the folder of the results, which may not exist yet.
        targets: the names below it, with slashes, of what is written for each input.
        read: every file that is read.
        command: whose results may be replaced.

    Raises:
        ValueError: a target is an input, a file of somebody else, no file, or is shared by two
            inputs.
    """
    inputs = {identity: path for path in read if (identity := _identity(path)) is not None}
    owners: dict[str, Path] = {}
    for source, names in targets.items():
        for name in names:
            other = owners.setdefault(name, source)
            if other != source:
                raise ValueError(
                    f"{source} and {other} would both be written to {out / name}; rename one of "
                    "them, or give them in two calls with an OUT of their own"
                )
            _check_target(out / name, inputs, command)
    _check_letters(out, owners)


def write_picture(path: Path, image: Image.Image, command: str) -> None:
    """Writes a PNG that is marked as a result of a command, whole or not at all."""
    mark = PngImagePlugin.PngInfo()
    mark.add_text(KEY, command)
    with records.replacing(path, durable=False) as file:
        image.save(file, format="PNG", optimize=False, pnginfo=mark)


def label_suffix(image: Path) -> str:
    """Returns the suffix of an image's label map, .tif where the image is placed on the earth."""
    return ".tif" if georeference(image) else ".png"


def write_label(target: Path, label: Image.Image, image: Path, command: str) -> None:
    """Writes the label map of an image as `target` with `label_suffix`, whole or not at all.

    Args:
        target: without the suffix.
        label: of class indices, grey or palette, at the size of the image.
        image: the file; what places a GeoTIFF's pixels on the earth is taken over.
        command: of which it is a result.
    """
    tags = georeference(image)
    path = target.with_name(f"{target.name}{label_suffix(image)}")
    if not tags:
        write_picture(path, label, command)
        return
    palette = label.getpalette("RGB")  # None: grey
    colours = palette and np.array(palette, np.uint16).reshape(256, 3).T * 257  # 255 -> 65535
    with records.replacing(path, durable=False) as file:
        tifffile.imwrite(
            file,
            np.asarray(label),
            photometric="minisblack" if palette is None else "palette",
            colormap=colours,
            compression="zlib",
            software=_mark(command),
            metadata=None,
            extratags=tags,
        )


def write_arrays(path: Path, command: str, **arrays: NDArray[Any]) -> None:
    """Writes an npz file that is marked as a result of a command, whole or not at all."""
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    with zipfile.ZipFile(content, "a") as archive:
        archive.comment = zip_mark(command)
    records.write_bytes(path, content.getvalue(), durable=False)


def zip_mark(command: str) -> bytes:
    """Returns the comment of an npz file that marks it as a result of a command."""
    return _mark(command).encode()


def _mark(command: str) -> str:
    return f"{KEY} {command}"


def _check_target(path: Path, inputs: Mapping[tuple[int, int], Path], command: str) -> None:
    for parent in path.parents:
        if parent.is_dir():
            break
        if os.path.lexists(parent):
            raise ValueError(f"{parent} is no folder, but results belong there; choose another OUT")
    identity = _identity(path)
    if identity is not None and identity in inputs:
        raise ValueError(
            f"{path} would be overwritten, and it is the input {inputs[identity]}; choose another "
            "OUT"
        )
    if os.path.lexists(path) and not _is_result(path, command):
        raise ValueError(
            f"{path} is there already and is no earlier result of {command}; move it away, or "
            "choose another OUT"
        )


def _check_letters(out: Path, owners: Mapping[str, Path]) -> None:
    """Rejects names that a file system takes for one: it may ignore case or compose letters."""
    alike: dict[str, str] = {}
    for name in owners:
        other = alike.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name and _ignores_case(out):
            raise ValueError(
                f"{owners[name]} and {owners[other]} would both be written to {out / name}, where "
                "the file system ignores case; rename one of them"
            )


def _ignores_case(out: Path) -> bool:
    """Says whether two spellings of a name are one file where results will lie."""
    place = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    with records.writing(place), tempfile.NamedTemporaryFile(prefix=".Case-", dir=place) as file:
        path = Path(file.name)
        return path.with_name(path.name.swapcase()).exists()


def _identity(path: Path) -> tuple[int, int] | None:
    """Returns what tells a file from others, whatever links and names lead to it."""
    try:
        state = path.stat()
    except OSError:  # absent, or a link that leads nowhere
        return None
    return state.st_dev, state.st_ino


def _is_result(path: Path, command: str) -> bool:
    """Says whether a file was written by a command; what cannot be read was not."""
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return archive.comment == zip_mark(command)
        with Image.open(path) as image:
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                return bool(image.tag_v2.get(SOFTWARE) == _mark(command))
            return image.info.get(KEY) == command
    except (OSError, zipfile.BadZipFile, SyntaxError, ValueError):
        return False
