"""Tables 1 to 5 from hand-made runs: figures, intervals, published cells, states, separation."""

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from handmade import IMAGES
from scipy.stats import ttest_1samp

from bench import records
from reports.read.runs import read_runs
from reports.render.cells import csv
from reports.render.text import markdown, text
from reports.tables.choice import context_of, fitting_tables, numbered_table
from reports.tables.model import Cell, Table

pytest_plugins = ["run_fixtures"]

MakeRun = Callable[..., Path]
VALIDATED = {"split": "val", "every": 50, "criterion": "G", "patience": None}


def filled(root: Path, number: str) -> list[Table]:
    context = context_of(root)
    tables = numbered_table(number, read_runs(records.run_folders(root)), context)
    context.estimates.save()
    return tables


def cell(table: Table, network: str, title: str, section: int = 0) -> Cell:
    titles = [column.title for column in table.columns]
    row = next(row for row in table.sections[section].rows if row.label == network)
    return row.cells[titles.index(title)]


def test_table_1_shows_our_figure_the_published_one_and_the_difference(
    make_run: MakeRun, tmp_path: Path
) -> None:
    """80 of 100 pixels right: G is 80.0, the paper's natural 84.0, the difference -4.0."""
    make_run("SegNet-Basic", 0.8, spread=10)
    (table,) = filled(tmp_path / "runs", "1")
    found = cell(table, "SegNet-Basic", "natural, test G")
    assert found.value == pytest.approx(80.0)
    assert found.published == 84.0
    assert found.difference == pytest.approx(-4.0)
    assert found.low is not None
    assert found.high is not None
    assert 70 < found.low < 80 < found.high < 90
    # Every class loses 20 of 100 pixels to the next one: IoU = 80 / (100 + 100 - 80).
    assert cell(table, "SegNet-Basic", "natural, test mIoU").value == pytest.approx(100 * 80 / 120)


def test_both_class_weightings_stand_side_by_side_in_table_1(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("SegNet-Basic", 0.8)
    make_run("SegNet-Basic", 0.6, class_weights="median_frequency")
    (table,) = filled(tmp_path / "runs", "1")
    assert len(table.sections) == 1
    assert cell(table, "SegNet-Basic", "natural, test G").value == pytest.approx(80)
    assert cell(table, "SegNet-Basic", "median, test G").value == pytest.approx(60)
    assert cell(table, "SegNet-Basic", "median, test G").published == 82.7


def test_a_variant_without_a_run_has_its_published_figures_and_says_so(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("SegNet-Basic", 0.8)
    (table,) = filled(tmp_path / "runs", "1")
    found = cell(table, "FCN-Basic", "natural, test G")
    assert (found.value, found.text, found.published) == (None, "no run", 83.9)


@pytest.mark.parametrize("state", ["diverged", "out_of_memory", "interrupted"])
def test_a_run_that_did_not_finish_is_an_empty_cell_with_its_state_and_reason(
    make_run: MakeRun, tmp_path: Path, state: str
) -> None:
    make_run("SegNet-Basic", None, state=state)
    (table,) = filled(tmp_path / "runs", "1")
    assert cell(table, "SegNet-Basic", "natural, test G").text == state.replace("_", " ")
    assert "it did not end well" in text(table)


def test_a_run_without_an_end_or_a_sign_of_life_is_pending(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("SegNet-Basic", None, state=None)
    (table,) = filled(tmp_path / "runs", "1")
    assert cell(table, "SegNet-Basic", "natural, test G").text == "pending"


@pytest.mark.parametrize(("age", "state"), [(5, "running"), (3600, "silent")])
def test_a_run_that_is_alive_is_running_and_one_that_fell_silent_is_not(
    make_run: MakeRun, tmp_path: Path, age: float, state: str
) -> None:
    folder = make_run("SegNet-Basic", None, state=None)
    progress = {"phase": "training", "done": 30, "total": 100, "time": time.time() - age}
    records.write_json(folder / "progress.json", progress)
    (table,) = filled(tmp_path / "runs", "1")
    assert cell(table, "SegNet-Basic", "natural, test G").text == state
    assert "training 30/100" in text(table)


def test_the_iteration_that_validation_selected_is_reported(
    make_run: MakeRun, tmp_path: Path
) -> None:
    shares = {("val", 50): 0.9, ("val", 100): 0.7, ("test", 50): 0.6, ("test", 100): 0.8}
    make_run("SegNet-Basic", shares=shares, validation=VALIDATED)
    (table,) = filled(tmp_path / "runs", "1")
    assert cell(table, "SegNet-Basic", "natural, test G").value == pytest.approx(60)
    assert table.sections[0].rows[0].details["best"] == "50"


def test_table_3_has_a_column_for_each_milestone(make_run: MakeRun, tmp_path: Path) -> None:
    shares = {("test", 40_000): 0.5, ("test", 80_000): 0.6, ("test", 140_000): 0.7}
    make_run("SegNet", shares=shares, max_iterations=140_000)
    (table,) = filled(tmp_path / "runs", "3")
    found = [cell(table, "SegNet", f"{column}, test G") for column in ("40K", "80K", ">80K")]
    assert [c.value for c in found] == pytest.approx([50, 60, 70])
    assert [c.published for c in found] == [88.81, 89.68, 90.40]


def test_table_2_has_class_accuracies_beside_the_classical_methods(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("SegNet", 0.8, classes=["Sky", "Road", "SignSymbol"])
    (table,) = filled(tmp_path / "runs", "2")
    assert [column.name for column in table.columns][:3] == ["Sky", "Sign-Symbol", "Road"]
    assert cell(table, "SegNet", "Sign-Symbol").value == pytest.approx(80)
    assert cell(table, "SegNet", "Sign-Symbol").published == 52.7
    assert cell(table, "Boosting+Detectors+CRF", "Sky", section=1).text == "96.2"
    assert cell(table, "Boosting", "mIoU", section=1).text == "n/a*"


SUN = {
    "dataset": "SUN RGB-D",
    "classes": ["wall", "floor", "cabinet"],
    "batch_size": 4,
    "lr": 0.001,
}


def test_a_row_of_table_4_is_found_by_network_and_weighting(
    make_run: MakeRun, tmp_path: Path
) -> None:
    """SegNet with median frequency balancing stands beside the caption's 71.75 / 44.85 / ..."""
    for name, weighting in [
        ("SegNet", "none"),
        ("SegNet", "median_frequency"),
        ("DeconvNet", "none"),
    ]:
        make_run(name, max_iterations=180_000, class_weights=weighting, **SUN)
    (table,) = filled(tmp_path / "runs", "4")
    assert len(table.sections) == 2
    metrics = ("G", "C", "mIoU", "BF")
    found = {
        section.title.rpartition(" ")[2]: {
            row.label: [
                cell.published
                for column, cell in zip(table.columns, row.cells, strict=True)
                if column.group.startswith(">140K") and column.name in metrics
            ]
            for row in section.rows
        }
        for section in table.sections
    }
    assert found["f-median_frequency"] == {"SegNet": [71.75, 44.85, 32.08, 14.06]}
    assert found["f-none"]["SegNet"] == [72.63, 44.76, 31.84, 12.66]
    assert found["f-none"].keys() == {
        "SegNet", "DeepLab-LargeFOV", "DeepLab-LargeFOV-denseCRF", "FCN (learnt deconv)",
        "DeconvNet",
    }  # fmt: skip
    shown = " ".join(text(table).split())
    assert "published in Table 4's caption, after 180 K iterations" in shown
    assert "(paper none)" not in shown
    assert "trained for 180000 iterations; the paper, 240000" in shown
    assert "the paper, 180000" not in shown


@pytest.mark.parametrize("weighting", ["none", "median_frequency"])
def test_the_captions_row_stands_with_no_run_where_there_is_none(
    make_run: MakeRun, tmp_path: Path, weighting: str
) -> None:
    make_run("DeconvNet", class_weights=weighting, **SUN)
    (table,) = filled(tmp_path / "runs", "4")
    caption = "SegNet (median frequency balancing, caption)"
    found = cell(table, caption, ">140K, test BF")
    assert (found.published, found.text) == (14.06, "no run")
    assert cell(table, caption, "80K, test BF").published is None
    assert cell(table, "SegNet", ">140K, test BF").published == 12.66
    ours = cell(table, "DeconvNet", ">140K, test BF")
    assert ours.published == (10.47 if weighting == "none" else None)
    assert "after 180 K iterations" in " ".join(text(table).split())


@pytest.mark.parametrize(
    ("weighting", "published"),
    [("none", 52.7), ("median_frequency", 52.7), ("segnet_prototxt", None)],
)
def test_table_2_says_what_its_text_and_its_figures_say_of_class_weights(
    make_run: MakeRun, tmp_path: Path, weighting: str, published: float | None
) -> None:
    make_run("SegNet", classes=["Sky", "Road", "SignSymbol"], class_weights=weighting)
    (table,) = filled(tmp_path / "runs", "2")
    assert cell(table, "SegNet", "Sign-Symbol").published == published
    shown = " ".join(text(table).split())
    assert "section 4.1 says that SegNet was trained with median frequency balancing" in shown
    assert f"These runs: class_weights {weighting}." in shown
    assert ("class_weights segnet_prototxt (paper none)" in shown) == (published is None)
    assert "class_weights median_frequency (paper none)" not in shown


def test_a_weighting_that_the_paper_has_not_is_beside_no_published_figure(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("SegNet", class_weights="median_frequency")
    (table,) = filled(tmp_path / "runs", "3")
    assert cell(table, "SegNet", ">80K, test G").published is None
    assert "class_weights median_frequency (paper none)" in " ".join(text(table).split())
    rows = {row.label: row.ours for row in table.sections[0].rows}
    assert rows["FCN"] is False


def test_table_5_takes_the_runs_on_sun(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("SegNet", 0.8, dataset="SUN RGB-D", classes=["wall", "floor", "cabinet"])
    make_run("FCN", 0.8)
    (table,) = filled(tmp_path / "runs", "5")
    assert cell(table, "SegNet", "wall").published == 83.42
    assert [row.label for row in table.sections[0].rows if row.cells[0].value] == ["SegNet"]


def test_a_table_without_any_run_still_has_all_that_was_published(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("SegNet", 0.8)
    (table,) = filled(tmp_path / "runs", "4")
    assert "DeconvNet" in text(table)
    assert "66.13" in text(table)


def test_rows_of_different_fingerprints_are_separated_and_the_difference_is_named(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("SegNet", 0.8)
    make_run("FCN", 0.8, lr=0.001, fingerprint="other")
    (table,) = filled(tmp_path / "runs", "3")
    assert [section.rows[0].label for section in table.sections] == ["FCN", "SegNet"]
    assert table.sections[1].difference == "protocol.lr 0.001 / 0.1"
    assert "Not comparable with the rows above: protocol.lr 0.001 / 0.1." in text(table)


def test_the_same_protocol_on_other_files_is_separated_too(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("SegNet", 0.8, digest="d1")
    make_run("FCN", 0.8, digest="d2")
    (table,) = filled(tmp_path / "runs", "3")
    assert len(table.sections) == 2
    assert "the files of split test" in table.sections[1].difference


def test_deviations_from_the_paper_are_footnoted_without_being_declared(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("SegNet", 0.8, batch_size=3, lr=0.001)
    (table,) = filled(tmp_path / "runs", "3")
    shown = " ".join(text(table).split())
    assert "batch_size 3 (paper 5)" in shown
    assert f"{IMAGES} training images (paper 3433)" in shown
    assert "He initialisation; the paper starts from VGG-16 weights" in shown
    assert "trained for 100 iterations; the paper, 140000" in shown
    assert "lr 0.001" not in shown


def test_a_record_older_than_a_key_has_its_neutral_value(make_run: MakeRun, tmp_path: Path) -> None:
    """It stands beside newer records of the same protocol, and the paper's value is a deviation."""
    make_run("SegNet-Basic")
    make_run("FCN-Basic", batch_norm={"shift_decay_factor": None})
    (table,) = filled(tmp_path / "runs", "1")
    assert len(table.sections) == 1
    assert "batch_norm.shift_decay_factor none (paper 1.0)" in " ".join(text(table).split())
    make_run("FCN-Basic-NoAddition", batch_norm={"shift_decay_factor": 1.0}, fingerprint="other")
    (table,) = filled(tmp_path / "runs", "1")
    differences = {section.difference for section in table.sections}
    assert "protocol.batch_norm.shift_decay_factor 1.0 / None" in " ".join(differences)
    (table,) = filled(tmp_path / "runs", "3")
    assert "batch_norm.shift_decay_factor 1.0 (paper none)" in " ".join(text(table).split())


def bold(table: Table, column: int = -4) -> set[str]:
    return {row.label for row in table.sections[0].rows if row.cells[column].bold}


def make_seeds(make_run: MakeRun, name: str, shares: Sequence[float], **more: Any) -> None:
    for seed, share in enumerate(shares):
        make_run(name, share, seed=seed, **more)


def test_only_a_separated_best_is_alone_in_bold(make_run: MakeRun, tmp_path: Path) -> None:
    """All images agree that A beats B; C is as good as A on average, by other images."""
    make_seeds(make_run, "A", [0.8] * 3)
    make_seeds(make_run, "B", [0.6] * 3)
    (table,) = filled(tmp_path / "runs", "3")
    assert bold(table) == {"A"}
    make_seeds(make_run, "C", [0.8] * 3, spread=10)
    (table,) = filled(tmp_path / "runs", "3")
    assert bold(table) == {"A", "C"}


def test_bold_goes_on_below_the_first_row_that_is_separated(
    make_run: MakeRun, tmp_path: Path
) -> None:
    """C is last, but its images differ so much that it is not separated from the best."""
    make_seeds(make_run, "A", [0.8] * 3)
    make_seeds(make_run, "B", [0.75] * 3)
    make_seeds(make_run, "C", [0.7] * 3, spread=25)
    (table,) = filled(tmp_path / "runs", "3")
    assert bold(table) == {"A", "C"}


@pytest.mark.parametrize("seeds", [1, 2])
def test_nothing_is_bold_below_three_seeds(make_run: MakeRun, tmp_path: Path, seeds: int) -> None:
    """Not even what all images and both seeds agree on."""
    make_seeds(make_run, "A", [0.8] * seeds)
    make_seeds(make_run, "B", [0.6] * seeds)
    (table,) = filled(tmp_path / "runs", "3")
    assert bold(table) == set()
    assert "Fewer than 3 seeds: these weights, no verdict on the networks" in text(table)


def test_a_network_of_few_seeds_is_left_out_of_the_ranking(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_seeds(make_run, "A", [0.8] * 3)
    make_seeds(make_run, "B", [0.7] * 3)
    make_seeds(make_run, "Lucky", [0.9])
    (table,) = filled(tmp_path / "runs", "3")
    assert bold(table) == {"A"}


def test_bold_is_corrected_for_the_pairs_that_are_looked_at(
    make_run: MakeRun, tmp_path: Path
) -> None:
    """A is ahead of B by its interval alone, and not among all pairs of eight networks.

    Residuals of 2 points and seven times two degrees of freedom: +-3.5 and +-5.8 points.
    """
    turns = [np.roll([0.02, -0.02, 0.0], number) for number in range(8)]
    shares = {name: 0.6 + turns[number] for number, name in enumerate("CDEFGH")}
    shares |= {"A": 0.75 + turns[6], "B": 0.705 + turns[7]}
    for name, of_seeds in shares.items():
        make_seeds(make_run, name, of_seeds)
    runs = read_runs(records.run_folders(tmp_path / "runs"))
    sides = {
        name: [(run, run.evaluations[0]) for run in runs if run.name == name] for name in shares
    }
    estimates = context_of(tmp_path / "runs").estimates
    change = estimates.difference(sides["A"], sides["B"], estimates.pool([*sides.values()]))["G"]
    assert change.verdict() == "better"
    assert change.verdict(8) == "not separated"
    (table,) = filled(tmp_path / "runs", "3")
    assert bold(table) == {"A", "B"}


def test_a_network_alone_is_not_in_bold(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("A", 0.8)
    (table,) = filled(tmp_path / "runs", "3")
    assert not any(found.bold for found in table.sections[0].rows[0].cells)


@pytest.mark.parametrize(("seeds", "warned"), [(2, True), (3, False)])
def test_fewer_than_three_seeds_are_a_comparison_of_weights(
    make_run: MakeRun, tmp_path: Path, seeds: int, warned: bool
) -> None:
    for name in ("A", "B"):
        for seed in range(seeds):
            make_run(name, 0.5 + 0.1 * seed, seed=seed)
    (table,) = filled(tmp_path / "runs", "3")
    assert ("Fewer than 3 seeds: these weights" in text(table)) is warned


def test_a_figure_is_the_mean_over_seeds_and_three_seeds_widen_its_interval(
    make_run: MakeRun, tmp_path: Path
) -> None:
    """All images are alike, so that the interval of two seeds is a point, and of three Student's.

    That of three would reach above 100 %.
    """
    shares = (0.6, 0.8, 0.9)
    for seed, share in enumerate(shares[:2]):
        make_run("A", share, seed=seed)
    (table,) = filled(tmp_path / "runs", "3")
    two = table.sections[0].rows[0].cells[-4]
    assert (two.value, two.low, two.high) == pytest.approx((70, 70, 70))
    make_run("A", shares[2], seed=2)
    (table,) = filled(tmp_path / "runs", "3")
    three = table.sections[0].rows[0].cells[-4]
    wanted = ttest_1samp(shares, 0).confidence_interval(0.95)
    assert three.value == pytest.approx(100 * np.mean(shares))
    assert three.low == pytest.approx(100 * wanted.low, abs=1.0)
    assert wanted.high > 1.1
    assert three.high == 100


@pytest.mark.parametrize(("first_seed", "separated"), [(0, True), (3, False)])
def test_networks_with_the_same_seeds_are_compared_seed_by_seed(
    make_run: MakeRun, tmp_path: Path, first_seed: int, separated: bool
) -> None:
    """B is five points behind A with every seed, and a seed moves either by fifteen."""
    for seed, share in enumerate((0.6, 0.75, 0.9)):
        make_run("A", share, seed=seed)
        make_run("B", share - 0.05, seed=first_seed + seed)
    (table,) = filled(tmp_path / "runs", "3")
    bold = {row.label: row.cells[-4].bold for row in table.sections[0].rows}
    assert bold["A"]
    assert bold["B"] is not separated


def test_networks_of_one_name_are_told_apart_by_what_differs(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("SegNet", 0.8, arch={"width": 64})
    make_run("SegNet", 0.7, arch={"width": 4}, seed=1)
    (table,) = filled(tmp_path / "runs", "3")
    labels = [row.label for row in table.sections[0].rows if row.ours]
    assert labels == ["SegNet (width 64)", "SegNet (width 4)"]


def test_a_run_from_the_weights_of_another_is_no_seed_of_the_network(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("SegNet", 0.8)
    started = make_run("SegNet", 0.7, seed=1)
    record = records.read_json(started / "config.json")
    record["config"]["init_from"] = "/elsewhere/camvid-segnet-seed0"
    records.write_json(started / "config.json", record)
    (table,) = filled(tmp_path / "runs", "3")
    labels = [row.label for row in table.sections[0].rows if row.ours]
    assert labels == ["SegNet (init_from None)", "SegNet (init_from camvid-segnet-seed0)"]


def test_every_table_says_device_versions_commit_seeds_iterations_and_conventions(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("SegNet", 0.8, seed=7)
    (table,) = filled(tmp_path / "runs", "3")
    for shown in (" ".join(text(table).split()), markdown(table)):
        for words in ("Test CPU", "torch 2.15", "0123456789+", "7", "100", "paper"):
            assert words in shown
    assert "BF matching: one_to_one" in " ".join(text(table).split())


def test_the_terminal_is_a_hundred_columns_wide(make_run: MakeRun, tmp_path: Path) -> None:
    for name in ("FCN-Basic-NoAddition-NoDimReduction", "SegNet-Basic", "A" * 60):
        make_run(name, 1.0, spread=0)
    make_run("FCN-Basic", None, state="out_of_memory")
    make_run("FCN-Basic", None, state="diverged", seed=1)
    make_run("FCN-Basic", None, state="interrupted", seed=2)
    for number in (*"123456", "further"):
        for table in filled(tmp_path / "runs", number):
            assert max(map(len, text(table).splitlines())) <= 100


def test_the_tables_that_suit_the_runs_are_chosen(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("SegNet-Basic", 0.8)
    make_run("SegNet", 0.8, fingerprint="deep", lr=0.001)
    runs = read_runs(records.run_folders(tmp_path / "runs"))
    context = context_of(tmp_path / "runs")
    assert [t.number for t in fitting_tables(runs, context)] == ["1", "3"]
    whole = [t.slug for t in fitting_tables(runs, context, classes=True)]
    assert whole == ["table1", "table3", "table2", "table-further"]


def test_the_csv_has_one_head_and_numbers_in_columns_of_numbers(
    make_run: MakeRun, make_cost: MakeRun, tmp_path: Path
) -> None:
    make_run("SegNet-Basic", 0.8, max_iterations=140_000)
    make_run("FCN-Basic", None, state="out_of_memory")
    make_cost("SegNet-Basic", [10.0, 12.0], cost={"backward": False})
    tables = filled(tmp_path / "runs", "1")
    assert [table.slug for table in tables] == ["table1", "table1-cost", "table1-cost-details"]
    assert len({table.title for table in tables}) == 3
    frame = pd.read_csv(io.StringIO(csv(tables)))
    assert {table.slug for table in tables} == set(frame["table"])
    for column in ("value", "low", "high", "published", "difference"):
        assert frame[column].dtype == np.float64
    assert frame["bold"].dtype == bool
    (found,) = frame.query(
        "network == 'SegNet-Basic' and group == 'natural, test' and column == 'G'"
    ).to_dict("records")
    assert (found["value"], found["published"], found["difference"]) == (80.0, 84.0, -4.0)
    lost = frame.query("network == 'FCN-Basic' and group == 'natural, test' and column == 'G'")
    assert lost["text"].item() == "out of memory"
    assert np.isnan(lost["value"].item())


def test_the_seeds_of_a_row_are_those_behind_its_figures(make_run: MakeRun, tmp_path: Path) -> None:
    """Seed 2 has not got there, and seed 3 is of the other weighting."""
    make_run("SegNet-Basic", 0.8, seed=0)
    make_run("SegNet-Basic", 0.7, seed=1)
    make_run("SegNet-Basic", None, seed=2, state="interrupted")
    (table,) = filled(tmp_path / "runs", "1")
    assert table.sections[0].rows[0].details["seeds"] == "0, 1"
    make_run("SegNet-Basic", 0.7, seed=3, class_weights="median_frequency")
    (table,) = filled(tmp_path / "runs", "1")
    assert table.sections[0].rows[0].details["seeds"] == "median, test: 3; natural, test: 0, 1"


@pytest.mark.parametrize(
    ("device", "size", "comparable"),
    [
        ("NVIDIA GeForce GTX TITAN", [360, 480], True),
        ("NVIDIA GeForce GTX TITAN", [90, 120], False),
        ("Some CPU", [360, 480], False),
    ],
)
def test_times_differ_from_the_papers_only_on_its_device_and_size(
    make_run: MakeRun, make_cost: MakeRun, tmp_path: Path,
    device: str, size: list[int], comparable: bool,
) -> None:  # fmt: skip
    """Parameters are the same everywhere, and are always compared."""
    make_run("SegNet-Basic", 0.8, image_size=size)
    environment = {"device": device}
    more = {"environment": environment, "image_size": size, "cost": {"backward": False}}
    make_cost("SegNet-Basic", [53.0], **more)
    scores, costs, _ = filled(tmp_path / "runs", "1")
    for table in (scores, costs):
        time = cell(table, "SegNet-Basic", "Infer time (ms)")
        assert (time.value, time.published) == (53.0, 52.6)
        assert (time.difference is not None) is comparable
        assert cell(table, "SegNet-Basic", "Params (M)").difference == pytest.approx(0.0)


def test_the_evidence_is_opened_once(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("SegNet", 0.8)
    (first,) = filled(tmp_path / "runs", "3")

    def refuse(*_: object) -> None:
        raise AssertionError("the evidence was opened again")

    monkeypatch.setattr("reports.compute.resamples.read_evidence", refuse)
    (second,) = filled(tmp_path / "runs", "3")
    assert text(second) == text(first)


def with_code(folder: Path, **code: str) -> None:
    environment = records.read_json(folder / "environment.json")
    records.write_json(folder / "environment.json", environment | {"code": code})


def test_two_networks_of_one_name_are_never_one_mean(make_run: MakeRun, tmp_path: Path) -> None:
    """Editing a network's code between seeds makes another network of it."""
    with_code(make_run("SegNet", 0.8, seed=0), network="aaa", bench="b")
    with_code(make_run("SegNet", 0.6, seed=1), network="ccc", bench="b")
    table = filled(tmp_path / "runs", "3")[0]
    labels = [row.label for row in table.sections[0].rows if row.ours]
    assert labels == ["SegNet (code aaa)", "SegNet (code ccc)"]


def test_crops_and_images_of_their_own_size_are_said_and_deviate(
    make_run: MakeRun, tmp_path: Path
) -> None:
    folder = make_run("SegNet", 0.8)
    content = records.read_json(folder / "config.json")
    content["config"]["protocol"] |= {"image_size": None, "augmentation": {"crop": [512, 640]}}
    records.write_json(folder / "config.json", content)
    shown = " ".join(text(filled(tmp_path / "runs", "3")[0]).split())
    assert "trained on crops of 512x640 from images of their own size" in shown
    assert "augmentation.crop 512x640 (paper none)" in shown
    assert "image_size none (paper 360x480)" in shown


def test_what_rows_do_not_share_stands_below_them(make_run: MakeRun, tmp_path: Path) -> None:
    first = make_run("SegNet", 0.8, max_iterations=40)
    with_code(first, network="a", bench="b")
    second = make_run("FCN", 0.7, max_iterations=4)
    with_code(second, network="a", bench="c")
    for folder in (first, second):
        content = records.read_json(folder / "config.json")
        content["config"]["dataset"]["limit"] = 40
        records.write_json(folder / "config.json", content)
    network = records.read_json(first / "network.json")
    records.write_json(first / "network.json", network | {"trainable_parameters": 25_000})
    shown = text(filled(tmp_path / "runs", "3")[0])
    shown = " ".join(shown.split())
    assert "dataset.limit=40: only the first 40 images of each split" in shown
    unequal = "Not trained equally long, so that their last figures are not ranked; iterations: "
    assert f"{unequal}40: SegNet; 4: FCN." in shown
    assert "Not computed by the same numeric code of bench" in shown
    assert "0.025 M of 1.425 M parameters are trainable" in shown
    assert "Deviations from the paper: " in shown
    assert "dataset.limit 40 (paper all images)" in shown


@pytest.mark.parametrize("lengths", [(40, 40), (40, 4)])
def test_there_is_no_bold_across_unequal_iterations(
    make_run: MakeRun, tmp_path: Path, lengths: tuple[int, int]
) -> None:
    """Ten points apart with every seed: the better one is bold where both trained equally long."""
    for (name, share), length in zip((("SegNet", 0.8), ("FCN", 0.7)), lengths, strict=True):
        for seed in range(3):
            make_run(name, share, seed=seed, max_iterations=length)
    table = filled(tmp_path / "runs", "3")[0]
    rows = {row.label: row for row in table.sections[0].rows if row.ours}
    bold = {name: any(cell.bold for cell in row.cells) for name, row in rows.items()}
    assert bold == {"SegNet": lengths == (40, 40), "FCN": False}
    assert {rows["FCN"].details["iterations"]} == {str(lengths[1])}


def test_seeds_that_were_not_trained_equally_long_are_never_one_mean(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("SegNet", 0.8, seed=0, max_iterations=40)
    for seed in (1, 2):
        make_run("SegNet", 0.6, seed=seed, max_iterations=4)
    table = filled(tmp_path / "runs", "3")[0]
    rows = {row.label: row for row in table.sections[0].rows if row.ours}
    seeds = {label: row.details["seeds"] for label, row in rows.items()}
    assert seeds == {"SegNet (max_iterations 40)": "0", "SegNet (max_iterations 4)": "1, 2"}
    assert not any(cell.bold for row in rows.values() for cell in row.cells)
    assert "Not trained equally long" in " ".join(table.sections[0].notes)


def test_starts_from_two_iterations_of_one_run_are_never_one_mean(
    make_run: MakeRun, tmp_path: Path
) -> None:
    for seed, iteration in ((0, 10), (1, 20)):
        folder = make_run("SegNet", 0.8, seed=seed)
        content = records.read_json(folder / "config.json")
        content["config"] |= {"init_from": "/runs/first", "init_iteration": iteration}
        records.write_json(folder / "config.json", content)
    rows = filled(tmp_path / "runs", "3")[0].sections[0].rows
    labels = [row.label for row in rows if row.ours]
    assert labels == ["SegNet (init_iteration 10)", "SegNet (init_iteration 20)"]
