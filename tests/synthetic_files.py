"""Synthetic scenes as files, in each layout that a reader knows: real data for tests and trials."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data import synthetic, synthetic_indoor
from bench.data.camvid import original as camvid_original
from bench.data.images import UInt8Array, write_png
from bench.data.pairs import Pair

Writer = Callable[[Path, dict[str, int], list[int]], None]

# One colour a class; the tutorial's for roads.
ROAD_CLASSES = [
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car",
    "Pedestrian", "Bicyclist",
]  # fmt: skip
ROAD_COLOURS = [next(iter(camvid_original.GROUPS[index].values())) for index in range(12)]


def write_camvid(out: Path, counts: dict[str, int], size: list[int]) -> None:
    """Writes the layout of the SegNet tutorial: SPLIT/, SPLITannot/, SPLIT.txt."""
    for split, pairs in _road_pairs(counts, size).items():
        lines = []
        for pair in pairs:
            _save(out / split / f"{pair.name}.png", pair.image())
            _save(out / f"{split}annot" / f"{pair.name}.png", pair.label())
            name = f"{pair.name}.png"
            lines.append(f"/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}\n")
        (out / f"{split}.txt").write_text("".join(lines))


def write_camvid_original(out: Path, counts: dict[str, int], size: list[int]) -> None:
    """Writes pictures, and labels in the 32 colours of the original, under the released names.

    Within a group of classes, colours alternate from object row to object row, so that grouping
    has something to do.
    """
    from bench.data.camvid.fetch import released_names

    shades = [list(group.values()) for group in camvid_original.GROUPS.values()]
    for split, pairs in _road_pairs(counts, size).items():
        for name, pair in zip(released_names(split), pairs, strict=False):
            label = pair.label()
            painted = np.zeros((*label.shape, 3), np.uint8)
            for row in range(len(label)):
                table = np.array([shade[row % len(shade)] for shade in shades], np.uint8)
                painted[row] = table[label[row]]
            _save(out / "701_StillsRaw_full" / f"{name}.png", pair.image())
            _save(out / "LabeledApproved_full" / f"{name}_L.png", painted)


def write_folder(out: Path, counts: dict[str, int], size: list[int]) -> None:
    """Writes images/SPLIT, labels/SPLIT (in colours) and classes.yaml."""
    table = np.array(ROAD_COLOURS, np.uint8)
    for split, pairs in _road_pairs(counts, size).items():
        for pair in pairs:
            _save(out / "images" / split / f"{pair.name}.png", pair.image())
            _save(out / "labels" / split / f"{pair.name}.png", table[pair.label()])
    lines = [f"  {n}: {list(c)}\n" for n, c in zip(ROAD_CLASSES, ROAD_COLOURS, strict=False)]
    (out / "classes.yaml").write_text("classes:\n" + "".join(lines) + "void: 255\n")


def write_road_scenes(out: Path, counts: dict[str, int], size: list[int]) -> None:
    """Writes a manifest of four sources, each in its own kind of label, and CamVid beside them."""
    write_camvid(out / "camvid", {s: n for s, n in counts.items() if s != "train"}, size)
    kitti = np.array([*ROAD_COLOURS[:4], (0, 0, 192), *ROAD_COLOURS[5:]], np.uint8)
    rows = []
    for index, pair in enumerate(_road_pairs({"train": counts["train"]}, size)["train"]):
        source = ("camvid", "kitti_ros", "stanford_background", "labelme")[index % 4]
        folders = ("camvid/train", "camvid/trainannot") if source == "camvid" else (source, source)
        image, label = Path(folders[0], f"{pair.name}.png"), pair.label()
        _save(out / image, pair.image())
        name = Path(folders[1], f"{pair.name}.png" if source == "camvid" else f"{pair.name}_L.png")
        if source == "stanford_background":
            name = name.with_suffix(".regions.txt")
            (out / name).write_text(_as_regions(label))
        elif source == "labelme":
            name = name.with_suffix(".xml")
            (out / name).write_text(_as_labelme(label))
        else:
            _save(out / name, label if source == "camvid" else kitti[label])
        rows.append([str(image), str(name), source])
    with (out / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "label", "source"], *rows])


def write_sunrgbd_png(out: Path, counts: dict[str, int], size: list[int]) -> None:
    """Writes the PNG release: jpg pictures by split, labels in one row, the test set's first."""
    number = 0
    for split in ("test", "train"):
        for index, pair in enumerate(_indoor_pairs(counts, size)[split], start=1):
            number += 1
            picture = out / f"SUNRGBD-{split}_images" / f"img-{index:06d}.jpg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pair.image()).save(picture, quality=95, subsampling=0)
            _save(out / "labels" / f"img-{number:06d}.png", _stored(pair.label()))


def write_sunrgbd_official(out: Path, counts: dict[str, int], size: list[int]) -> None:
    """Writes SUNRGBD/ and SUNRGBDtoolbox/ with its three MATLAB files; needs h5py."""
    import h5py
    import scipy.io

    toolbox, prefix = out / "SUNRGBDtoolbox", "/n/fs/sun3d/data"
    for folder in (toolbox / "Metadata", toolbox / "traintestSUNRGBD"):
        folder.mkdir(parents=True, exist_ok=True)
    listed: dict[str, list[str]] = {"train": [], "test": []}
    entries: list[dict[str, str]] = []
    pairs = [(s, pair) for s, some in _indoor_pairs(counts, size).items() for pair in some]
    pairs.sort(key=lambda item: item[1].name[::-1])  # the toolbox does not go by split
    with h5py.File(toolbox / "Metadata" / "SUNRGBD2Dseg.mat", "w", userblock_size=512) as file:
        references = file.create_dataset(
            "SUNRGBD2Dseg/seglabel", (len(pairs), 1), dtype=h5py.ref_dtype
        )
        for number, (split, pair) in enumerate(pairs):
            place = f"SUNRGBD/kv1/{pair.name}"
            picture = out / place / "image" / f"{pair.name}.jpg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pair.image()).save(picture, quality=95, subsampling=0)
            data = file.create_dataset(f"#refs#/{number}", data=_stored(pair.label()).T)
            references[number, 0] = data.ref
            entries.append({"rgbpath": f"{prefix}/{picture.relative_to(out)}"})
            listed[split].append(f"{prefix}/{place}")
    meta = np.array([(entry["rgbpath"],) for entry in entries], dtype=[("rgbpath", object)])
    scipy.io.savemat(toolbox / "Metadata" / "SUNRGBDMeta.mat", {"SUNRGBDMeta": meta[None]})
    split_lists = {f"all{s}": np.array([paths], dtype=object) for s, paths in listed.items()}
    scipy.io.savemat(toolbox / "traintestSUNRGBD" / "allsplit.mat", split_lists)


LAYOUTS: dict[str, Writer] = {
    "camvid": write_camvid,
    "camvid_original": write_camvid_original,
    "folder": write_folder,
    "road_scenes": write_road_scenes,
    "sunrgbd_official": write_sunrgbd_official,
    "sunrgbd_png": write_sunrgbd_png,
}


def _road_pairs(counts: dict[str, int], size: list[int]) -> dict[str, list[Pair]]:
    return {split: synthetic.read(split, counts, size, 0) for split in counts}


def _indoor_pairs(counts: dict[str, int], size: list[int]) -> dict[str, list[Pair]]:
    return {split: synthetic_indoor.read(split, counts, size, 0) for split in counts}


def _stored(label: UInt8Array) -> UInt8Array:
    """Turns 0..36 and void 255 into SUN RGB-D's 1..37 and 0."""
    return label + np.uint8(1)  # 255 wraps round to 0


def _as_regions(label: UInt8Array) -> str:
    """Writes a label as Stanford's text: sky 0, tree 1, road 2, building 5, all else -1."""
    table = np.full(12, -1)
    table[[synthetic.SKY, synthetic.TREE, synthetic.ROAD, synthetic.BUILDING]] = 0, 1, 2, 5
    return "".join(" ".join(map(str, row)) + "\n" for row in table[label])


def _as_labelme(label: UInt8Array) -> str:
    """Writes three polygons that depend on a label's size only: sky, road and a car on it."""
    height, width = label.shape
    boxes = {"sky": (0, 0, 1, 0.5), "road": (0, 0.5, 1, 1), "car az90deg": (0.4, 0.6, 0.6, 0.8)}
    objects = ""
    for name, (left, top, right, bottom) in boxes.items():
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        points = "".join(
            f"<pt><x>{x * (width - 1):.1f}</x><y>{y * (height - 1):.1f}</y></pt>"
            for x, y in corners
        )
        objects += f"<object><name>{name}</name><polygon>{points}</polygon></object>"
    size = f"<imagesize><nrows>{height}</nrows><ncols>{width}</ncols></imagesize>"
    return f"<annotation>{size}{objects}</annotation>"


def _save(path: Path, array: UInt8Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, Image.fromarray(array))
