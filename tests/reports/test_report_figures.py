"""Figures: the same bytes every time, a true Pareto front, missing data, the qualitative grid."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import CLASSES, COLOURS, write_picture

from bench import records
from bench.data.pairs import Pair
from reports import pictures
from reports.drawings import drawings
from reports.figures import Entry, accuracy_against_cost, learning_curves, pareto, png, svg
from reports.pictures import Predictions, kept_predictions, qualitative
from reports.runs import read_runs
from reports.tables import context_of

pytest_plugins = ["run_fixtures"]

Make = Callable[..., Path]
IMAGE = np.full((24, 32, 3), 90, np.uint8)


def test_the_pareto_front_has_what_nothing_beats_in_both() -> None:
    points = [(1.0, 50.0), (2.0, 40.0), (2.0, 60.0), (3.0, 60.0), (4.0, 70.0)]
    assert pareto(points) == [(1.0, 50.0), (2.0, 60.0), (4.0, 70.0)]


def test_figures_are_the_same_byte_for_byte(
    make_run: Make, make_cost: Make, tmp_path: Path
) -> None:
    for name, share in (("SegNet", 0.8), ("U$Net", 0.7)):
        make_run(name, share, classes=["Sky", "a$b", "Car"])
        make_cost(name, [10.0 * share, 11.0])
    root = tmp_path / "runs"
    runs = read_runs(records.run_folders(root))
    rendered = [
        {d.name: (svg(d.figure), png(d.figure)) for d in drawings(runs, context_of(root))}
        for _ in range(2)
    ]
    assert rendered[0] == rendered[1]
    names = {name.rpartition("-")[0] for name in rendered[0]}
    assert names == {"accuracy-cost", "learning", "classes", "confusion", "timing"}


def test_what_is_not_known_is_not_drawn() -> None:
    assert accuracy_against_cost([Entry("SegNet")]) is None
    assert learning_curves([Entry("SegNet")]) is None


def test_the_pictures_come_from_the_evaluation_with_the_highest_miou(make_run: Make) -> None:
    folders = [
        make_run("SegNet", seed=seed, shares={("test", 50): first, ("test", 100): last})
        for seed, (first, last) in enumerate([(0.5, 0.8), (0.9, 0.6)])
    ]
    for folder in folders:
        for iteration in (50, 100):
            (folder / "predictions" / f"test-{iteration:07d}").mkdir(parents=True)
    kept = kept_predictions("SegNet", read_runs(folders), "test")
    assert kept is not None
    assert kept.folder == folders[1] / "predictions" / "test-0000050"


def test_the_grid_shows_image_truth_predictions_and_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prediction has stripes 0, 1, 2; the truth is 1 with a void corner."""
    truth = np.ones((24, 32), np.uint8)
    truth[:4, :4] = 255
    write_picture(tmp_path / "x.png")
    pair = Pair("x", lambda: IMAGE, lambda: truth, "x")
    monkeypatch.setattr(pictures, "build", lambda *_, **__: [pair])
    dataset = {"name": "D", "root": None, "reader": {}, "classes": CLASSES, "colours": COLOURS}
    figure = qualitative([Predictions("SegNet", tmp_path)], dataset, "test")
    assert figure is not None
    shown: list[Any] = [axes.images[0].get_array() for axes in figure.axes]
    image, painted, predicted, errors = shown
    assert (image == IMAGE).all()
    assert tuple(painted[0, 0]) == (0, 0, 0)
    assert tuple(painted[10, 10]) == tuple(COLOURS[1])
    assert tuple(predicted[0, 0]) == tuple(COLOURS[0])  # not masked where the truth is void
    assert [tuple(errors[y, x]) for y, x in ((0, 0), (10, 0), (10, 15))] == [
        pictures.VOID,
        pictures.WRONG,
        pictures.RIGHT,
    ]


def test_without_the_data_set_there_is_no_grid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_picture(tmp_path / "x.png")
    reader = {"_target_": "bench.data.camvid.read"}
    dataset = {"name": "CamVid", "root": str(tmp_path / "gone"), "reader": reader}
    assert qualitative([Predictions("SegNet", tmp_path)], dataset, "test") is None
    assert "gone" in capsys.readouterr().err
