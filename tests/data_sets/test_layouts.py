"""Every layout, written to disk by the synthetic scenes, is read back as what was painted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_files import LAYOUTS

from bench.data import synthetic, synthetic_indoor
from bench.data.camvid.fetch import released_names
from bench.data.pairs import Pair, pairs_of
from bench.data.splits import IMAGE, load_splits

COUNTS, SIZE = {"train": 5, "test": 3}, [24, 32]
Configured = Callable[..., dict[str, Any]]


def painted(paint: Any, split: str) -> list[Pair]:
    pairs: list[Pair] = paint.read(split, COUNTS, SIZE, 0)
    return pairs


@pytest.mark.parametrize("layout", ["camvid", "folder"])
def test_roads_come_back_pixel_by_pixel(
    layout: str, tmp_path: Path, configured: Configured
) -> None:
    LAYOUTS[layout](tmp_path, COUNTS, SIZE)
    config = configured(layout, tmp_path)
    void = config.dataset.void
    splits = load_splits(config, ["train", "test"])
    for name, split in splits.items():
        pairs = painted(synthetic, name)
        assert split.names == [pair.name for pair in pairs]
        for index, pair in enumerate(pairs):
            label = pair.label()
            assert (split.truths[index] == np.where(label == 11, void, label)).all()
            assert (split.array(index, IMAGE).transpose(1, 2, 0) == pair.image()).all()


def test_the_original_of_camvid_is_grouped_and_gets_the_released_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: Configured
) -> None:
    LAYOUTS["camvid_original"](tmp_path, COUNTS, SIZE)
    monkeypatch.setattr(
        "bench.data.camvid.fetch.released_names",
        lambda split: released_names(split)[: COUNTS[split]],
    )
    splits = load_splits(configured("camvid", tmp_path), ["train", "test"])
    assert splits["test"].names == released_names("test")[:3]
    for name, split in splits.items():
        for index, pair in enumerate(painted(synthetic, name)):
            assert (split.truths[index] == pair.label()).all()


def test_an_incomplete_original_is_refused_with_a_name(
    tmp_path: Path, configured: Configured
) -> None:
    LAYOUTS["camvid_original"](tmp_path, COUNTS, SIZE)
    with pytest.raises(ValueError, match="362 of the 367 images of this split"):
        pairs_of(configured("camvid", tmp_path).dataset, "train")


def test_the_released_splits_are_those_of_the_paper() -> None:
    assert [len(released_names(split)) for split in ("train", "val", "test")] == [367, 101, 233]


def test_four_sources_of_road_scenes_become_one_set(tmp_path: Path, configured: Configured) -> None:
    LAYOUTS["road_scenes"](tmp_path, COUNTS, SIZE)
    splits = load_splits(configured("road_scenes", tmp_path), ["train", "test"])
    assert splits["test"].names == [pair.name for pair in painted(synthetic, "test")]
    train, pairs = splits["train"], painted(synthetic, "train")
    sources = [name.split("-")[0] for name in train.names]
    assert sources == ["camvid", "kitti_ros", "stanford_background", "labelme", "camvid"]
    for index in (0, 1, 4):
        assert (train.truths[index] == pairs[index].label()).all()
    # Stanford's classes that have no single target of ours are void.
    keeps = np.isin(pairs[2].label(), [0, 1, 3, 5])
    assert (train.truths[2] == np.where(keeps, pairs[2].label(), 11)).all()
    # Polygons: sky above, road below, the small car on top of the road.
    labelme = train.truths[3]
    assert (labelme[0, 0], labelme[23, 0], labelme[16, 16]) == (0, 3, 8)


@pytest.mark.parametrize("layout", ["sunrgbd_official", "sunrgbd_png"])
def test_rooms_come_back_with_their_own_labels(
    layout: str, tmp_path: Path, configured: Configured
) -> None:
    if layout == "sunrgbd_official":
        pytest.importorskip("h5py", reason="the official layout needs the extra sunrgbd")
    LAYOUTS[layout](tmp_path, COUNTS, SIZE)
    splits = load_splits(configured("sunrgbd", tmp_path), ["train", "test"])
    assert [len(split.names) for split in splits.values()] == [5, 3]
    for name, split in splits.items():
        expected = {
            pair.label().tobytes(): pair.image() for pair in painted(synthetic_indoor, name)
        }
        for index, truth in enumerate(split.truths):
            image = expected.pop(truth.tobytes())  # a wrong pairing would find no label, or
            difference = split.array(index, IMAGE).transpose(1, 2, 0) - image.astype(np.int16)
            assert np.abs(difference).mean() < 6  # another picture; JPEG is not exact
        assert not expected


def test_the_lists_of_a_rearranged_release_are_read(tmp_path: Path, configured: Configured) -> None:
    LAYOUTS["sunrgbd_png"](tmp_path / "png", COUNTS, SIZE)
    png = configured("sunrgbd", tmp_path / "png")
    for split in COUNTS:
        lines = [
            f"png/{pair.files[0].relative_to(tmp_path / 'png')} none.png "
            f"png/{pair.files[1].relative_to(tmp_path / 'png')}\n"
            for pair in pairs_of(png.dataset, split)
        ]
        (tmp_path / f"{split}37.txt").write_text("".join(lines))
    listed = load_splits(configured("sunrgbd", tmp_path), ["train", "test"])
    released = load_splits(png, ["train", "test"])
    assert all(listed[split].digest == released[split].digest for split in COUNTS)


def test_every_class_of_the_rooms_occurs() -> None:
    pairs = synthetic_indoor.read("train", {"train": 60}, [48, 64], 0)
    found = set().union(*(np.unique(pair.label()).tolist() for pair in pairs))
    assert found == {*range(37), 255}
