"""Road scenes of several sources as one set: a manifest, and one class mapping per source.

    ROOT/manifest.csv            image,label,source and, if it matters, split (train, val or
                                 test); paths under ROOT
    ROOT/mappings/SOURCE.yaml    your own mapping; those in bench/data/road_scenes/sources need none
    ROOT/camvid                  CamVid, whose test set is this set's where the manifest has none

A mapping says which class of ours, or void, every class of its source becomes:

    origin: where this comes from
    classes:
      vegetation: {value: 21, target: Tree}             stored as a value,
      Tree: {colour: [128, 128, 0], target: Tree}       as a colour,
      oak: {target: Tree}                               or as a LabelMe object's name
    others: void                                        LabelMe only: all other names

Labels are pictures, Stanford's *.regions.txt, or LabelMe's *.xml.
"""

import csv
import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import camvid
from bench.data.images import UInt8Array
from bench.data.label_coding import LabelCoding
from bench.data.pairs import Pair, file_pair
from bench.data.road_scenes.labelme import read_polygons
from bench.data.text_file import numbered_lines, read_text, written_path
from bench.data.yaml_file import colour_of, read_yaml, whole_number

SHIPPED = Path(__file__).with_name("sources")
COLUMNS = ["image", "label", "source"]
NAME = re.compile(r"[\w-]+")  # of a source; files are named after it
SPLITS = ("train", "val", "test")
UNKNOWN = 255  # the value given to Stanford's -1


def read(root: str, split: str, *, classes: list[str], void: int) -> list[Pair]:
    """Returns the pairs of one split in the manifest's order; rows without a split are training.

    Args:
        root: the folder described above.
        split: train, or what the manifest names; CamVid's where the manifest has no such rows.
        classes: our class names, the targets of the mappings.
        void: the index that void gets.

    Raises:
        ValueError: the manifest, a mapping or a file is missing or wrong.
    """
    folder = Path(root)
    manifest = folder / "manifest.csv"
    rows = _rows(manifest)
    of_split = [(n, row) for n, row in rows if (row.get("split") or "train") == split]
    if not of_split:
        if (folder / "camvid").is_dir():
            return camvid.read(str(folder / "camvid"), split)
        raise ValueError(
            f"{manifest}: has no row of split {split!r}, and there is no {folder / 'camvid'} to "
            "take it from; add one of them"
        )
    readers: dict[str, Callable[[Path], UInt8Array]] = {}
    mappings: dict[str, Path] = {}
    pairs: dict[str, Pair] = {}
    for number, row in of_split:
        source = row["source"]
        if source not in readers:
            mappings[source] = _mapping_path(folder, source, f"{manifest}:{number}")
            readers[source] = _label_reader(mappings[source], classes, void)
        image, label = (written_path(folder, row[key]) for key in ("image", "label"))
        for path in (image, label):
            if not path.is_file():
                raise ValueError(f"{manifest}:{number}: {path} does not exist; correct the row")
        name = f"{source}-{image.stem}"
        if name in pairs:
            raise ValueError(f"{manifest}:{number}: a second {image.stem} of {source}; remove one")
        pair = file_pair(image, label, readers[source], name)
        pairs[name] = Pair(
            name, pair.image, pair.label, pair.label_source, (*pair.files, mappings[source])
        )
    return list(pairs.values())


def _rows(manifest: Path) -> list[tuple[int, dict[str, str]]]:
    """Returns line numbers and rows."""
    if not manifest.is_file():
        raise ValueError(
            f"{manifest}: no such file; set dataset.root=PATH to a folder with a manifest.csv of "
            "the columns image,label,source"
        )
    reader = csv.DictReader(io.StringIO(read_text(manifest), newline=""))
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise ValueError(f"{manifest}:{reader.line_num + 1}: no row of a CSV ({error})") from error
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
    if missing:
        raise ValueError(
            f"{manifest}: has no column {missing[0]!r}; the first line must name image,label,source"
        )
    for number, row in rows:
        if any(not row[name] for name in COLUMNS):
            raise ValueError(f"{manifest}:{number}: the row is incomplete")
        if len(row) > len(reader.fieldnames or []):
            raise ValueError(f"{manifest}:{number}: the row has more cells than the first line")
        if not NAME.fullmatch(row["source"]):
            raise ValueError(
                f"{manifest}:{number}: source {row['source']!r} is no plain name; letters, digits, "
                "_ and - make one"
            )
        if row.get("split") and row["split"] not in SPLITS:
            raise ValueError(
                f"{manifest}:{number}: split {row['split']!r} is none of {', '.join(SPLITS)}; "
                "correct the row, or leave it empty for train"
            )
    return rows


def _mapping_path(root: Path, source: str, where: str) -> Path:
    candidates = [root / "mappings" / f"{source}.yaml", SHIPPED / f"{source}.yaml"]
    for path in candidates:
        if path.is_file():
            return path
    shipped = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.yaml")))
    raise ValueError(
        f"{where}: source {source!r} has no mapping; write {candidates[0]}, or name one of "
        f"{shipped}"
    )


def _label_reader(path: Path, classes: list[str], void: int) -> Callable[[Path], UInt8Array]:
    """Returns what turns a label file of a source into class indices.

    Raises:
        ValueError: the mapping leaves a class without a target, or is malformed.
    """
    content = read_yaml(path)
    table = content.get("classes")
    if not isinstance(table, dict) or not table:
        raise ValueError(f"{path}: must have 'classes: {{NAME: {{target: CLASS}}, ...}}'")
    targets = {name: index for index, name in enumerate(classes)} | {"void": void}
    values: dict[int, int] = {}
    colours: dict[tuple[int, int, int], int] = {}
    names: dict[str, int] = {}
    for name, entry in table.items():
        target = entry.get("target") if isinstance(entry, dict) else None
        if target not in targets:
            raise ValueError(
                f"{path}: class {name!r} has the target {target!r}; it must be one of "
                f"{', '.join(targets)}"
            )
        names[name.lower()] = targets[target]
        value, colour = whole_number(entry.get("value")), colour_of(entry.get("colour"))
        if (value is None and "value" in entry) or (colour is None and "colour" in entry):
            raise ValueError(
                f"{path}: class {name!r} has the value {entry.get('value')} and the colour "
                f"{entry.get('colour')}; they are a number from 0 to 255 and [R, G, B]"
            )
        if value is not None:
            values[value] = targets[target]
        if colour is not None:
            colours[colour] = targets[target]
    others = targets.get(content.get("others", ""))
    return partial(_read_label, LabelCoding(values, colours, targets["void"]), names, others)


def _read_label(
    coding: LabelCoding, names: dict[str, int], others: int | None, path: Path
) -> UInt8Array:
    if path.suffix == ".xml":
        return read_polygons(path, names, others)
    if path.suffix == ".txt":
        return coding.of_values(_regions(path), str(path))
    return coding.read(path)


def _regions(path: Path) -> UInt8Array:
    """Reads a matrix of small integers as text (H, W); negative ones become UNKNOWN."""
    rows: list[list[Any]] = [line.split() for _, line in numbered_lines(path)]
    try:
        values = np.array(rows, dtype=np.int64)
    except ValueError as error:
        raise ValueError(f"{path}: not a matrix of integers ({error}); fetch it again") from error
    if values.size == 0 or values.max() >= UNKNOWN:
        raise ValueError(f"{path}: not a matrix of class values below {UNKNOWN}; fetch it again")
    return np.where(values < 0, UNKNOWN, values).astype(np.uint8)
