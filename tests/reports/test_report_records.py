"""What reports make of records that are old, new, foreign, malformed or half-written."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reports
from bench import records
from reports.compute.estimates import Estimates
from reports.read.costs import read_costs
from reports.read.published import columns_of, published, read_literature
from reports.read.runs import read_runs
from reports.tables.choice import context_of, numbered_table

pytest_plugins = ["run_fixtures"]

Make = Callable[..., Path]


def estimates_of(folder: Path) -> dict[str, float]:
    (run,) = read_runs([folder])
    evaluation = run.evaluation("test", None)
    assert evaluation is not None
    found = context_of(folder.parent).estimates.of([(run, evaluation)])
    return {key: interval.estimate for key, interval in found.items()}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"version": 1}', '{"version": 1, "config": {"arch": {}}}']
)
def test_a_malformed_configuration_is_passed_over_and_named(
    make_run: Make, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    good, bad = make_run("SegNet", 0.8), make_run("FCN", 0.8)
    (bad / "config.json").write_text(content)
    assert [run.name for run in read_runs([bad, good])] == ["SegNet"]
    assert str(bad / "config.json") in capsys.readouterr().err


def test_a_half_written_evaluation_is_passed_over_and_the_others_count(
    make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run("SegNet", shares={("test", 50): 0.5, ("test", 100): 0.8})
    path = folder / "evaluations" / "test-0000050.json"
    path.write_text(path.read_text()[:40])
    (run,) = read_runs([folder])
    assert [e["iteration"] for e in run.evaluations] == [100]
    assert "test-0000050.json" in capsys.readouterr().err


def test_a_matrix_of_other_classes_is_passed_over(
    make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run("SegNet", 0.8)
    path = folder / "evaluations" / "test-0000100.json"
    records.write_json(path, {**records.read_json(path), "confusion": [[1, 2], [3, 4]]})
    (run,) = read_runs([folder])
    assert not run.evaluations
    assert "does not fit 3 classes" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_without_evidence_there_is_a_figure_and_no_interval(
    make_run: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    folder = make_run("SegNet", 0.8)
    path = folder / "evaluations" / "test-0000100.npz"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100])
    found = estimates_of(folder)
    assert found["G"] == pytest.approx(0.8)
    assert found["BF"] != found["BF"]
    assert "test-0000100.npz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        (
            "boundary_regions",
            np.zeros((120, 2, 3), np.int32),
            "(120, 2, 3) and not integers (120, 3, 3)",
        ),
        ("surfaces", np.full((120, 3, 4), np.nan), "surfaces is float64"),
        ("calibration", np.full((120, 15, 3), -1), "calibration has a negative count"),
        (
            "names",
            np.array([f"a{i}" for i in range(119)]),
            "names is <U4 (119,) and not text (120,)",
        ),
        ("boundaries", np.zeros((119, 3, 5), np.int32), "(119, 3, 5) and not integers (120, 3, 5)"),
    ],
)
def test_counts_of_another_length_or_kind_leave_the_others_their_report(
    make_run: Make, capsys: pytest.CaptureFixture[str], name: str, array: Any, words: str
) -> None:
    """The run's own figure comes from its summed matrix, without an interval; one sentence."""
    bad, good = make_run("SegNet", 0.8), make_run("FCN", 0.7)
    path = bad / "evaluations" / "test-0000100.npz"
    with np.load(path) as arrays:
        changed = {**arrays, name: array}
    records.write_evaluation(bad, {"split": "test", "iteration": 100, "images": 120}, changed)
    capsys.readouterr()
    (table, *_) = numbered_table("3", read_runs([bad, good]), context_of(bad.parent))
    rows = {row.label: row for row in table.sections[0].rows if row.ours}
    first = {
        name: row.cells[[c.value is not None for c in row.cells].index(True)]
        for name, row in rows.items()
    }
    assert first["SegNet"].value == pytest.approx(80)
    assert np.isnan(first["SegNet"].low)
    assert first["FCN"].low == pytest.approx(70, abs=1)
    (sentence,) = capsys.readouterr().err.splitlines()
    assert words in sentence
    assert str(path) in sentence


def test_evidence_of_before_contours_and_confidences_were_counted_says_na(make_run: Make) -> None:
    folder = make_run("SegNet", 0.8)
    found = reports.frame(folder).set_index("metric")["value"]
    assert found["Dice"].notna().all()
    assert np.isnan(found["ECE"])
    assert found["boundary IoU"].isna().all()


def test_a_record_of_a_newer_version_is_passed_over_and_an_older_one_is_read(
    make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    new, old = make_run("SegNet", 0.8), make_run("FCN", 0.8)
    for folder, version in ((new, 99), (old, 0)):
        content = records.read_json(folder / "config.json")
        records.write_json(folder / "config.json", {**content, "version": version})
    assert [run.name for run in read_runs([new, old])] == ["FCN"]
    assert "newer than this program" in capsys.readouterr().err


def test_a_result_that_a_rerun_set_aside_does_not_count(make_run: Make) -> None:
    folder = make_run("SegNet", 0.5)
    aside = folder.rename(folder.with_name(f"{folder.name}.old1"))
    again = make_run("SegNet", 0.8)
    assert [run.folder for run in read_runs([aside, again])] == [again]
    assert [run.folder for run in read_runs([aside])] == [aside]


def test_keys_that_reports_do_not_know_do_no_harm(make_run: Make) -> None:
    folder = make_run("SegNet", 0.8, colour_of_the_bike_shed="green")
    content = records.read_json(folder / "network.json")
    records.write_json(folder / "network.json", {**content, "mood": "good"})
    assert estimates_of(folder)["G"] == pytest.approx(0.8)


def test_a_cache_of_something_else_is_computed_anew(make_run: Make, tmp_path: Path) -> None:
    folder = make_run("SegNet", 0.8)
    first = Estimates(tmp_path / "runs")
    (run,) = read_runs([folder])
    evaluated = [(run, run.evaluations[0])]
    wanted = first.of(evaluated)
    first.save()
    cache = records.read_json(tmp_path / "runs" / ".estimates.json")
    cache["estimates"] = dict.fromkeys(cache["estimates"], 5)
    records.write_json(tmp_path / "runs" / ".estimates.json", cache)
    assert Estimates(tmp_path / "runs").of(evaluated) == wanted


@pytest.mark.parametrize("numbers", [None, [0.1], [0.1, 0.2, 0.3]])
def test_kept_numbers_of_other_scores_or_seeds_are_computed_anew(
    make_run: Make, tmp_path: Path, numbers: list[float] | None
) -> None:
    folder = make_run("SegNet", 0.8)
    (run,) = read_runs([folder])
    first = Estimates(tmp_path / "runs")
    wanted = first.of([(run, run.evaluations[0])])
    first.save()
    path = tmp_path / "runs" / ".estimates.json"
    cache = records.read_json(path)
    (kept,) = cache["estimates"].values()
    del kept["G"]
    records.write_json(path, cache if numbers is None else {
        **cache, "estimates": {key: {"G": numbers, **kept} for key in cache["estimates"]}
    })  # fmt: skip
    assert Estimates(tmp_path / "runs").of([(run, run.evaluations[0])]) == wanted


def test_a_damaged_cache_is_computed_anew(
    make_run: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run("SegNet", 0.8)
    (tmp_path / "runs" / ".estimates.json").write_text('{"version": 1, "estim')
    assert estimates_of(folder)["G"] == pytest.approx(0.8)
    assert ".estimates.json" in capsys.readouterr().err


def test_two_reports_at_once_keep_what_both_have_found(make_run: Make, tmp_path: Path) -> None:
    make_run("SegNet", 0.8)
    make_run("FCN", 0.7)
    runs = {run.name: run for run in read_runs(records.run_folders(tmp_path / "runs"))}
    contexts = [context_of(tmp_path / "runs") for _ in range(2)]
    for context, name in zip(contexts, runs, strict=True):
        context.estimates.of([(runs[name], runs[name].evaluations[0])])
    for context in contexts:
        context.estimates.save()
    kept = records.read_json(tmp_path / "runs" / ".estimates.json")["estimates"]
    assert len(kept) == 2


def test_a_new_evaluation_of_the_same_name_is_not_taken_from_the_cache(make_run: Make) -> None:
    folder = make_run("SegNet", 0.8)
    (run,) = read_runs([folder])
    context = context_of(folder.parent)
    context.estimates.of([(run, run.evaluations[0])])
    context.estimates.save()
    path = folder / "evaluations" / "test-0000100.npz"
    with_other = folder.parent / "other.npz"
    with_other.write_bytes(path.read_bytes() + b"\0")
    path.unlink()
    with_other.rename(path)
    assert len(records.read_json(folder.parent / ".estimates.json")["estimates"]) == 1
    context = context_of(folder.parent)
    context.estimates.of([(run, run.evaluations[0])])
    context.estimates.save()
    assert len(records.read_json(folder.parent / ".estimates.json")["estimates"]) == 2


def test_a_malformed_cost_record_is_passed_over_and_named(
    make_cost: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_cost("SegNet", [10.0])
    (tmp_path / "runs" / "cost" / "broken.json").write_text("{")
    (tmp_path / "runs" / "cost" / "foreign.json").write_text('{"version": 1}')
    assert [cost.name for cost in read_costs(tmp_path / "runs")] == ["SegNet"]
    shown = capsys.readouterr().err
    assert "broken.json" in shown
    assert "foreign.json" in shown


def test_all_506_published_cells_are_shipped_446_of_them_numbers() -> None:
    assert len(published()) == 506
    assert sum(cell.number is not None for cell in published().values()) == 446


def test_a_user_adds_rows_of_their_own_literature(make_run: Make, tmp_path: Path) -> None:
    path = tmp_path / "my.csv"
    path.write_text("table,row,column,value,doi\n3,PSPNet,>80K/mIoU,69.1,10.1/x\n")
    make_run("SegNet", 0.8)
    context = context_of(tmp_path / "runs", literature=read_literature(path))
    (table,) = numbered_table("3", read_runs(records.run_folders(tmp_path / "runs")), context)
    rows = {row.label: row for row in table.sections[-1].rows}
    titles = [column.title for column in table.columns]
    assert rows["PSPNet"].cells[titles.index(">80K, test mIoU")].text == "69.1"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("table,row,value\n3,X,1\n", "has no column column"),
        ("table,row,column,value\n3,X,>80K/F1,1\n", "has no column '>80K/F1'; it has 40K/G"),
        ("table,row,column,value\n9,X,G,1\n", "tables are 1 to 6"),
        ("", "not a readable CSV"),
    ],
)
def test_literature_that_cannot_be_placed_is_an_error_that_names_the_file(
    tmp_path: Path, content: str, complaint: str
) -> None:
    path = tmp_path / "my.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"my\.csv") as caught:
        read_literature(path)
    assert complaint in str(caught.value)
    assert columns_of("3")[0] == "40K/G"


def test_evidence_of_images_in_another_order_is_not_paired(
    make_run: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same files and digests; the rest of the report goes on, and says why this does not."""
    for name, share in (("SegNet", 0.8), ("FCN", 0.7)):
        for seed in range(3):
            folder = make_run(name, share, seed=seed)
            if name == "FCN":
                path = folder / "evaluations" / "test-0000100.npz"
                arrays = {key: array[::-1] for key, array in np.load(path).items()}
                np.savez_compressed(path, **arrays)
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                record = path.with_suffix(".json")
                content = records.read_json(record) | {"evidence_sha256": digest}
                records.write_json(record, content)
    runs = read_runs(records.run_folders(tmp_path / "runs"))
    sides = [[(r, r.evaluations[0]) for r in runs if r.name == name] for name in ("SegNet", "FCN")]
    with pytest.raises(ValueError, match="or in another order"):
        context_of(tmp_path / "runs").estimates.difference(*sides)
    (table,) = numbered_table("3", runs, context_of(tmp_path / "runs"))
    figures = [row.cells[-5].value for row in table.sections[0].rows if row.ours]
    assert figures == pytest.approx([80, 70])
    assert "in another order" in capsys.readouterr().err
