"""Networks on several data sets: ranks and tiers from the pairs that are separated."""

from collections.abc import Callable
from pathlib import Path

from bench import records
from reports.read.runs import read_runs
from reports.render.text import heading, text
from reports.tables.choice import context_of, fitting_tables
from reports.tables.of_ranks import rank_tables, tiers_of

pytest_plugins = ["run_fixtures"]

Make = Callable[..., Path]


def test_a_tier_takes_all_that_are_not_separated_from_its_best() -> None:
    """B is not separated from A or from C; C is from A."""
    assert tiers_of(["A", "B", "C"], {("A", "C")}) == {"A": 1, "B": 1, "C": 2}
    assert tiers_of(["A", "B", "C"], set()) == {"A": 1, "B": 1, "C": 1}


def test_ranks_are_all_that_separated_pairs_leave(make_run: Make, tmp_path: Path) -> None:
    """On Streets A and B differ by less than their seeds do; C is far behind. On Fields, less."""
    shares = {"Streets": {"A": 0.8, "B": 0.795, "C": 0.5}, "Fields": {"A": 0.8, "B": 0.6}}
    for dataset, of_networks in shares.items():
        for number, (name, share) in enumerate(of_networks.items()):
            for seed in range(3):
                noise = (0.01, -0.01, 0.0)[(seed + number) % 3]
                make_run(
                    name, share + noise, seed=seed, dataset=dataset, fingerprint=dataset,
                    digest=dataset, runs=tmp_path / "runs" / dataset,
                )  # fmt: skip
    folders = [f for name in shares for f in records.run_folders(tmp_path / "runs" / name)]
    runs = read_runs(folders)
    (table,) = rank_tables(runs, context_of(tmp_path / "runs").estimates)
    shown = {row.label: [cell.text or round(cell.value or 0) for cell in row.cells]
             for row in table.sections[0].rows}  # fmt: skip
    assert [column.group for column in table.columns[::3]] == ["Streets, table1", "Fields, table1"]
    assert [shown[name][1:3] for name in "ABC"] == [["1 to 2", "1"], ["1 to 2", "1"], ["3", "2"]]
    assert [shown[name][4:] for name in "AB"] == [["1", "1"], ["2", "2"]]
    assert shown["C"][3:] == ["no run"] * 3
    assert heading(table) == "mIoU and its ranks on several data sets"
    tables = fitting_tables(runs, context_of(tmp_path / "runs"))
    assert "table-ranks" in [found.slug for found in tables]
    assert max(map(len, text(table).splitlines())) <= 100


def test_one_data_set_has_no_table_of_ranks(make_run: Make, tmp_path: Path) -> None:
    for name in "AB":
        make_run(name, 0.8)
    runs = read_runs(records.run_folders(tmp_path / "runs"))
    assert rank_tables(runs, context_of(tmp_path / "runs").estimates) == []


def test_networks_that_were_not_trained_equally_long_have_no_rank(
    make_run: Make, tmp_path: Path
) -> None:
    """On Fields alone, A was trained for longer: no rank, tier or bold there."""
    for dataset, iterations in (("Streets", 100), ("Fields", 200)):
        for seed in range(3):
            where = {"dataset": dataset, "fingerprint": dataset, "digest": dataset}
            place = tmp_path / "runs" / dataset
            make_run("A", 0.8, seed=seed, max_iterations=iterations, runs=place, **where)
            make_run("B", 0.6, seed=seed, runs=place, **where)
    places = (tmp_path / "runs" / name for name in ("Streets", "Fields"))
    folders = [folder for place in places for folder in records.run_folders(place)]
    (table,) = rank_tables(read_runs(folders), context_of(tmp_path / "runs").estimates)
    best, _ = table.sections[0].rows
    words = ["not trained equally long"] * 2
    assert [cell.text for cell in best.cells] == ["", "1", "1", "", *words]
    assert [best.cells[0].bold, best.cells[3].bold] == [True, False]
