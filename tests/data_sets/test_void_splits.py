"""Splits in which all is void: not trained or selected on, and without scores where evaluated."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from folders import SIZE, save, write_set

from bench import records
from bench.command_line import compose_config
from bench.config import Config
from bench.run.__main__ import execute
from bench.run.monitor import Monitor

Prepare = Callable[[Config], tuple[Path, Monitor]]

OWN = [
    "dataset=folder", "protocol.class_weights=none", "protocol.batch_size=2", "max_iterations=1",
    "arch=segnet_basic", "arch.width=4", "protocol=demo", "protocol.image_size=[24,32]",
    "protocol.precision=fp32", "threads=1", "dataset.cache=null",
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_set(tmp_path / "own", {split: ["a", "b"] for split in ("train", "val", "test")})
    return tmp_path / "own"


def run_with_void(
    split: str, root: Path, prepared: Prepare, *more: str
) -> tuple[Path, records.End]:
    for path in (root / "labels" / split).iterdir():
        save(path, np.full(SIZE, 255, np.uint8))
    folder, _ = prepared(compose_config([*OWN, f"dataset.root={root}", *more]))
    execute(folder)
    end = records.read_end(folder)
    assert end is not None
    return folder, end


@pytest.mark.parametrize(
    ("split", "more"),
    [
        ("train", ["protocol.validation.every=null"]),
        ("val", ["protocol.validation.every=1", "protocol.validation.split=val"]),
    ],
)
def test_training_and_selection_need_a_labelled_pixel(
    split: str, more: list[str], root: Path, prepared: Prepare
) -> None:
    _, end = run_with_void(split, root, prepared, *more)
    assert end.state == "failed"
    assert f"split '{split}': none of its 2 labels has a labelled pixel" in str(end.reason)


def test_a_test_set_without_labels_has_no_scores(root: Path, prepared: Prepare) -> None:
    none = "protocol.validation.every=null"
    folder, end = run_with_void("test", root, prepared, none)
    assert end.state == "finished"
    notices = json.loads((folder / "progress.json").read_text())["notices"]
    assert "iteration 1, test: G n/a, C n/a, mIoU n/a" in notices
