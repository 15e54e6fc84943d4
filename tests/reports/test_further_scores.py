"""The table of further scores: by hand, n/a where an older record counted less, shown where."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from handmade import CLASSES, IMAGES, evidence

import reports
from bench import records
from bench.metrics.calibration import BINS, UNIT
from reports.__main__ import main
from reports.read.runs import read_runs
from reports.render.page import write_report
from reports.tables.choice import context_of, numbered_table
from reports.tables.model import Cell, Table

pytest_plugins = ["run_fixtures"]

Make = Callable[..., Path]
K = len(CLASSES)


@pytest.fixture
def runs(make_run: Make, tmp_path: Path) -> Path:
    for seed, share in enumerate((0.7, 0.8, 0.9)):
        make_run("SegNet-Basic", share, seed=seed)
    return tmp_path / "runs"


def count_more(run: Path) -> None:
    """Adds what newer versions count: Boundary IoU 30 of 60, NSD 90 of 100, ECE 90 less 75 %."""
    regions = np.tile(np.array([30, 50, 40], np.int32), (IMAGES, K, 1))
    surfaces = np.tile(np.array([50, 50, 40, 50], np.int32), (IMAGES, K, 1))
    sure = np.zeros((IMAGES, BINS, 3), np.int64)
    sure[:, 13] = (100, 75, 90 * UNIT)
    new = {"boundary_regions": regions, "surfaces": surfaces, "calibration": sure}
    summary = {"split": "test", "iteration": 100, "images": IMAGES}
    records.write_evaluation(run, summary, evidence(0.8) | new)


def table_of(runs: Path) -> Table:
    (table,) = numbered_table("further", read_runs(records.run_folders(runs)), context_of(runs))
    return table


def cells_of(table: Table) -> dict[str, dict[str, Cell]]:
    (section,) = table.sections
    titles = [column.title for column in table.columns]
    return {row.label: dict(zip(titles, row.cells, strict=True)) for row in section.rows}


def test_further_scores_by_hand(runs: Path) -> None:
    """Of 100 pixels of each class h are right, the rest is the next one's: IoU h / (200 - h)."""
    cells = cells_of(table_of(runs))["SegNet-Basic"]
    iou = np.array([70 / 130, 80 / 120, 90 / 110])
    half = 4.3027 * iou.std(ddof=1) / 3**0.5
    for title in ("of the set FWIoU", "of the set micro IoU", "mean over images mIoU"):
        cell = cells[title]
        assert cell.value == pytest.approx(100 * iou.mean())
        assert cell.low == pytest.approx(100 * (iou.mean() - half), abs=0.01)
        assert not cell.bold
    assert "test, seeds 0, 1, 2, fingerprint" in table_of(runs).sections[0].title
    for title in ("of the set precision", "of the set Dice", "mean over images Dice"):
        assert cells[title].value == pytest.approx(80)


def test_columns_that_no_record_counted_are_left_out_and_named(runs: Path) -> None:
    table = table_of(runs)
    assert {column.group for column in table.columns} == {"of the set", "mean over images"}
    assert table.notes[-1].startswith("Left out")
    assert table.notes[-1].endswith(": contours Boundary IoU; contours NSD; calibration ECE.")


def test_older_records_say_na_beside_newer_ones(runs: Path, make_run: Make) -> None:
    count_more(make_run("FCN-Basic", 0.8))
    table = table_of(runs)
    assert [row.details["seeds"] for row in table.sections[0].rows] == ["0, 1, 2", "0"]
    found = cells_of(table)
    for title, value in (
        ("contours Boundary IoU", 50),
        ("contours NSD", 90),
        ("calibration ECE", 15),
    ):
        cell = found["FCN-Basic"][title]
        assert cell.value == pytest.approx(value)
        assert cell.low == pytest.approx(value)  # every image is like the others
        assert (found["SegNet-Basic"][title].value, found["SegNet-Basic"][title].text) == (
            None, "n/a",
        )  # fmt: skip
    assert not any(note.startswith("Left out") for note in table.notes)


def test_a_mean_over_seeds_of_which_one_counted_less_is_na(runs: Path, make_run: Make) -> None:
    count_more(next(runs.glob("*seed0")))
    assert "contours NSD" not in cells_of(table_of(runs))["SegNet-Basic"]
    count_more(make_run("FCN-Basic", 0.8))
    assert cells_of(table_of(runs))["SegNet-Basic"]["contours NSD"].text == "n/a"


def test_the_table_is_on_the_page_and_in_the_terminal_on_request(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read_runs(records.run_folders(runs))
    page = write_report(found, context_of(runs), tmp_path / "report").read_text()
    assert '<section class="table" id="table-further">' in page
    assert (tmp_path / "report/tables/table-further.csv").exists()
    for words, shown in (([], False), (["--table", "further"], True)):
        monkeypatch.setattr("sys.argv", ["reports", str(runs), *words])
        with pytest.raises(SystemExit):
            main()
        assert ("FWIoU  " in capsys.readouterr().out) is shown


def test_without_an_evaluation_the_table_is_refused_in_a_sentence(
    make_run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = make_run("SegNet-Basic", 0.8)
    for path in (folder / "evaluations").iterdir():
        path.unlink()
    monkeypatch.setattr("sys.argv", ["reports", str(tmp_path / "runs"), "--table", "further"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err.startswith("--table further: none of these runs")


def test_the_long_frame_has_their_intervals(runs: Path) -> None:
    found = reports.frame(runs)
    (mean,) = found.query("run == '' and metric == 'Dice' and `class` == ''").to_dict("records")
    assert mean["value"] == pytest.approx(80)
    assert mean["low"] == pytest.approx(80 - 4.3027 * 10 / 3**0.5, abs=0.01)
    of_runs = found.query("run != '' and metric == 'image mIoU, worst tenth'")
    assert (of_runs["low"] <= of_runs["value"]).all()


def test_without_evidence_the_scores_of_the_set_stand_without_intervals(runs: Path) -> None:
    for path in runs.glob("*/evaluations/*.npz"):
        path.unlink()
    cells = cells_of(table_of(runs))["SegNet-Basic"]
    assert set(cells) == {
        f"of the set {name}" for name in ("FWIoU", "micro IoU", "precision", "Dice")
    }
    assert cells["of the set Dice"].value == pytest.approx(80)


def test_evidence_that_is_missing_is_not_called_another_order(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next(runs.glob("*seed1/evaluations/*.npz")).unlink()
    cells = cells_of(table_of(runs))["SegNet-Basic"]
    assert np.isnan(cells["of the set Dice"].low)
    told = capsys.readouterr().err
    assert "no such file" in told
    assert "in another order" not in told
