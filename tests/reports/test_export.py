"""The long frame: its columns and types, its figures by hand, CSV and Parquet."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import reports
from reports.export import COLUMNS, SCHEMA, frame, write

pytest_plugins = ["run_fixtures"]

Make = Callable[..., Path]


@pytest.fixture
def runs(make_run: Make, make_cost: Make, tmp_path: Path) -> Path:
    for seed, share in enumerate((0.7, 0.8, 0.9)):
        make_run("SegNet-Basic", share, seed=seed)
    make_cost("SegNet-Basic", [10.0, 11.0, 12.0])
    return tmp_path / "runs"


def test_a_row_holds_one_figure(runs: Path) -> None:
    """80 of 100 pixels of every class are right, the rest go to the next: IoU 80 / 120."""
    found = reports.frame(runs)
    assert tuple(found.columns) == COLUMNS
    assert set(found["schema"]) == {SCHEMA}
    of_run = found[(found["run"] != "") & (found["seeds"] == "1") & (found["split"] == "test")]
    by_key = of_run.set_index(["metric", "convention", "class"])["value"]
    assert by_key["G", "", ""] == pytest.approx(80)
    assert by_key["mIoU", "absent_classes=union", ""] == pytest.approx(100 * 80 / 120)
    assert by_key["accuracy", "", "Road"] == pytest.approx(80)
    matching = "matching=one_to_one, boundary_classes=ground_truth"
    assert by_key["BF", matching, "Car"] == pytest.approx(80)
    keys = ["run", "seeds", "split", "iteration", "variant", "metric", "convention", "class"]
    assert not found.duplicated(["network", "protocol", *keys]).any()


def test_a_mean_over_seeds_has_its_interval_and_the_papers_figure(runs: Path) -> None:
    found = reports.frame(runs)
    (mean,) = found.query("run == '' and metric == 'G'").to_dict("records")
    assert (mean["seeds"], mean["unit"], mean["published"]) == ("0, 1, 2", "percent", 84.0)
    assert mean["value"] == pytest.approx(80)
    assert mean["low"] == pytest.approx(80 - 4.3027 * 10 / 3**0.5, abs=0.01)
    (time,) = found.query("metric == 'forward_ms'").to_dict("records")
    assert [time[key] for key in ("low", "value", "high", "unit")] == [10.5, 11.0, 11.5, "ms"]


def test_networks_of_one_name_are_told_apart(make_run: Make, tmp_path: Path) -> None:
    """Two widths and two states of the code: the means of four networks, each by its own arch."""
    for width in (32, 64):
        for code in ("a", "b"):
            for seed in range(2):
                place = tmp_path / "runs" / f"{width}{code}"
                options = {"arch": {"width": width}, "code": {"network": code}, "runs": place}
                folder = make_run("SegNet", 0.8, seed=seed, **options)
                folder.rename(tmp_path / "runs" / f"{width}{code}{seed}")
    found = frame(tmp_path / "runs")
    means = found.query("run == '' and metric == 'G'")["arch"]
    archs = [json.loads(arch) for arch in means]
    assert sorted((arch["width"], arch["code"]) for arch in archs) == [
        (32, "a"), (32, "b"), (64, "a"), (64, "b"),
    ]  # fmt: skip
    assert set(found["arch"]) == set(means)  # the rows of runs have that of their mean


@pytest.mark.parametrize("parquet", [False, True])
def test_what_is_written_is_read_again(runs: Path, tmp_path: Path, parquet: bool) -> None:
    found, path = frame(runs), tmp_path / "all"
    write(found, path, parquet=parquet)
    if parquet:
        pd.testing.assert_frame_equal(pd.read_parquet(path), found)
        return
    again = pd.read_csv(path, keep_default_na=False, na_values={
        column: [""] for column in ("value", "low", "high", "published", "iteration")
    })  # fmt: skip
    assert again["value"].to_numpy() == pytest.approx(found["value"].to_numpy(), nan_ok=True)
    assert (again["metric"] == found["metric"]).all()


def test_without_evidence_there_are_the_scores_of_regions(runs: Path) -> None:
    for path in runs.glob("*seed0/evaluations/*.npz"):
        path.unlink()
    found = reports.frame(runs).query("seeds == '0'")
    assert {"G", "C", "mIoU", "FWIoU", "accuracy", "IoU"} <= set(found["metric"])
    assert not {"BF", "image mIoU"} & set(found["metric"])
    assert found["low"].isna().all()


def test_no_cell_of_the_csv_is_a_formula(make_run: Make, tmp_path: Path) -> None:
    """Names come from a stranger's record; the frame has them as they are, and so has Parquet."""
    names = ["=1+1", "+1", "-1", "@sum"]
    make_run("=HYPERLINK(1)", 0.8, classes=names)
    found = frame(tmp_path / "runs")
    assert {"=HYPERLINK(1)", *names} <= {*found["network"], *found["class"]}
    write(found, tmp_path / "all.csv", parquet=False)
    cells = pd.read_csv(tmp_path / "all.csv", dtype=str, keep_default_na=False)
    words = cells.drop(columns=["value", "low", "high"])
    assert not words.map(lambda cell: cell.startswith(("=", "+", "-", "@"))).any().any()
    assert set(cells["network"]) == {"'=HYPERLINK(1)"}
