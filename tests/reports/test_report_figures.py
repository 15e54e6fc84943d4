"""Figures: the same bytes every time, a true Pareto front, missing data, the qualitative grid."""

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import CLASSES, COLOURS, IMAGES, evidence, write_picture

from bench import records
from bench.data.pairs import Pair
from bench.losses import append_losses
from bench.metrics.calibration import UNIT
from reports.figures import grid as pictures
from reports.figures.charts import Entry, accuracy_against_cost
from reports.figures.grid import Predictions, kept_predictions, qualitative
from reports.figures.learning import Curve, curve_of, learning_curves
from reports.figures.of_report import drawings
from reports.figures.style import png, svg
from reports.read.runs import read_runs
from reports.tables.choice import context_of

pytest_plugins = ["run_fixtures"]

Make = Callable[..., Path]
IMAGE = np.full((24, 32, 3), 90, np.uint8)


def test_the_figure_of_costs_has_intervals_and_ranks_nothing() -> None:
    """One vertical line a network, its interval, and no line from network to network."""
    entries = [
        Entry("A", miou=50.0, interval=(45.0, 55.0), costs={"ms": 1.0}),
        Entry("B", miou=52.0, interval=(48.0, 56.0), costs={"ms": 2.0}),
    ]
    figure = accuracy_against_cost(entries)
    assert figure is not None
    (axes,) = figure.axes
    segments: list[Any] = [lines.get_segments() for lines in axes.collections]  # type: ignore[attr-defined]
    assert np.array(segments).tolist() == [
        [[[1.0, 45.0], [1.0, 55.0]]],
        [[[2.0, 48.0], [2.0, 56.0]]],
    ]
    assert all(len(line.get_xdata()) == 1 for line in axes.lines)  # type: ignore[arg-type]


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
    assert learning_curves([("SegNet", Curve())]) is None


def test_the_pictures_are_of_one_seed_at_the_iteration_that_validation_chose(
    make_run: Make,
) -> None:
    """Seed 1 is better, iteration 100 too; FCN kept none of seed 0 until it had one."""
    validation = {"split": "val", "every": 50, "criterion": "G", "patience": None}
    networks = []
    for name in ("SegNet", "FCN"):
        folders = []
        for seed in (0, 1):
            shares = {
                ("val", 50): 0.9,
                ("val", 100): 0.7,
                ("test", 50): 0.5 + 0.1 * seed,
                ("test", 100): 0.8,
            }
            folder = make_run(name, seed=seed, shares=shares, validation=validation)
            for iteration in (50, 100):
                (folder / "predictions" / f"test-{iteration:07d}").mkdir(parents=True)
            folders.append(folder)
        networks.append((name, read_runs(folders)))
    chosen = kept_predictions(networks, "test")
    assert [(p.name, p.seed, p.iteration) for p in chosen] == [("SegNet", 0, 50), ("FCN", 0, 50)]
    assert chosen[0].folder == networks[0][1][0].folder / "predictions" / "test-0000050"
    shutil.rmtree(networks[1][1][0].folder / "predictions")
    assert [p.seed for p in kept_predictions(networks, "test")] == [1, 1]


def test_the_grid_shows_image_truth_predictions_and_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prediction has stripes 0, 1, 2; the truth is 1 with a void corner."""
    truth = np.ones((24, 32), np.uint8)
    truth[:4, :4] = 255
    write_picture(tmp_path / "x.png")
    pair = Pair("x", lambda: IMAGE, lambda: truth, "x")
    monkeypatch.setattr(pictures, "build", lambda *_, **__: [pair])
    dataset = {
        "name": "D",
        "root": None,
        "reader": CAMVID["reader"],
        "classes": CLASSES,
        "colours": COLOURS,
    }
    found = qualitative([Predictions("SegNet", tmp_path)], dataset, "test")
    assert found is not None
    caption, figure = found
    assert caption.startswith("Images, truth, predictions")
    shown: list[Any] = [axes.images[0].get_array() for axes in figure.axes]
    image, painted, predicted, errors = shown
    assert (image == IMAGE).all()
    assert tuple(painted[0, 0]) == (0, 0, 0)
    assert tuple(painted[10, 10]) == tuple(COLOURS[1])
    assert tuple(predicted[0, 0]) == tuple(COLOURS[0])  # not masked where the truth is void
    seen_through = round(255 - pictures.FADED * (255 - 90))  # the image is 90 everywhere
    assert [tuple(errors[y, x]) for y, x in ((0, 0), (10, 0), (10, 15))] == [
        pictures.VOID,
        pictures.WRONG,
        (seen_through,) * 3,
    ]


def kept(folder: Path, *names: str) -> Predictions:
    for name in names:
        write_picture(folder / f"{name}.png")
    return Predictions(folder.name, folder)


def titles(found: Any) -> list[str]:
    _, figure = found
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


CAMVID = {
    "name": "CamVid",
    "root": "no such folder",
    "reader": {"_target_": "bench.data.camvid.read"},
    "classes": CLASSES,
    "colours": COLOURS,
}


def test_without_the_data_set_predictions_stand_alone_and_the_caption_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = kept(tmp_path / "SegNet", "x", "y"), kept(tmp_path / "FCN", "y", "x")
    found = qualitative([one, other], CAMVID, "test")
    assert found is not None
    caption, figure = found
    assert "images and their truth are not here (dataset.root is no such folder)" in caption
    assert caption.endswith("Seed 0, the reported iteration (0).")
    assert len(figure.axes) == 4
    assert [axes.get_ylabel() for axes in figure.axes] == ["SegNet", "", "FCN", ""]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == CLASSES
    assert "no such folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "reader",
    [
        {"_target_": "bench.data.camvid.read", "root": "NESTED"},
        {"_target_": "pathlib.Path.touch", "self": "NESTED"},
        {"_target_": "bench.data.camvid.read", "root": "${oc.env:HOME}"},
        {"_target_": "bench.data.camvid.fetch.download"},
    ],
)
def test_a_record_of_somebody_else_runs_no_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reader: dict[str, Any]
) -> None:
    mark = tmp_path / "mark"
    touch = {
        "_target_": "pathlib.Path.touch",
        "self": {"_target_": "pathlib.Path", "_args_": [str(mark)]},
    }
    reader = {key: touch if value == "NESTED" else value for key, value in reader.items()}
    found = qualitative([kept(tmp_path / "SegNet", "x")], {**CAMVID, "reader": reader}, "test")
    assert not mark.exists()
    assert found is not None
    assert found[0].startswith("Predictions alone, of images of split test: the record's dataset.r")
    assert "dataset.reader calls other code than the readers of" in capsys.readouterr().err


def test_all_networks_are_shown_on_the_same_images(tmp_path: Path) -> None:
    one = kept(tmp_path / "SegNet", *"abcdefgh")
    other = kept(tmp_path / "FCN", *"bcdefghi")
    assert titles(qualitative([one, other], CAMVID, "test")) == ["b", "d", "f", "h"]


def test_images_that_were_asked_for_are_shown_before_others(tmp_path: Path) -> None:
    one, other = kept(tmp_path / "SegNet", *"abcdefgh"), kept(tmp_path / "FCN", *"abcdefg")
    dataset = {**CAMVID, "pictures": ["g", "h", "b"]}
    assert titles(qualitative([one, other], dataset, "test")) == ["g", "b"]


def test_networks_without_a_common_image_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = kept(tmp_path / "SegNet", "a"), kept(tmp_path / "FCN", "b")
    assert qualitative([one, other], CAMVID, "test") is None
    assert "there is no image of which SegNet, FCN all kept one" in capsys.readouterr().err


def test_a_prediction_of_another_size_than_the_truth_is_shown_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = Pair("x", lambda: IMAGE, lambda: np.ones((48, 64), np.uint8), "x")
    monkeypatch.setattr(pictures, "build", lambda *_, **__: [pair])
    found = qualitative([kept(tmp_path / "SegNet", "x")], CAMVID, "test")
    assert found is not None
    assert found[0].startswith("Predictions alone")
    assert "another form of the data set" in capsys.readouterr().err


def test_losses_are_means_of_equal_stretches_whatever_the_lines_of_the_record(
    make_run: Make,
) -> None:
    """600 iterations are stretches of 10; after a resume the record's lines are short."""
    whole, resumed = (make_run("SegNet", seed=seed, max_iterations=600) for seed in (0, 1))
    losses = [1 / (1 + iteration) for iteration in range(600)]
    for folder, ends in ((whole, range(0, 601, 20)), (resumed, [0, 20, 40, 41, 43, 280, 600])):
        (folder / "losses.jsonl").unlink()
        for first, last in pairwise(ends):
            part = losses[first:last]
            append_losses(folder, first + 1, part, 0.5 * len(part))
    one, other = (curve_of(*read_runs([folder]), "union") for folder in (whole, resumed))
    assert np.array(one.losses) == pytest.approx(np.array(other.losses))
    assert len(one.losses) == 60
    assert one.losses[0] == pytest.approx((10, sum(losses[:10]) / 10))
    assert one.losses[-1][0] == 600


def test_scores_of_validations_and_milestones_stand_beside_the_losses(make_run: Make) -> None:
    """80 of 100 right is an IoU of 80 / 120; seconds of training are nowhere."""
    shares = {("val", 2): 0.6, ("val", 4): 0.8, ("test", 4): 0.8, ("train", 4): 0.9}
    validation = {"split": "val", "every": 2, "criterion": "G", "patience": None}
    folder = make_run("SegNet", shares=shares, max_iterations=4, validation=validation)
    (run,) = read_runs([folder])
    curve = curve_of(run, "union")
    assert curve.scores.keys() == {"validation", "test"}
    assert curve.scores["validation"] == [
        pytest.approx((2, 100 * 60 / 140)),
        pytest.approx((4, 100 * 80 / 120)),
    ]
    figure = learning_curves([("SegNet", curve)])
    assert figure is not None
    assert [axes.get_ylabel() for axes in figure.axes] == ["training loss", "mIoU (%)"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"iteration"}
    single = Curve(curve.losses, {"test": curve.scores["test"]})
    figure = learning_curves([("SegNet", single)])
    assert figure is not None
    assert [axes.get_ylabel() for axes in figure.axes] == ["training loss"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["SegNet"]


def test_a_row_that_only_post_processes_has_no_curve_of_its_own(make_run: Make) -> None:
    folder = make_run("DeepLab-LargeFOV", 0.7)
    summary = {"split": "test", "iteration": 100, "images": IMAGES, "variant": "denseCRF"}
    records.write_evaluation(folder, summary, evidence(0.8))
    own, post_processed = read_runs([folder])
    assert curve_of(own, "union").losses
    assert curve_of(post_processed, "union") == Curve()


def test_a_line_of_losses_without_its_keys_is_named_and_draws_nothing(
    make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run("SegNet", 0.8)
    (folder / "losses.jsonl").write_text('{"first": 1}\n')
    (run,) = read_runs([folder])
    assert curve_of(run, "union").losses == []
    assert "losses.jsonl" in capsys.readouterr().err


def test_reliability_is_drawn_from_the_counts_of_all_seeds_and_not_of_older_records(
    make_run: Make, tmp_path: Path
) -> None:
    """Of 100 pixels at 0.9, 80 and 60 are right: the point (90, 70), 20 points off."""
    root = tmp_path / "runs"
    for seed, right in enumerate((80, 60)):
        folder = make_run("SegNet", 0.8, seed=seed)
        assert not [
            d for d in drawings(read_runs([folder]), context_of(root)) if "reliab" in d.name
        ]
        calibration = np.zeros((IMAGES, 15, 3), np.int64)
        calibration[0, 13] = (100, right, 90 * UNIT)
        summary = {"split": "test", "iteration": 100, "images": IMAGES}
        records.write_evaluation(folder, summary, {**evidence(0.8), "calibration": calibration})
    runs = read_runs(records.run_folders(root))
    (drawing,) = [d for d in drawings(runs, context_of(root)) if d.name == "reliability-1"]
    above, below = drawing.figure.axes
    line = above.lines[1]
    known = ~np.isnan(np.array(line.get_xdata()))
    assert np.array(line.get_xydata())[known].tolist() == [pytest.approx([90, 70])]
    assert line.get_label() == "SegNet, ECE 20.0 %"
    assert np.nansum(below.lines[0].get_ydata()) == pytest.approx(100)
