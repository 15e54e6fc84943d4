"""A user's own folders and lists: read as they are meant, or refused with the remedy."""

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import COLOURS, image, label, save, write_set
from PIL import Image

from bench.config import fingerprint
from bench.data.images import UInt8Array
from bench.data.pairs import pairs_of
from bench.data.splits import IMAGE, Split, load_splits

Configured = Callable[..., Any]


def loaded(config: Any, *splits: str) -> dict[str, Split]:
    return load_splits(config, list(splits))


def permuted(order: list[int], extra: dict[int, int] | None = None) -> Callable[..., None]:
    """Saves palettes that hold the classes' colours in another order, as quantising does."""

    def save_palette(path: Path, array: UInt8Array) -> None:
        stored = np.argsort(order).astype(np.uint8)[array]
        picture = Image.fromarray(stored)
        picture.putpalette([part for index in order for part in COLOURS[index]])
        picture.save(path)

    return save_palette


def test_splits_may_be_numbered_alike(tmp_path: Path, configured: Configured) -> None:
    names = [f"{index:04d}" for index in range(4)]
    write_set(tmp_path, {"train": names, "test": names})
    splits = loaded(configured("folder", tmp_path), "train", "test")
    assert splits["train"].names == splits["test"].names == names


@pytest.mark.parametrize("listed", [False, True])
def test_cities_may_number_alike(tmp_path: Path, configured: Configured, listed: bool) -> None:
    """A name is the path below the folder where the last parts repeat."""
    names = ["berlin/0000", "berlin/0001", "bonn/0000"]
    write_set(tmp_path, {"train": names})
    if listed:
        lines = [f"images/train/{name}.png labels/train/{name}.png\n" for name in names]
        (tmp_path / "train.txt").write_text("".join(lines))
    split = loaded(configured("folder", tmp_path), "train")["train"]
    assert split.names == names
    for index in range(3):
        assert (split.truths[index] == label(index)).all()
        assert (split.array(index, IMAGE).transpose(1, 2, 0) == image(index)).all()


def test_folders_that_keep_names_apart_do_not_show_in_them(
    tmp_path: Path, configured: Configured
) -> None:
    write_set(tmp_path, {"train": ["berlin/b0", "bonn/a0"]})
    labels = tmp_path / "labels/train"
    for path in list(labels.rglob("*.png")):
        path.rename(labels / path.name)  # the labels of all cities in one folder
    split = loaded(configured("folder", tmp_path), "train")["train"]
    assert split.names == ["b0", "a0"]
    assert (split.truths[1] == label(1)).all()


def test_an_image_listed_by_two_paths_is_listed_twice(
    tmp_path: Path, configured: Configured
) -> None:
    write_set(tmp_path, {"train": ["a"]})
    line = "images/{}train/a.png labels/train/a.png\n"
    (tmp_path / "train.txt").write_text(line.format("") + line.format("../images/"))
    with pytest.raises(ValueError, match=r"train\.txt:2: the image images/\.\./images/train/a"):
        loaded(configured("folder", tmp_path), "train")


def test_what_is_no_picture_is_passed_over_and_named(
    tmp_path: Path, configured: Configured, caplog: pytest.LogCaptureFixture
) -> None:
    write_set(tmp_path, {"train": ["a", "b"]})
    (tmp_path / "images/train/a.png").rename(tmp_path / "images/train/a.PNG")
    (tmp_path / "images/train/._a.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "labels/train/Thumbs.db").write_bytes(b"x")
    (tmp_path / "labels/train/b.png").rename(tmp_path / "labels/train/old.svg")
    (tmp_path / "labels/train/x.png").mkdir()
    save(tmp_path / "labels/train/b.gif", label(1))
    assert loaded(configured("folder", tmp_path), "train")["train"].names == ["a", "b"]
    assert "images/train: passed over ._a.png" in caplog.text
    assert "labels/train: passed over Thumbs.db, old.svg, x.png/" in caplog.text


def test_composed_and_decomposed_names_pair(tmp_path: Path, configured: Configured) -> None:
    """MacOS stores ü as u and two dots."""
    write_set(tmp_path, {"train": ["stra\u00dfe_\u00fc"]})
    path = tmp_path / "labels/train/stra\u00dfe_\u00fc.png"
    path.rename(path.with_name(unicodedata.normalize("NFD", path.name)))
    assert loaded(configured("folder", tmp_path), "train")["train"].names == ["straße_ü"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("slash", ["/", "\\"])
def test_lists_of_other_systems_are_read(
    tmp_path: Path, configured: Configured, encoding: str, slash: str
) -> None:
    write_set(tmp_path, {"train": ["straße0", "a1"]})
    lines = "\r\n".join(f"images/train/{n}.png labels/train/{n}.png" for n in ("straße0", "a1"))
    (tmp_path / "train.txt").write_bytes(lines.replace("/", slash).encode(encoding))
    split = loaded(configured("folder", tmp_path), "train")["train"]
    assert split.names == ["straße0", "a1"]
    assert (split.truths[0] == label(0)).all()


def test_a_list_in_latin_1_is_refused_by_file_and_line(
    tmp_path: Path, configured: Configured
) -> None:
    write_set(tmp_path, {"train": ["straße0"]})
    (tmp_path / "train.txt").write_bytes("images/train/straße0.png x".encode("latin-1"))
    with pytest.raises(ValueError, match=r"train\.txt: byte 0xdf in line 1 .* save the file as UT"):
        loaded(configured("folder", tmp_path), "train")


def test_a_missing_split_is_told_with_those_there_are(
    tmp_path: Path, configured: Configured
) -> None:
    write_set(tmp_path, {"train": ["a"], "val": ["b"]})
    message = (
        r"neither images/test nor test\.txt; there is train, val: .* to evaluate on val instead, "
        r"set protocol\.evaluation_splits=\[val\]"
    )
    with pytest.raises(ValueError, match=message):
        pairs_of(configured("folder", tmp_path).dataset, "test")
    message = (
        r"there is test, train: .* set protocol\.evaluation_splits=\[test\], and "
        r"protocol\.validation\.every=null if"
    )
    (tmp_path / "images/val").rename(tmp_path / "images/test")
    with pytest.raises(ValueError, match=message):
        pairs_of(configured("folder", tmp_path).dataset, "val")


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 0, 2], [0, 2, 1]])
def test_a_palette_in_another_order_is_refused_until_it_is_said_what_counts(
    tmp_path: Path, configured: Configured, order: list[int]
) -> None:
    write_set(tmp_path, {"train": ["a", "b"]}, save_label=permuted(order))
    with pytest.raises(ValueError, match="the palette contradicts the indices") as error:
        loaded(configured("folder", tmp_path), "train")
    first = next(index for index in range(3) if order[index] != index)
    shown = f"index {first} means class 'class{first}', but is shown in "
    assert f"{shown}{list(COLOURS[order[first]])}, the colour of" in str(error.value)
    assert f"the colour of class 'class{order[first]}';" in str(error.value)
    by_colour = configured("folder", tmp_path, "dataset.reader.palette=colours")
    assert (loaded(by_colour, "train")["train"].truths[1] == label(1)).all()
    by_index = configured("folder", tmp_path, "dataset.reader.palette=indices")
    stored = np.argsort(order)[label(1)]
    assert (loaded(by_index, "train")["train"].truths[1] == stored).all()


def test_palettes_that_differ_per_file_are_read_by_colour(
    tmp_path: Path, configured: Configured
) -> None:
    """As PIL's quantize gives them, which keeps only the colours that a picture uses."""

    def quantised(path: Path, array: UInt8Array) -> None:
        Image.fromarray(np.array(COLOURS, np.uint8)[array]).quantize(3).save(path)

    write_set(tmp_path, {"train": ["a", "b", "c", "d"]}, save_label=quantised)
    with pytest.raises(ValueError, match=r"dataset\.reader\.palette=colours or =indices"):
        loaded(configured("folder", tmp_path), "train")
    config = configured("folder", tmp_path, "dataset.reader.palette=colours")
    for index, truth in enumerate(loaded(config, "train")["train"].truths):
        assert (truth == label(index)).all()


GREY = [part for value in range(256) for part in (value, value, value)]
FULL = [part for colour in COLOURS for part in colour]
ARBITRARY: list[tuple[str, list[int]]] = [
    ("grey", GREY),
    ("its own colours", FULL),
    ("foreign colours", [9, 9, 9, 200, 1, 1, 1, 200, 1]),
    ("black and white", [0, 0, 0, 255, 255, 255, 0, 0, 200]),
    ("one class colour by chance", [0, 0, 0, *COLOURS[0], 7, 7, 7]),
]


@pytest.mark.parametrize(("palette"), [p for _, p in ARBITRARY], ids=[n for n, _ in ARBITRARY])
def test_grey_and_arbitrary_palettes_do_not_matter(
    tmp_path: Path, configured: Configured, palette: list[int]
) -> None:
    def save_palette(path: Path, array: UInt8Array) -> None:
        picture = Image.fromarray(array)
        picture.putpalette(palette)
        picture.save(path)

    write_set(tmp_path, {"train": ["a", "b"]}, save_label=save_palette)
    save_palette(tmp_path / "labels/train/a.png", np.zeros((24, 32), np.uint8))  # class 0 alone
    split = loaded(configured("folder", tmp_path), "train")["train"]
    assert (split.truths[0] == 0).all()
    assert (split.truths[1] == label(1)).all()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_noisy_masks_of_two_values_have_a_threshold(
    tmp_path: Path, configured: Configured, suffix: str
) -> None:
    """Levels 0..8 and 247..255, and the same through JPEG."""

    def noisy(path: Path, array: UInt8Array) -> None:
        noise = np.random.default_rng(0).integers(0, 9, array.shape).astype(np.uint8)
        Image.fromarray(np.where(array, 255 - noise, noise)).save(path, quality=95)

    write_set(tmp_path, {"train": ["a", "b"]}, save_label=noisy, classes=2, suffix=suffix)
    with pytest.raises(ValueError, match=r"reader\.threshold=128|compression changes class values"):
        loaded(configured("folder", tmp_path), "train")
    config = configured("folder", tmp_path, "dataset.reader.threshold=128")
    for index, truth in enumerate(loaded(config, "train")["train"].truths):
        differing = (truth != label(index, 2)).mean()
        assert differing == 0 if suffix == ".png" else differing < 0.02


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("threshold=0", "threshold is 0; it must be from 1 to 255"),
        ("threshold=256", "threshold is 256; it must be from 1 to 255"),
        ("palette=rgb", "palette is rgb; it must be indices or colours"),
        ("void_values=[-1]", r"void_values is \[-1\]; label values are 0\.\.255"),
    ],
)
def test_arguments_that_cannot_be_are_refused(
    tmp_path: Path, configured: Configured, argument: str, message: str
) -> None:
    write_set(tmp_path, {"train": ["a"]}, classes=2)
    with pytest.raises(ValueError, match=message):
        loaded(configured("folder", tmp_path, f"dataset.reader.{argument}"), "train")


def test_new_arguments_at_null_leave_fingerprints_alone(
    tmp_path: Path, configured: Configured
) -> None:
    """Records were shipped before there were any."""
    write_set(tmp_path, {"train": ["a"]}, classes=2)
    config = configured("folder", tmp_path)
    now = fingerprint(config)
    for name in ("palette", "threshold", "names"):
        config.dataset.reader.pop(name)
    assert fingerprint(config) == now
    for argument in ("palette=colours", "threshold=128"):
        changed = configured("folder", tmp_path, f"dataset.reader.{argument}")
        assert fingerprint(changed) != now


def test_a_threshold_makes_two_classes(tmp_path: Path, configured: Configured) -> None:
    write_set(tmp_path, {"train": ["a"]})
    with pytest.raises(ValueError, match=r"threshold is 128, which makes two classes, but there"):
        loaded(configured("folder", tmp_path, "dataset.reader.threshold=128"), "train")


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_photo_turned_by_exif_lies_as_its_label_or_exif_is_named(
    tmp_path: Path, configured: Configured, orientation: int
) -> None:
    write_set(tmp_path, {"train": ["a"]})
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(np.rot90(image(0), 1 if orientation == 6 else -1))
    path = tmp_path / "images/train/a.png"
    Image.fromarray(stored).save(path, exif=exif)
    split = loaded(configured("folder", tmp_path), "train")["train"]
    assert (split.array(0, IMAGE).transpose(1, 2, 0) == image(0)).all()
    Image.fromarray(image(0)).save(path, exif=exif)
    with pytest.raises(
        ValueError, match=r"label is 32x24 and its image 24x32; .* EXIF orientation"
    ):
        loaded(configured("folder", tmp_path), "train")


def test_masks_of_0_and_255_are_refused_with_what_reads_them(
    tmp_path: Path, configured: Configured
) -> None:
    write_set(
        tmp_path,
        {"train": ["a"]},
        classes=2,
        save_label=lambda path, array: save(path, 255 * array),
    )
    with pytest.raises(ValueError, match=r"label value 255 .*dataset\.reader\.values=\[0,255\]"):
        loaded(configured("folder", tmp_path, "dataset.void=2"), "train")
    for void in (2, 255):
        values = "dataset.reader.values=[0,255]"
        config = configured("folder", tmp_path, f"dataset.void={void}", values)
        assert (loaded(config, "train")["train"].truths[0] == label(0, 2)).all()
