"""The schema of `dataset` and of `protocol.augmentation`: every key, its type and its meaning.

Imports no torch.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from omegaconf import MISSING

import bench.data.band_file  # conf/dataset/folder.yaml asks it for the bands
import bench.data.class_file  # noqa: F401 - and this for the classes
from bench.typed import added, added_group


class Residence(StrEnum):
    """Where a set is kept while a run uses it."""

    memory = "memory"  # decoded on disk, mapped: the page cache is shared by processes and runs
    device = "device"
    files = "files"  # decoded for every batch; so is a set for which the disk is too small


@dataclass
class DatasetConfig:
    """A data set: where it lies, how it is read, and what its labels mean."""

    name: str = MISSING
    reader: dict[str, Any] = MISSING  # _target_ and its own arguments
    root: str | None = None
    limit: int | None = None  # only the first N images of each split, for a quick look
    classes: list[str] = MISSING
    colours: list[list[int]] = MISSING
    void: int = MISSING
    sequence: str | None = None  # regular expression; its group 1 names the video of an image
    published_class_weights: dict[str, list[float]] = field(default_factory=dict)
    note: str = ""
    pictures: list[str] = field(default_factory=list)  # images whose predictions are kept; []: 8
    download: bool = False  # fetch what is missing under root, where the set can be fetched
    resident: Residence = Residence.memory
    cache: str | None = "~/.cache/segbench"  # folder for decoded sets; null: decode each time
    bands: int | None = added(None)  # of TIFF images of any depth; null: images are 8-bit RGB
    band_mean: list[float] = added_group(list)  # of each band, in the files' own values
    band_deviation: list[float] = added_group(list)  # likewise

    @property
    def in_channels(self) -> int:
        """The channels of a network's input."""
        return self.bands or 3


@dataclass
class AugmentationConfig:
    """What is drawn for each training image; see bench/data/augmentation.py."""

    scale: list[float] | None = added(None)  # lowest and highest factor of size; null: 1
    crop: list[int] | None = added(None)  # height, width of what is cut out; null: image_size
    brightness: float = added(0.0)  # factors are drawn from 1 - this to 1 + this
    contrast: float = added(0.0)  # likewise, about the mean grey
    saturation: float = added(0.0)  # likewise, about each pixel's grey

    @property
    def is_on(self) -> bool:
        """Says whether anything is drawn."""
        return self != AugmentationConfig()


# Where the data lies and how it is held changes no result; all else in `dataset` may.
GONE = {"memory_budget_gb", "workers"}  # how older versions held it; only their records say so
NOT_IN_FINGERPRINT = {"root", "note", "pictures", "download", "resident", "cache", *GONE}

# Arguments of readers that came after records had been shipped.
ADDED = {"palette", "threshold", "bands"}


def hashed_reader(reader: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a reader that fingerprints are made of.

    Later ones that are null are left out, and so are names, which are those of `classes`.
    """
    return {
        key: value
        for key, value in reader.items()
        if key != "names" and (value is not None or key not in ADDED)
    }
