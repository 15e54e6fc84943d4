"""No damage to a file changes a number without a word, ends in a traceback, or hangs a reader.

The damage is seeded, of bytes and, in JSON, of what it says: 150 changes of each kind of file, and
2,000 in the slow form.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from surviving import changes, survives, words_and

sys.path.append(str(Path(__file__).parents[1] / "reports"))
from handmade import cost_record, whole_configuration, write_run

from bench import records
from bench.data.images import read_image, read_label
from bench.evidence import read_evidence
from bench.losses import append_losses, read_losses
from bench.run import checkpoints
from reports.compute.estimates import Estimates
from reports.compute.kept import FILE
from reports.read.costs import read_costs
from reports.read.runs import read_runs
from reports.read.shapes import SHAPES
from reports.verify import verify_run

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one evaluation, of three classes and few images."""
    runs = tmp_path_factory.mktemp("runs")
    made = write_run(runs, whole_configuration(), {("test", 4): 0.8}, images=6, spread=3)
    records.write_json(made / "progress.json", {"time": 1.0, "phase": "training", "done": 4})
    records.write_json(made / "origin.json", {"source": "another laboratory", "folder": "runs/a"})
    (runs / "cost").mkdir()
    records.write_json(runs / "cost" / "a.json", cost_record("SegNet-Basic", [1.0, 2.0, 3.0]))
    return made


def run_as_read(folder: Path) -> Any:
    """What a report knows of a run."""
    read = {f"{key.removesuffix('?')}" for shape in SHAPES.values() for key in shape}
    return [
        (
            run.name, run.config, run.fingerprint, run.state, list(run.evaluations),
            [{k: v for k, v in part.items() if k in read} for part in (run.network, run.data)],
            run.origin,
        )
        for run in read_runs([folder])
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["config.json", "network.json", "data.json", "environment.json", "end.json", "origin.json",
     "evaluations/test-0000004.json"],
)  # fmt: skip
def test_records_of_a_run(folder: Path, count: int, name: str) -> None:
    survives(count, folder / name, lambda: run_as_read(folder))


def test_progress(folder: Path, count: int) -> None:
    end = (folder / "end.json").rename(folder / "ended.json")
    try:
        survives(count, folder / "progress.json", lambda: run_as_read(folder))
    finally:
        end.rename(folder / "end.json")


def test_evidence(folder: Path, count: int) -> None:
    summary = {"split": "test", "iteration": 4}

    def read() -> Any:
        return {name: a.tolist() for name, a in read_evidence(folder, summary).items()}

    survives(count, folder / "evaluations" / "test-0000004.npz", read, is_json=False)


def test_losses(tmp_path: Path, count: int) -> None:
    for first in range(1, 60, 5):
        append_losses(tmp_path, first, [0.1 * first + i for i in range(5)], 1.0)
    truth = [x for line in read_losses(tmp_path) for x in line["losses"]]
    path = tmp_path / "losses.jsonl"
    sound = path.read_bytes()
    for content, _ in changes(path, count, is_json=False):
        path.write_bytes(content)
        words, found = words_and(lambda: [x for e in read_losses(tmp_path) for x in e["losses"]])
        assert words or found == truth[: len(found)], content  # the end may be missing
    path.write_bytes(sound)


def test_cost_records(folder: Path, count: int) -> None:
    path = folder.parent / "cost" / "a.json"
    survives(count, path, lambda: [vars(cost) for cost in read_costs(folder.parent)])


def test_the_cache_of_estimates(folder: Path, count: int) -> None:
    (run,) = read_runs([folder])
    seeds = [(run, run.evaluations[0])]
    estimates = Estimates(folder.parent)
    truth = estimates.of(seeds)
    estimates.save()
    path = folder.parent / FILE
    survives(count, path, lambda: Estimates(folder.parent).of(seeds))
    assert Estimates(folder.parent).of(seeds) == truth


@pytest.mark.parametrize("level", [0, 6])
def test_label_maps(tmp_path: Path, count: int, level: int) -> None:
    truth = np.random.default_rng(0).integers(0, 4, (30, 40), dtype=np.uint8)
    path = tmp_path / "label.png"
    Image.fromarray(truth).save(path, compress_level=level)
    survives(count, path, lambda: read_label(path).tolist(), is_json=False)


def test_images(tmp_path: Path, count: int) -> None:
    truth = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / "image.png"
    Image.fromarray(truth).save(path)
    survives(count, path, lambda: read_image(path).tolist(), is_json=False)


def test_weights(tmp_path: Path, count: int) -> None:
    path = tmp_path / "weights-last.pt"
    network = {"w": torch.arange(60.0).reshape(3, 20), "n": torch.tensor(7)}
    checkpoints.save(path, {"iteration": 5, "network": network})

    def read() -> Any:
        found = checkpoints.load(path)
        return {n: t.tolist() for n, t in found["network"].items()}, found["iteration"]

    survives(count, path, read, is_json=False)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


NAMES = [
    "config.json", "network.json", "data.json", "end.json", "losses.jsonl",
    "evaluations/test-0000004.json", "evaluations/test-0000004.npz",
]  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [fifo, loop, Path.mkdir, Path.touch])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_file_is_named(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    """A FIFO hangs nobody, and neither a folder nor an empty file ends a report."""
    made = write_run(tmp_path, whole_configuration(), {("test", 4): 0.8}, images=6)
    (made / name).unlink()
    make(made / name)
    found = verify_run(made)
    if not (name == "losses.jsonl" and make is Path.touch):
        assert any(name in problem for problem in found.problems), found.problems
    runs = read_runs([made])
    estimates = Estimates(None)
    for run in runs:
        for evaluation in run.evaluations:
            estimates.of([(run, evaluation)])
