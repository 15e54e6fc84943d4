"""Scale, crop and colour: pure draws, labels on their pixels, one result by OpenCV and by torch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpu_stand_in import one_gpu
from numpy.typing import NDArray
from synthetic_files import LAYOUTS

from bench.config import Config, fingerprint
from bench.data.augmentation import OUTSIDE, Augmentation, draws
from bench.data.schema import AugmentationConfig
from bench.data.splits import Split, load_splits
from bench.run import distributed

VOID = 11
ALL: dict[str, Any] = {"scale": [0.4, 2.2], "brightness": 0.5, "contrast": 0.5, "saturation": 0.5}
Configured = Callable[..., Config]


def augmentation(crop: tuple[int, int], **settings: Any) -> Augmentation:
    return Augmentation(AugmentationConfig(crop=[*crop], **settings), crop, VOID)


def pictures(count: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 12, (count, height, width), dtype=np.uint8)
    return rng.integers(0, 256, (count, 3, height, width), dtype=np.uint8), labels


def one_by_one(
    augment: Augmentation, images: NDArray[Any], labels: NDArray[Any], drawn: NDArray[Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    cut = [augment.cut(*each) for each in zip(images, labels, drawn, strict=True)]
    images, labels = (np.stack(parts) for parts in zip(*cut, strict=True))
    return torch.from_numpy(images), torch.from_numpy(labels)


@pytest.mark.parametrize("crop", [(20, 30), (61, 33), (90, 90)])  # the last is larger than images
@pytest.mark.parametrize("settings", [{}, ALL, {"scale": [2.0, 2.0]}, {"saturation": 1.0}])
def test_a_batch_by_torch_is_the_images_by_opencv(
    crop: tuple[int, int], settings: dict[str, Any]
) -> None:
    augment, (images, labels) = augmentation(crop, **settings), pictures(24, 60, 50)
    drawn = draws(0, 3, 24)
    expected = one_by_one(augment, images, labels, drawn)
    found = augment.cut_batch(torch.from_numpy(images), torch.from_numpy(labels), drawn)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.uint8
        assert torch.equal(one, other)


def test_a_machine_without_opencv_cuts_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    augment, (images, labels) = augmentation((20, 30), **ALL), pictures(4, 60, 50)
    expected = one_by_one(augment, images, labels, draws(0, 3, 4))
    monkeypatch.setattr("bench.data.augmentation.cv2", None)
    images.flags.writeable = False  # as those of a store
    found = one_by_one(augment, images, labels, draws(0, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_gpu_is_not_waited_for() -> None:
    augment, (images, labels) = augmentation((20, 30), **ALL), pictures(4, 60, 50)
    drawn = draws(0, 3, 4)
    expected = augment.cut_batch(torch.from_numpy(images), torch.from_numpy(labels), drawn)
    with one_gpu() as gpu:
        on_gpu = [torch.from_numpy(array).to("cuda") for array in (images, labels)]
        gpu.waits.clear()
        found = augment.cut_batch(on_gpu[0], on_gpu[1], drawn)
        assert not gpu.waits
        assert all(torch.equal(a.cpu(), b) for a, b in zip(found, expected, strict=True))


def test_draws_follow_from_seed_iteration_and_position_alone() -> None:
    assert (draws(3, 7, 4) == draws(3, 7, 9)[:4]).all()
    others = [draws(3, 8, 4), draws(4, 7, 4), draws(3, 7, 4, "another purpose")]
    for other in others:
        assert not (draws(3, 7, 4) == other).any()
    assert len(np.unique(draws(3, 7, 4))) == 24


def test_processes_share_the_draws_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = draws(0, 5, 5), []
    monkeypatch.setattr(distributed, "size", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        parts.append(distributed.share(draws(0, 5, 5)))
    assert [len(part) for part in parts] == [3, 2]
    assert (np.concatenate(parts) == whole).all()


@pytest.mark.parametrize("scale", [[1.0, 1.0], [0.5, 0.5], [2.0, 2.0], [0.4, 2.2]])
@pytest.mark.parametrize("crop", [(24, 32), (100, 120)])
def test_labels_lie_on_the_pixels_of_their_image(crop: tuple[int, int], scale: list[float]) -> None:
    """Red counts rows and green columns, so that an image says where each of its pixels is from."""
    rows, columns = np.mgrid[:80, :96].astype(np.uint8)
    image = np.stack([2 * rows, 2 * columns, np.zeros_like(rows)])
    augment = Augmentation(AugmentationConfig(scale=scale), crop, 255)
    # A middle lies up to half a pixel from the pixel that is nearest.
    limit = 0 if scale == [1.0, 1.0] else 2
    for drawn in draws(0, 0, 20):
        cut, row = augment.cut(image, rows, drawn)
        _, column = augment.cut(image, columns, drawn)
        within = (row >= 2) & (row < 78) & (column >= 2) & (column < 94)  # no void is mixed in
        assert within.any()
        for channel, label in ((cut[0], row), (cut[1], column)):
            apart = np.abs(channel.astype(int) - 2 * label.astype(int))
            assert apart[within].max() <= limit


def test_a_crop_without_scale_is_a_part_of_the_image_at_the_drawn_place() -> None:
    (image,), (label,) = pictures(1, 40, 50)
    drawn = np.array([0.3, 0.999999, 0.0, 0.1, 0.2, 0.3])
    cut, truth = augmentation((10, 20)).cut(image, label, drawn)
    assert (cut == image[:, 30:, :20]).all()
    assert (truth == label[30:, :20]).all()


def test_crops_reach_every_place_and_never_beyond_an_image_that_is_larger() -> None:
    augment = augmentation((10, 20))
    found = {augment.window(one, (12, 22))[:2] for one in draws(0, 0, 300)}
    assert found == {(top, left) for top in range(3) for left in range(3)}


def test_around_an_image_is_void_and_the_mean_of_imagenet() -> None:
    image, label = np.full((3, 10, 12), 7, np.uint8), np.zeros((10, 12), np.uint8)
    drawn = np.array([0.0, 0.5, 0.5, 0.5, 0.5, 0.5])
    cut, truth = augmentation((20, 24)).cut(image, label, drawn)
    assert (truth == 0).sum() == 120
    assert (truth == VOID).sum() == 20 * 24 - 120
    assert (cut[:, truth == 0] == 7).all()
    assert (cut[:, truth == VOID] == np.array(OUTSIDE)[:, None]).all()


def test_scale_enlarges_about_what_is_cut_out() -> None:
    """At scale 2 an image of stripes two pixels wide has stripes four pixels wide."""
    label = np.tile(np.repeat(np.array([0, 1], np.uint8), 2), (40, 10))
    image = np.stack([100 * label] * 3)
    drawn = np.array([0.5, 0.0, 0.0, 0.5, 0.5, 0.5])
    cut, truth = augmentation((40, 40), scale=[2.0, 2.0]).cut(image, label, drawn)
    assert (truth == np.tile(np.repeat(np.array([0, 1], np.uint8), 4), (40, 5))).all()
    assert (cut[0] == cut[0][0]).all()
    assert cut[0, 0, :9].tolist() == [0, 0, 0, 25, 75, 100, 100, 75, 25]


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("part", [0.0, 0.25, 0.999])
def test_colours_change_as_torchvision_changes_them(name: str, part: float) -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    images, labels = pictures(1, 30, 40)
    drawn = np.array([[0.5, 0.5, 0.5, *(part if name == n else 0.5 for n in
                       ("brightness", "contrast", "saturation"))]])  # fmt: skip
    augment = augmentation((30, 40), **{name: 0.8})
    found, _ = one_by_one(augment, images, labels, drawn)
    factor = 1 + 0.8 * (2 * part - 1)
    expected = getattr(functional, f"adjust_{name}")(torch.from_numpy(images), factor)
    assert (found.int() - expected.int()).abs().max() <= 2


def test_a_colour_that_is_not_drawn_stays() -> None:
    images, labels = pictures(3, 20, 20)
    found, truths = one_by_one(augmentation((20, 20)), images, labels, draws(0, 0, 3))
    assert (found.numpy() == images).all()
    assert (truths.numpy() == labels).all()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    LAYOUTS["camvid"](tmp_path / "camvid", {"train": 7, "val": 2, "test": 3}, [36, 48])
    return tmp_path / "camvid"


CROPS = (
    "protocol.image_size=null", "protocol.augmentation.crop=[24,32]",
    "protocol.augmentation.scale=[0.5,2]", "protocol.augmentation.contrast=0.5",
)  # fmt: skip


def crops(split: Split, config: Config) -> list[tuple[torch.Tensor, torch.Tensor]]:
    chosen = [np.array([0, 5, 2]), np.array([6, 1, 1])]
    augment = Augmentation.of(config, split.sizes[0])
    drawn = (draws(0, number, 3) for number in range(2))
    return list(split.crops(chosen, drawn, augment))


@pytest.mark.parametrize("where", ["memory", "files", "device"])
@pytest.mark.parametrize("threads", [1, 3])
def test_crops_are_the_same_wherever_images_are_and_whoever_cuts_them(
    where: str, threads: int, root: Path, configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = configured("camvid", root, *CROPS)
    expected = crops(load_splits(plain, ["train"])["train"], plain)
    monkeypatch.setattr("bench.data.ahead.cores", lambda: threads)
    config = configured("camvid", root, *CROPS, f"dataset.resident={where}")
    found = crops(load_splits(config, ["train"], torch.device("cpu"))["train"], config)
    for one, other in zip(found, expected, strict=True):
        assert one[0].shape == (3, 3, 24, 32)
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_where_data_lie_and_an_augmentation_that_is_off_change_no_fingerprint(
    root: Path, configured: Configured
) -> None:
    plain = fingerprint(configured("camvid", root))
    for override in (
        "protocol.augmentation.scale=null", "protocol.augmentation.brightness=0",
        "protocol.inference.mode=whole",
    ):  # fmt: skip
        assert fingerprint(configured("camvid", root, override)) == plain
    for override in ("protocol.augmentation.saturation=0.1", "protocol.augmentation.crop=[8,8]"):
        assert fingerprint(configured("camvid", root, override)) != plain
