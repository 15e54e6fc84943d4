"""Kept in memory, on the device, in a cache file or streamed: the very same batches."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synthetic_files import LAYOUTS

from bench.config import Config, fingerprint
from bench.data import cache
from bench.data.ahead import ahead
from bench.data.order import batch_indices
from bench.data.splits import ResidentSplit, Split, load_splits
from bench.run.evaluation import evaluate
from bench.run.monitor import Monitor
from bench.run.preparation import prepare_training
from bench.run.training import train

# Python 3.12 warns of every fork of a process with threads; torch's loader forks.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

COUNTS, SIZE = {"train": 7, "test": 3}, [36, 48]
Configured = Callable[..., dict[str, Any]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    LAYOUTS["camvid"](tmp_path / "camvid", COUNTS, SIZE)
    return tmp_path / "camvid"


def split_of(config: Config, name: str = "train") -> Split:
    return load_splits(config, [name])[name]


def streamed(workers: int) -> list[str]:
    return ["dataset.memory_budget_gb=0", f"dataset.workers={workers}"]


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_batches_are_those_from_memory_bit_by_bit(
    workers: int, root: Path, configured: Configured
) -> None:
    resident = split_of(configured("camvid", root))
    other = split_of(configured("camvid", root, *streamed(workers)))
    assert isinstance(resident, ResidentSplit)
    assert not isinstance(other, ResidentSplit)
    assert other.digest == resident.digest
    assert (other.pixels == resident.pixels).all()
    chosen = [batch_indices(0, iteration, 3, 7) for iteration in range(6)]
    both = zip(other.batches(chosen), resident.batches(chosen), strict=True)
    for (images, labels), (expected_images, expected_labels) in both:
        assert images.dtype == labels.dtype == torch.uint8
        assert torch.equal(images, expected_images)
        assert torch.equal(labels, expected_labels)


def test_truths_are_the_same_wherever_the_images_are(root: Path, configured: Configured) -> None:
    for size in ("[24,32]", "[36,48]"):  # smaller than the labels, and their own size
        overrides = [f"protocol.image_size={size}"]
        resident = split_of(configured("camvid", root, *overrides))
        other = split_of(configured("camvid", root, *overrides, *streamed(0)))
        for one, another in zip(resident.truths, other.truths, strict=True):
            assert one.shape == (36, 48)
            assert (one == another).all()


def test_a_subset_is_the_split_of_these_images(root: Path, configured: Configured) -> None:
    for overrides in ([], streamed(0)):
        whole = split_of(configured("camvid", root, *overrides))
        part = whole.subset([4, 1])
        assert part.names == [whole.names[4], whole.names[1]]
        assert part.digest != whole.digest
        for index, original in enumerate([4, 1]):
            assert (part.truths[index] == whole.truths[original]).all()
            images, _ = next(part.batches([np.array([index])]))
            expected, _ = next(whole.batches([np.array([original])]))
            assert torch.equal(images, expected)


def weights_after(config: Config, folder: Path) -> tuple[list[torch.Tensor], Any]:
    folder.mkdir()
    splits = load_splits(config, ["train", "test"])
    cpu, monitor = torch.device("cpu"), Monitor(folder)
    torch.manual_seed(0)
    training = prepare_training(config, folder, splits, cpu, monitor)
    train(training, 4)
    evidence = evaluate(
        training.network.eval(), splits["test"], config, device=cpu, monitor=monitor
    )
    return [p.detach() for p in training.network.parameters()], evidence


def test_training_and_evaluation_do_not_notice(
    root: Path, tmp_path: Path, configured: Configured
) -> None:
    small = [
        "arch=segnet_basic", "arch.width=4", "protocol=demo", "protocol.mirror=true",
        "protocol.image_size=[24,32]", "protocol.precision=fp32", "protocol.batch_size=3",
    ]  # fmt: skip
    weights, evidence = weights_after(configured("camvid", root, *small), tmp_path / "a")
    for workers in (0, 2):
        config = configured("camvid", root, *small, *streamed(workers))
        others, other_evidence = weights_after(config, tmp_path / f"b{workers}")
        assert all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))
        assert (evidence["confusion"] == other_evidence["confusion"]).all()


def test_streaming_takes_no_random_number(root: Path, configured: Configured) -> None:
    split = split_of(configured("camvid", root, *streamed(1)))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    list(split.batches([np.arange(3)]))
    assert torch.rand(1) == expected


def test_where_the_data_are_kept_does_not_change_the_fingerprint(
    root: Path, configured: Configured
) -> None:
    plain = fingerprint(configured("camvid", root))
    for override in (
        "dataset.memory_budget_gb=0", "dataset.resident=device", "dataset.workers=3",
        "dataset.download=true", "dataset.cache=elsewhere", "dataset.root=elsewhere",
    ):  # fmt: skip
        assert fingerprint(configured("camvid", root, override)) == plain
    assert fingerprint(configured("camvid", root, "dataset.limit=2")) != plain


def test_a_set_on_the_device_stays_there(root: Path, configured: Configured) -> None:
    config = configured("camvid", root, "dataset.resident=device")
    split = load_splits(config, ["train"], torch.device("meta"))["train"]
    assert isinstance(split, ResidentSplit)
    assert split.images.device.type == split.labels.device.type == "meta"


@pytest.mark.gpu
def test_batches_from_a_gpu_are_those_from_memory(root: Path, configured: Configured) -> None:
    resident = split_of(configured("camvid", root))
    config = configured("camvid", root, "dataset.resident=device")
    split = load_splits(config, ["train"], torch.device("cuda"))["train"]
    chosen = [batch_indices(0, iteration, 3, 7) for iteration in range(3)]
    for batch, expected in zip(split.batches(chosen), resident.batches(chosen), strict=True):
        for one, other in zip(batch, expected, strict=True):
            assert one.device.type == "cuda"
            assert torch.equal(one.cpu(), other)


def test_a_set_that_exceeds_the_budget_does_not_go_to_the_device(
    root: Path, configured: Configured
) -> None:
    config = configured("camvid", root, "dataset.resident=device", "dataset.memory_budget_gb=0")
    with pytest.raises(ValueError, match=r"dataset\.memory_budget_gb is 0.*; raise it"):
        load_splits(config, ["train"], torch.device("cpu"))


@pytest.fixture
def cached(
    root: Path, tmp_path: Path, configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Split, list[Path], bool]]:
    """Loads the training split; returns it, the cache files, and whether it was decoded."""
    monkeypatch.setattr(cache, "WORTH_BYTES", 0)

    def load(*overrides: str) -> tuple[Split, list[Path], bool]:
        phases: list[int] = []
        config = configured("camvid", root, *overrides, f"dataset.cache={tmp_path}/cache")
        split = load_splits(
            config, ["train"], progress=lambda phase, done, total: phases.append(done)
        )["train"]
        return split, sorted((tmp_path / "cache").iterdir()), len(phases) > 1

    return load


@pytest.mark.parametrize("overrides", [[], streamed(0)])
def test_a_set_is_decoded_once(cached: Any, overrides: list[str]) -> None:
    first, files, decoded = cached(*overrides)
    assert decoded
    again, same_files, decoded_again = cached(*overrides)
    assert not decoded_again
    assert files == same_files
    assert len(files) == 1
    assert again.digest == first.digest
    chosen = [np.arange(7)]
    assert torch.equal(next(again.batches(chosen))[0], next(first.batches(chosen))[0])
    for one, another in zip(first.truths, again.truths, strict=True):
        assert (one == another).all()


def test_a_changed_file_or_size_is_another_set(cached: Any, root: Path) -> None:
    first, _, _ = cached()
    (root / "train/train_00000.png").replace(root / "train/train_00001.png")
    (root / "train/train_00000.png").write_bytes((root / "train/train_00002.png").read_bytes())
    changed, _, decoded = cached()
    assert decoded
    assert changed.digest != first.digest
    assert cached("protocol.image_size=[12,16]")[2]


@pytest.mark.parametrize("spoil", [lambda data: data[:-100], lambda data: b"", lambda d: d[::-1]])
def test_a_damaged_cache_is_replaced(cached: Any, spoil: Any) -> None:
    first, (path,), _ = cached()
    path.write_bytes(spoil(path.read_bytes()))
    again, _, decoded = cached()
    assert decoded
    assert again.digest == first.digest
    assert not cached()[2]


def test_one_flipped_bit_in_the_cache_is_noticed(cached: Any) -> None:
    _, (path,), _ = cached()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert cached()[2]


def test_a_cache_that_cannot_be_written_costs_time_only(
    root: Path, tmp_path: Path, configured: Configured, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(cache, "WORTH_BYTES", 0)
    (tmp_path / "file").touch()
    split = split_of(configured("camvid", root, f"dataset.cache={tmp_path}/file/cache"))
    assert len(split.names) == 7
    assert "will be decoded again next time" in caplog.text


def test_files_unused_for_a_month_are_removed(cached: Any) -> None:
    _, (path,), _ = cached()
    os.utime(path, (0, 0))
    _, files, _ = cached("protocol.image_size=[12,16]")
    assert path not in files


def test_work_ahead_is_in_order_and_bounded() -> None:
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        return item

    results = ahead(work, range(1000), threads=2)
    assert [next(results) for _ in range(10)] == list(range(10))
    assert len(started) <= 10 + 4 * 2
    results.close()
    assert list(ahead(work, range(50), threads=3)) == list(range(50))


def test_work_ahead_stops_at_an_error() -> None:
    def work(item: int) -> int:
        return 1 // (5 - item)

    with pytest.raises(ZeroDivisionError):
        list(ahead(work, range(10_000), threads=2))
