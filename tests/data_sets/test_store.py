"""Mapped from a store, on the device or streamed from files: the very same batches."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic_files import LAYOUTS

from bench.config import Config, fingerprint
from bench.data import decoding, store
from bench.data import splits as splits_module
from bench.data.__main__ import main
from bench.data.ahead import ahead
from bench.data.order import batch_indices
from bench.data.splits import Split, load_splits
from bench.run.evaluation import evaluate
from bench.run.monitor import Monitor
from bench.run.preparation import prepare_training
from bench.run.training import train

COUNTS, SIZE = {"train": 7, "test": 3}, [36, 48]
FILES = "dataset.resident=files"
Configured = Callable[..., Config]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    LAYOUTS["camvid"](tmp_path / "camvid", COUNTS, SIZE)
    return tmp_path / "camvid"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where stores are kept, even small ones."""
    monkeypatch.setattr(decoding, "WORTH_BYTES", 0)
    return tmp_path / "cache" / store.FOLDER


@pytest.fixture
def load(
    root: Path, tmp_path: Path, configured: Configured, folder: Path
) -> Callable[..., tuple[Split, bool]]:
    """Loads the training split; returns it, and whether it was decoded."""

    def load(*overrides: str) -> tuple[Split, bool]:
        done: list[int] = []
        config = configured("camvid", root, f"dataset.cache={tmp_path}/cache", *overrides)
        split = load_splits(config, ["train"], progress=lambda *step: done.append(step[1]))["train"]
        return split, len(done) > 1

    return load


def split_of(config: Config, name: str = "train") -> Split:
    return load_splits(config, [name])[name]


def everything(split: Split) -> tuple[torch.Tensor, torch.Tensor]:
    return next(iter(split.batches([np.arange(len(split.names))])))


def assert_same(split: Split, other: Split) -> None:
    assert split.digest == other.digest
    assert (split.pixels == other.pixels).all()
    chosen = [batch_indices(0, iteration, 3, 7) for iteration in range(6)]
    for batch, expected in zip(split.batches(chosen), other.batches(chosen), strict=True):
        for one, another in zip(batch, expected, strict=True):
            assert one.dtype == torch.uint8
            assert torch.equal(one.cpu(), another.cpu())
    for one, another in zip(split.truths, other.truths, strict=True):
        assert (one == another).all()


@pytest.mark.parametrize("size", ["[24,32]", "[36,48]"])  # smaller than the files, and their own
def test_batches_and_truths_are_the_same_wherever_they_come_from(
    size: str, load: Callable[..., Any], root: Path, configured: Configured
) -> None:
    at_size = f"protocol.image_size={size}"
    written, mapped = load(at_size)[0], load(at_size)[0]
    private = split_of(configured("camvid", root, at_size))
    streamed = load(at_size, FILES)[0]
    assert [s.residence for s in (written, mapped, private, streamed)] == [
        "mapped from disk", "mapped from disk", "mapped from disk", "streamed from files",
    ]  # fmt: skip
    for other in (mapped, private, streamed):
        assert_same(written, other)


def test_arrays_are_what_the_files_hold(load: Callable[..., Any], root: Path) -> None:
    split, _ = load("protocol.image_size=[36,48]")
    images, labels = everything(split)
    for index, name in enumerate(split.names):
        image = np.asarray(Image.open(root / "train" / f"{name}.png"))
        label = np.asarray(Image.open(root / "trainannot" / f"{name}.png"))
        assert (images[index].permute(1, 2, 0).numpy() == image).all()
        assert (labels[index].numpy() == label).all()
        assert (split.truths[index] == label).all()


def test_batches_are_copies_and_the_store_is_not(load: Callable[..., Any]) -> None:
    split, _ = load()
    images, labels = everything(split)
    before = images.clone(), labels.clone()
    images.zero_()
    labels.zero_()
    assert all(torch.equal(a, b) for a, b in zip(everything(split), before, strict=True))
    assert not split.array(0, splits_module.IMAGE).flags.writeable


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
    others, other = weights_after(configured("camvid", root, *small, FILES), tmp_path / "b")
    assert all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))
    assert (evidence["confusion"] == other["confusion"]).all()


def test_streaming_takes_no_random_number(root: Path, configured: Configured) -> None:
    split = split_of(configured("camvid", root, FILES))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    list(split.batches([np.arange(3)]))
    assert torch.rand(1) == expected


@pytest.mark.parametrize(("kind", "part"), [("train", 0), ("trainannot", 1)])
def test_a_file_that_changes_while_it_is_streamed_is_refused(
    kind: str, part: int, root: Path, configured: Configured
) -> None:
    """A label replaced during training must not change a score silently."""
    split = split_of(configured("camvid", root, FILES))
    path = root / kind / "train_00002.png"
    pixels = np.asarray(Image.open(path)).copy()
    pixels[10:20] ^= 1 + 126 * (part == 0)
    Image.fromarray(pixels).save(path)
    everything_else = [np.array([0, 1, 3, 4, 5, 6])]
    list(split.batches(everything_else))
    with pytest.raises(ValueError, match=r"train_00002\.png: its pixels are not those"):
        list(split.batches([np.arange(7)]))
    if part:
        with pytest.raises(ValueError, match=r"trainannot/train_00002\.png: its pixels"):
            split.truths[2]


def test_a_label_replaced_during_training_does_not_change_a_mapped_truth(
    load: Callable[..., Any], root: Path
) -> None:
    split, _ = load()
    before = split.truths[2].copy()
    Image.fromarray(np.zeros((36, 48), np.uint8)).save(root / "trainannot" / "train_00002.png")
    assert (split.truths[2] == before).all()


def test_where_the_data_are_kept_does_not_change_the_fingerprint(
    root: Path, configured: Configured
) -> None:
    plain = fingerprint(configured("camvid", root))
    for override in (
        FILES, "dataset.resident=device", "dataset.download=true", "dataset.cache=elsewhere",
        "dataset.root=elsewhere",
    ):  # fmt: skip
        assert fingerprint(configured("camvid", root, override)) == plain
    assert fingerprint(configured("camvid", root, "dataset.limit=2")) != plain


def test_a_set_on_the_device_stays_there(root: Path, configured: Configured) -> None:
    config = configured("camvid", root, "dataset.resident=device")
    split = load_splits(config, ["train"], torch.device("meta"))["train"]
    assert split.residence == "kept on meta"
    assert {part.device.type for part in everything(split)} == {"meta"}


@pytest.mark.parametrize("place", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_batches_from_a_device_are_those_from_the_store(
    place: str, root: Path, configured: Configured
) -> None:
    config = configured("camvid", root, "dataset.resident=device")
    split = load_splits(config, ["train"], torch.device(place))["train"]
    assert everything(split)[0].device.type == place
    assert_same(split, split_of(config))


def test_a_device_that_is_too_small_is_said_so(
    root: Path, configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch, "cat", full)
    config = configured("camvid", root, "dataset.resident=device")
    with pytest.raises(ValueError, match=r"train does not fit on cpu; set dataset\.resident"):
        load_splits(config, ["train"], torch.device("cpu"))


@pytest.mark.parametrize("overrides", [[], [FILES]])
def test_a_set_is_decoded_once(
    load: Callable[..., Any], folder: Path, overrides: list[str]
) -> None:
    first, decoded = load(*overrides)
    assert decoded
    (path,) = folder.iterdir()
    again, decoded_again = load(*overrides)
    assert not decoded_again
    assert list(folder.iterdir()) == [path]
    assert path.suffix == (".index" if overrides else ".store")
    assert_same(first, again)


def test_a_changed_file_or_size_is_another_set(load: Callable[..., Any], root: Path) -> None:
    first, _ = load()
    (root / "train/train_00000.png").replace(root / "train/train_00001.png")
    (root / "train/train_00000.png").write_bytes((root / "train/train_00002.png").read_bytes())
    changed, decoded = load()
    assert decoded
    assert changed.digest != first.digest
    assert load("protocol.image_size=[12,16]")[1]


def test_a_store_is_dropped_where_nothing_proves_what_was_painted(
    tmp_path: Path, configured: Configured, folder: Path
) -> None:
    counts = "dataset.reader.counts={train:4}"
    config = configured("synthetic", tmp_path, counts, f"dataset.cache={tmp_path}/cache")
    config.dataset.root = None
    split = split_of(config)
    assert split.residence == "mapped from disk"
    assert (split.truths[1] == split.pairs[1].label()).all()
    assert not folder.exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-100], lambda data: data[:5], lambda data: b"", lambda data: data[::-1],
        lambda data: data[:-40] + bytes([data[-40] ^ 1]) + data[-39:],
    ],
)  # fmt: skip
def test_a_damaged_store_is_replaced(load: Callable[..., Any], folder: Path, spoil: Any) -> None:
    first, _ = load()
    (path,) = folder.iterdir()
    path.write_bytes(spoil(path.read_bytes()))
    again, decoded = load()
    assert decoded
    assert again.digest == first.digest
    assert not load()[1]


def test_one_flipped_bit_changes_no_batch_and_the_store_is_replaced(
    load: Callable[..., Any], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = everything(load()[0])
    (path,) = folder.iterdir()
    data = bytearray(path.read_bytes())
    data[3 * 24 * 32 * 2] ^= 1  # within the pixels of the second record
    path.write_bytes(data)
    split, decoded = load()
    assert not decoded
    assert all(torch.equal(a, b) for a, b in zip(everything(split), expected, strict=True))
    assert f"{path}: damaged" in caplog.text
    assert split.residence == "streamed from files"
    assert load()[1]


def test_pages_are_given_back_and_views_stay_valid(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    split, _ = load()
    expected, view = everything(split), split.array(0, splits_module.IMAGE)
    first = view.copy()
    monkeypatch.setattr(store, "MAPPED_BYTES", 1)
    assert all(torch.equal(a, b) for a, b in zip(everything(split), expected, strict=True))
    assert (view == first).all()


def test_a_cache_that_cannot_be_written_costs_time_only(
    load: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    split, _ = load(f"dataset.cache={tmp_path}/file")
    assert split.residence == "mapped from disk"
    assert "will be decoded again next time" in caplog.text


def test_a_disk_that_is_too_small_means_streaming(
    load: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    expected = load()[0]
    store.prune(folder, 0)
    monkeypatch.setattr(store, "RESERVE_BYTES", 1e18)
    split, _ = load()
    assert split.residence == "streamed from files"
    assert "will be decoded again for every batch" in caplog.text
    assert [path.suffix for path in folder.iterdir()] == [".index"]
    assert_same(split, expected)


def test_a_writer_that_fails_leaves_nothing(
    load: Callable[..., Any], folder: Path, root: Path
) -> None:
    (root / "train" / "train_00005.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"train_00005\.png"):
        load()
    assert list(folder.iterdir()) == []


def test_only_old_files_of_our_own_are_removed(load: Callable[..., Any], folder: Path) -> None:
    load()
    (old,) = folder.iterdir()
    key = old.stem
    users = [
        folder.parent / "results.npz", folder / "results.npz", folder / f"{key[1:]}.store",
        folder / f"x{key}.store", folder / f".{key}-note", folder.parent / f"{key}.store",
    ]  # fmt: skip
    killed, writing = folder / f".{key}-0123abcd.tmp", folder / f".{key}-4567abcd.tmp"
    for path in [*users, killed, writing]:
        path.touch()
    for path in [old, killed, *users]:
        os.utime(path, (0, 0))
    load("protocol.image_size=[12,16]")
    assert not old.exists()
    assert not killed.exists()
    assert writing.exists()
    assert all(path.exists() for path in users)


def test_use_makes_a_store_young(load: Callable[..., Any], folder: Path) -> None:
    load()
    (path,) = folder.iterdir()
    os.utime(path, (0, 0))
    load()
    assert time.time() - path.stat().st_mtime < 60


def test_the_command_lists_and_prunes(
    load: Callable[..., Any], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load()
    load("protocol.image_size=[12,16]")
    for path in folder.iterdir():
        if "16x12" in store.describe(path):
            os.utime(path, (0, 0))
    command = ["cache", "--folder", str(folder.parent)]
    assert main(command) == 0
    listed = capsys.readouterr().out
    assert "unused for 0.0 days: CamVid train, 7 images at 32x24" in listed
    assert "2 files, 0 MB; 0 removed" in listed
    main([*command, "--prune", "100"])
    assert "1 files, 0 MB; 1 removed" in capsys.readouterr().out
    main([*command, "--prune"])
    assert list(folder.iterdir()) == []
    assert main(["cache", "--folder", str(folder / "nowhere")]) == 0


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
