"""SUN RGB-D as Princeton distributes it: SUNRGBD.zip and SUNRGBDtoolbox.zip, unpacked side by side.

    SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat   which folders are alltrain, alltest
    SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat        the picture of each of the 10,335 entries
    SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat       their label maps, in the same order

The label maps are MATLAB 7.3, that is HDF5, and fill 64 GB when loaded at once: each is read when
it is asked for. HDF5 stores MATLAB's columns as rows, so they are transposed.
"""

import os
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bench.data.images import UInt8Array, read_image
from bench.data.label_coding import LabelCoding
from bench.data.pairs import Pair

DATA = "SUNRGBD/"  # paths in the metadata begin with /n/fs/sun3d/data/ before this


def pairs(root: Path, split: str, coding: LabelCoding) -> list[Pair]:
    """Returns the pairs of `train` or `test` in the order of allsplit.mat.

    Raises:
        ValueError: a file is missing or of the wrong kind, or the files contradict each other.
    """
    toolbox = root / "SUNRGBDtoolbox"
    if (toolbox / "SUNRGBDtoolbox").is_dir():  # some unpackers add a level
        toolbox /= "SUNRGBDtoolbox"
    listing = toolbox / "traintestSUNRGBD" / "allsplit.mat"
    labels = toolbox / "Metadata" / "SUNRGBD2Dseg.mat"
    pictures = _pictures(toolbox / "Metadata" / "SUNRGBDMeta.mat")
    count = len(_label_maps(labels, os.getpid())[1])
    if count != len(pictures):
        raise ValueError(f"{labels}: {count} label maps for {len(pictures)} entries of SUNRGBDMeta")
    numbers = {folder: number for number, (folder, _) in enumerate(pictures)}
    result = []
    for listed in _matlab(listing, f"all{split}"):
        folder = _relative(str(listed), listing)
        if folder not in numbers:
            raise ValueError(f"{listing}: {folder} is not in SUNRGBDMeta.mat; fetch both again")
        number = numbers[folder]
        image = root / pictures[number][1]
        if not image.is_file():
            raise ValueError(f"{image}: no such file; unpack SUNRGBD.zip in {root}")
        result.append(
            Pair(
                name=f"{split}-{number + 1:06d}",
                image=partial(read_image, image),
                label=partial(_label, labels, number, coding),
                label_source=f"{labels}, entry {number + 1}",
                files=(image, labels),
            )
        )
    return result


def _pictures(path: Path) -> list[tuple[str, str]]:
    """Returns folder and picture of every entry, relative to the data's root."""
    pictures = []
    for entry in _matlab(path, "SUNRGBDMeta"):
        picture = _relative(str(entry.rgbpath), path)
        pictures.append((str(Path(picture).parent.parent), picture))  # FOLDER/image/X.jpg
    return pictures


def _relative(stored: str, source: Path) -> str:
    start = stored.find(DATA)
    if start < 0:
        raise ValueError(f"{source}: the path {stored!r} has no {DATA!r} in it; fetch it again")
    return str(PurePosixPath(stored[start:]))  # without doubled or trailing slashes


@lru_cache(maxsize=4)
def _matlab(path: Path, variable: str) -> Any:
    """Reads a variable of a MATLAB file before version 7.3.

    Raises:
        ValueError: the file is missing, of another version, or without the variable.
    """
    import scipy.io  # noqa: PLC0415 - only this form of this set needs it

    if not path.is_file():
        raise ValueError(f"{path}: no such file; unpack SUNRGBDtoolbox.zip")
    try:
        content = scipy.io.loadmat(
            path, squeeze_me=True, struct_as_record=False, variable_names=[variable]
        )
    except NotImplementedError as error:
        raise ValueError(
            f"{path}: a MATLAB 7.3 file, but the official one is older; fetch it again, or save it "
            "with -v7"
        ) from error
    except (ValueError, TypeError, scipy.io.matlab.MatReadError) as error:
        raise ValueError(f"{path}: not a MATLAB file ({error}); fetch it again") from error
    if variable not in content:
        raise ValueError(f"{path}: holds no {variable}; fetch it again")
    return np.atleast_1d(content[variable])


@lru_cache(maxsize=2)
def _label_maps(path: Path, process: int) -> tuple[Any, Any]:
    """Opens the label maps and lists their references, once in each process.

    Raises:
        ValueError: h5py is missing, or the file is missing or of another kind.
    """
    try:
        import h5py  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ValueError(
            "the official SUN RGB-D labels need h5py; pip install 'segbench[sunrgbd]'"
        ) from error
    if not path.is_file():
        raise ValueError(f"{path}: no such file; unpack SUNRGBDtoolbox.zip")
    if not h5py.is_hdf5(path):
        raise ValueError(
            f"{path}: not a MATLAB 7.3 (HDF5) file, as the official one is; fetch it again"
        )
    file = h5py.File(path, "r")
    if "SUNRGBD2Dseg/seglabel" not in file:
        raise ValueError(f"{path}: holds no SUNRGBD2Dseg/seglabel; fetch it again")
    return file, file["SUNRGBD2Dseg/seglabel"][()].ravel()


def _label(path: Path, number: int, coding: LabelCoding) -> UInt8Array:
    file, references = _label_maps(path, os.getpid())
    stored = np.ascontiguousarray(file[references[number]][()].T).astype(np.uint8)
    return coding.of_values(stored, f"{path}, entry {number + 1}")
