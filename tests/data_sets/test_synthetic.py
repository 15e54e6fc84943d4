"""The synthetic scenes: a pure function of (seed, split, index), with every class in them."""

import numpy as np
import pytest

from bench.data.synthetic import read, scene

COUNTS = {"train": 60, "test": 3}


def test_a_scene_is_a_pure_function_of_its_place() -> None:
    first, again = (read("train", COUNTS, [32, 48], 0)[7] for _ in range(2))
    assert (first.image() == again.image()).all()
    assert (first.label() == again.label()).all()


def test_seeds_and_splits_give_other_scenes() -> None:
    images = [
        read(split, COUNTS, [32, 48], seed)[0].image().tobytes()
        for split in COUNTS
        for seed in range(2)
    ]
    assert len(set(images)) == 4


@pytest.mark.parametrize("size", [(16, 16), (96, 128), (45, 61), (360, 480)])
def test_any_size_is_painted(size: tuple[int, int]) -> None:
    image, label = scene(0, *size)
    assert image.shape == (*size, 3)
    assert label.shape == size
    assert image.dtype == label.dtype == np.uint8


def test_every_class_and_void_occur_and_stay_small_where_they_should() -> None:
    pixels = sum(
        np.bincount(pair.label().ravel(), minlength=12)
        for pair in read("train", COUNTS, [96, 128], 0)
    )
    share = pixels / pixels.sum()
    assert len(share) == 12
    assert share.min() > 0.001
    poles, signs, pedestrians, bicyclists = share[[2, 6, 9, 10]]
    assert max(poles, signs, pedestrians, bicyclists) < 0.03


@pytest.mark.parametrize(
    ("split", "size", "message"),
    [("val", [32, 48], "no scenes for split 'val'"), ("train", [8, 48], r"size is \[8, 48\]")],
)
def test_bad_arguments_are_named(split: str, size: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(split, COUNTS, size, 0)
