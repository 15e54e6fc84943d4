"""The schema of `dataset`: every key, its type and its meaning. Imports no torch."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from bench.data.yaml_file import read_yaml


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


# Where the data lies and how it is held changes no result; all else in `dataset` may.
GONE = {"memory_budget_gb", "workers"}  # how older versions held it; only their records say so
NOT_IN_FINGERPRINT = {"root", "note", "pictures", "download", "resident", "cache", *GONE}


def from_class_file(root: str | None, key: str) -> Any:
    """Returns `classes`, `colours` or `void` of ROOT/classes.yaml, for dataset=folder.

    The file names each class with its colour; `void` is 255 where it is not given:

        classes: {road: [128, 64, 128], car: [64, 0, 128]}
        void: 255

    Raises:
        ValueError: the file is missing or says something else.
    """
    if root is None:
        raise ValueError("dataset.root is not set; set dataset.root=PATH to the folder of the data")
    path = Path(root) / "classes.yaml"
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; write the classes there, as 'classes: {{road: [128, 64, 128], "
            "...}}', or give dataset.classes, dataset.colours and dataset.void"
        )
    content = read_yaml(path)
    classes = content.get("classes")
    if not isinstance(classes, dict) or not all(_is_colour(c) for c in classes.values()):
        raise ValueError(f"{path}: must say 'classes: {{NAME: [R, G, B], ...}}', colours 0..255")
    values = {
        "classes": [str(name) for name in classes],
        "colours": list(classes.values()),
        "void": content.get("void", 255),
    }
    return OmegaConf.create(values[key]) if key != "void" else values[key]


def _is_colour(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(v, int) and 0 <= v <= 255 for v in value)
    )


OmegaConf.register_new_resolver("class_file", from_class_file, replace=True)
