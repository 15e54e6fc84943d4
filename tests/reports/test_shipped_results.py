"""The results that ship: complete records, small, of this paper's networks, and right by others."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as counted_by_sklearn

from bench import records
from bench.data.images import read_label
from bench.evidence import read_evidence
from bench.losses import read_losses
from bench.metrics.boundaries import boundary_counts, boundary_f1
from bench.metrics.regions import region_score
from reports.compute.context import Context
from reports.compute.estimates import Estimates
from reports.read.published import printed
from reports.read.runs import read_runs
from reports.tables.choice import numbered_table

ROOT = Path(__file__).parents[2]
RUNS = sorted(path.parent for path in (ROOT / "reports/results").glob("*/*/config.json"))


def test_results_ship_and_are_small() -> None:
    assert len(RUNS) >= 26
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "reports/results"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert sum(path.stat().st_size for path in files) < 20e6
    assert not [path for path in files if path.suffix in {".pt", ".jpg"}]


def published_millions(network: str) -> float:
    """The parameters that Table 1 gives, or the model's size in Table 6 at four bytes each."""
    for table, column, bytes_each in (("1", "Params (M)", 1), ("6", "Model size (MB)", 4)):
        found = printed(table, network, column)
        if found is not None and found.number is not None:
            return found.number / bytes_each
    raise AssertionError(network)


@pytest.mark.parametrize("folder", RUNS, ids=lambda path: path.name)
def test_a_shipped_run_is_complete_and_plausible(folder: Path) -> None:
    config = records.read_json(folder / "config.json")["config"]
    assert records.read_json(folder / "end.json")["state"] == "finished"
    millions = records.read_json(folder / "network.json")["parameters"] / 1e6
    assert millions == pytest.approx(published_millions(config["arch"]["name"]), rel=0.025)
    assert len([x for line in read_losses(folder) for x in line["losses"]]) == 1300
    scores = {}
    for evaluation in records.read_evaluations(folder):
        evidence = read_evidence(folder, evaluation)
        matrix = evidence["confusion"].sum(axis=0, dtype=np.int64)
        assert matrix.tolist() == evaluation["confusion"]
        truth = matrix[:-1].sum(axis=1)
        score = scores[evaluation["split"], evaluation["iteration"]] = region_score(matrix, "G")
        assert score > truth.max() / truth.sum()  # the largest class alone
    tested = [iteration for split, iteration in scores if split == "test"]
    assert tested
    assert all(scores["test", iteration] < scores["train", iteration] for iteration in tested)


@pytest.mark.parametrize("folder", RUNS, ids=lambda path: path.name)
def test_kept_predictions_score_as_recorded(folder: Path, camvid_root: Path) -> None:
    """Regions by scikit-learn, boundaries by ours, from the label maps that ship."""
    for pictures in sorted((folder / "predictions").iterdir()):
        split, _, iteration = pictures.name.partition("-")
        summary = {"split": split, "iteration": int(iteration)}
        evidence = read_evidence(folder, summary)
        names = evidence["names"].tolist()
        maps = sorted(pictures.glob("*.png"))
        assert len(maps) == 8
        for path in maps[::3]:
            prediction = read_label(path)
            truth = read_label(camvid_root / f"{split}annot" / path.name)
            index = names.index(path.stem)
            theirs = counted_by_sklearn(truth.ravel(), prediction.ravel(), labels=range(12))
            assert (theirs == evidence["confusion"][index]).all()
            ours = boundary_counts(prediction, truth, num_classes=11)
            assert (ours == evidence["boundaries"][index]).all()


def test_decoders_that_see_nothing_of_the_encoder_are_last_at_boundaries() -> None:
    """The one ranking that a short run can show, with every seed."""
    blind = {
        "Bilinear-Interpolation", "FCN-Basic-NoAddition", "FCN-Basic-NoAddition-NoDimReduction"
    }  # fmt: skip
    found: dict[int, dict[str, float]] = {}
    for run in read_runs([folder for folder in RUNS if folder.parent.name == "camvid_short"]):
        evaluation = run.evaluation("test", None)  # of the best iteration
        assert evaluation is not None
        counts = read_evidence(run.folder, evaluation)["boundaries"]
        score = boundary_f1(counts, matching="one_to_one", classes="ground_truth")
        found.setdefault(run.seed, {})[run.name] = score
    for of_seed in found.values():
        best_blind = max(of_seed[name] for name in blind & of_seed.keys())
        assert best_blind < min(of_seed[name] for name in of_seed.keys() - blind)


def test_the_readme_shows_the_tables_figures() -> None:
    """Each figure with its interval, its boldness and the paper's, as the table has them."""
    root = ROOT / "reports/results/camvid_short"
    runs = read_runs([folder for folder in RUNS if folder.parent == root])
    (table, *_) = numbered_table("1", runs, Context(Estimates(None)))
    shown = dict(
        (line.split(" | ")[0].removeprefix("| "), line)
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.count("<sub>") == 4
    )
    rows = [row for row in table.sections[0].rows if row.ours]
    assert set(shown) == {row.label for row in rows}
    for row in rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            if column.group == "median, test":
                value = f"**{cell.value:.1f}**" if cell.bold else f"{cell.value:.1f}"
                words = f"{value} [{cell.low:.1f}, {cell.high:.1f}] <sub>{cell.published:.1f}</sub>"
                assert words in shown[row.label]


def test_no_path_of_a_machine_is_shipped() -> None:
    for path in (ROOT / "reports/results").rglob("*.json"):
        assert '"/' not in json.dumps(json.loads(path.read_text())), path
