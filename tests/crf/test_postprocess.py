"""The dense-CRF row of a run: searched on training images, beside the network's own row."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import records
from bench.config import Config
from bench.crf.mean_field import dense_crf
from bench.crf.search import Appearance, Example, Fixed, Search, grid, refine
from bench.data.schema import DatasetConfig
from bench.data.synthetic import scene
from bench.evidence import read_evidence
from bench.run.monitor import InterruptedRunError, Monitor
from bench.run.run import run

FIXED = Fixed(w2=3.0, sigma_gamma=3.0, iterations=3, normalisation="after")
DATASET = DatasetConfig(classes=["a"] * 11, void=11)
RANGES = {"rounds": 2, "w1": [2.0, 4.0], "sigma_alpha": [20.0, 40.0], "sigma_beta": [5.0]}


def example(seed: int) -> Example:
    """A scene whose probabilities are its truth, softened and noisy."""
    image, truth = scene(seed, 24, 32)
    one_hot = np.eye(12, dtype=np.float32)[truth].transpose(2, 0, 1)[:11]
    noise = np.random.default_rng(seed).random(one_hot.shape).astype(np.float32)
    probs = one_hot + 0.9 * noise
    return Example(f"scene {seed}", probs / probs.sum(axis=0), image, truth)


def test_shared_lattices_give_what_the_whole_step_gives() -> None:
    one = example(0)
    points = [Appearance(w1, 20.0, 5.0) for w1 in (1.0, 4.0)]
    for point, label in zip(points, refine(one, points, FIXED), strict=True):
        expected = dense_crf(
            torch.from_numpy(one.probs),
            torch.from_numpy(np.array(one.image)),
            **point._asdict(),
            **vars(FIXED),
        )
        assert (label == expected.argmax(dim=0).numpy()).all()


def test_the_search_refines_around_the_best_and_keeps_the_whole_grid(tmp_path: Path) -> None:
    search = Search(tmp_path / "s.jsonl", [example(0), example(1)], FIXED, DATASET)
    with ThreadPoolExecutor(1) as pool:
        best = search.run(RANGES, pool, Monitor(tmp_path))
    table = search.table()
    assert {(row["w1"], row["sigma_alpha"]) for row in table} > {
        (w1, alpha) for w1 in (2, 4) for alpha in (20, 40)
    }
    assert best._asdict() == {key: table[0][key] for key in best._asdict()} or (
        table[0]["mIoU"] == table[1]["mIoU"]
    )
    assert table[0]["mIoU"] == max(row["mIoU"] for row in table)


class StopsAfter:
    """A pool that computes here and stops the run after some tasks."""

    def __init__(self, tasks: int) -> None:
        self.left = tasks

    def map(self, function: Any, tasks: list[Any]) -> Any:
        for task in tasks:
            if self.left == 0:
                raise InterruptedRunError
            self.left -= 1
            yield function(task)


def test_an_interrupted_search_goes_on_without_repeating(tmp_path: Path) -> None:
    def search() -> Search:
        return Search(tmp_path / "s.jsonl", [example(0), example(1)], FIXED, DATASET)

    with pytest.raises(InterruptedRunError):
        search().run(RANGES, StopsAfter(3), Monitor(tmp_path))  # type: ignore[arg-type]
    with (tmp_path / "s.jsonl").open("a") as file:
        file.write('{"image": "scene 0", "poi')  # cut by a kill
    rest = StopsAfter(1000)
    best = search().run(RANGES, rest, Monitor(tmp_path))  # type: ignore[arg-type]
    whole = StopsAfter(1000)
    fresh = Search(tmp_path / "t.jsonl", [example(0), example(1)], FIXED, DATASET)
    assert fresh.run(RANGES, whole, Monitor(tmp_path)) == best  # type: ignore[arg-type]
    assert whole.left == rest.left - 3


def test_a_grid_has_every_combination() -> None:
    assert len(grid([[1.0, 2.0], [3.0], [4.0, 5.0, 6.0]])) == 6


def test_a_run_gets_a_row_beside_its_own_and_only_once(
    tiny_config: Callable[..., Config],
    prepared: Callable[..., tuple[Path, Monitor]],
) -> None:
    plain, monitor = prepared(tiny_config(), "plain")
    run(plain, monitor)
    options = [
        "postprocess=dense_crf",
        "postprocess.search={images: 2, rounds: 1, w1: [2.0]}",
        "+postprocess.search.sigma_alpha=[20.0]",
        "+postprocess.search.sigma_beta=[5.0]",
    ]
    folder, monitor = prepared(tiny_config(*options))
    end = run(folder, monitor)
    assert end.postprocessed == ["dense_crf"]
    own, theirs = records.read_evaluations(plain), records.read_evaluations(folder)
    assert own == theirs
    (row,) = records.read_evaluations(folder, "test", variant="denseCRF")
    assert row["parameters"]["w1"] == 2
    assert len(row["searched_images"]) == 2
    assert row["search"][0]["mIoU"] > 0
    assert row["seconds_per_image"] > 0
    assert row["confusion"] != theirs[-1]["confusion"]
    assert read_evidence(folder, row)["confusion"].shape == (5, 12, 12)
    assert len(list((folder / "predictions" / "test.denseCRF-0000006").iterdir())) == 5
    before = (folder / "evaluations" / "test.denseCRF-0000006.json").stat().st_mtime_ns
    run(folder, Monitor(folder))
    assert (folder / "evaluations" / "test.denseCRF-0000006.json").stat().st_mtime_ns == before


def test_an_unknown_postprocessing_is_refused_before_anything_runs(
    tiny_config: Callable[..., Config],
) -> None:
    message = r"postprocess\.name is sharpen; it must be one of none, dense_crf, test_time"
    with pytest.raises(ValueError, match=message):
        tiny_config("postprocess.name=sharpen")


def test_a_run_without_it_never_imports_the_crf() -> None:
    code = "import sys, bench.run.__main__; sys.exit('bench.crf.lattice' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tables_show_it_as_a_row_of_its_own_with_its_cost(
    tiny_config: Callable[..., Config],
    prepared: Callable[..., tuple[Path, Monitor]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    from reports.after_run import print_tables
    from reports.compute.context import Context
    from reports.compute.estimates import Estimates
    from reports.read.runs import read_runs
    from reports.tables.choice import numbered_table

    options = ["images: 1", "rounds: 1", "w1: [2.0]", "sigma_alpha: [20.0]", "sigma_beta: [5.0]"]
    folder, monitor = prepared(
        tiny_config(
            "postprocess=dense_crf",
            *(f"postprocess.search.{o}".replace(": ", "=") for o in options),
        )
    )
    run(folder, monitor)
    capsys.readouterr()
    print_tables([folder])
    shown = capsys.readouterr().out
    rows = {
        line.split()[0]: line.split()[1:] for line in shown.splitlines() if "SegNet-Basic" in line
    }
    assert rows["SegNet-Basic"] != rows["SegNet-Basic-denseCRF"]
    (table, *_) = numbered_table("1", read_runs([folder]), Context(Estimates(None)))
    (cost,) = [
        note for note in table.sections[0].notes if note.startswith("SegNet-Basic-denseCRF:")
    ]
    assert "w1 2.0" in cost
    assert "s an image on" in cost
    (evaluation, *_) = records.read_evaluations(folder, "test", "denseCRF")
    evidence = read_evidence(folder, evaluation)
    assert evidence["surfaces"].any()
    assert not evidence["calibration"].any()  # of the mean field, label maps are kept
