"""Tuned networks in reports: a section of their own, the values chosen, and what was tried."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from handmade import evidence
from tiny_run import TINY

from bench import records
from bench.command_line import compose_config
from bench.config import Config, run_folder, write_config
from bench.losses import append_losses
from bench.records import End, State
from bench.tuning.schema import Criterion
from reports.compute.claims import claim_lines
from reports.compute.groups import contestants, groups
from reports.compute.tuned import NOTHING_TUNED, trials_by_network, tuning_lines
from reports.figures.of_report import drawings
from reports.figures.tuning import sensitivity
from reports.merge import merge
from reports.read.runs import Run, read_runs
from reports.read.tuning import trial_folders, trials_of
from reports.render.page import write_report
from reports.render.text import text
from reports.status import status
from reports.tables.choice import context_of, score_tables
from reports.verify import verify

Compose = Callable[..., Config]
RATES = (0.001, 0.01, 0.1, 1.0)
# The share of pixels that each trial of a network gets right; None: it diverged.
SHARES = {"segnet_basic": (0.3, 0.5, 0.7, None), "fcn_basic": (0.8, 0.6, 0.4, 0.2)}
FOUR = ["tuning=lr", "tuning.trials=4"]


def write(config: Config, share: float | None) -> Path:
    """Writes a run, or a trial, that gets a share of each reported split right."""
    folder = run_folder(config)
    folder.mkdir(parents=True)
    write_config(folder, config)
    append_losses(folder, 1, [3.0, 2.0, 1.0, 0.9, 0.8, 0.7], 2.0)
    if share is None:
        records.write_end(folder, End(State.diverged, "the loss became nan"))
        return folder
    for split in config.protocol.evaluation_splits:
        summary = {"split": split, "iteration": 6, "images": 24}
        records.write_evaluation(folder, summary, evidence(share, 11, 24))
    records.write_end(folder, End(State.finished, iteration=6, max_iterations=6))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks, untuned and tuned, three seeds each, with their trials."""
    runs = tmp_path_factory.mktemp("made") / "runs"
    for arch, shares in SHARES.items():
        network = [*TINY, f"runs={runs}", f"arch={arch}"]
        for number, share in enumerate(shares):
            write(compose_config([*network, *FOUR, f"tuning.trial={number}"]), share)
        untuned, chosen = compose_config(network), compose_config([*network, *FOUR])
        for seed in range(3):
            write(replace(untuned, seed=seed), 0.5 + seed / 100)
            write(replace(chosen, seed=seed), 0.6 + seed / 100)
    return runs


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of them where `tiny_config` has its runs."""
    return Path(shutil.copytree(made, tmp_path / "runs"))


def read(root: Path) -> list[Run]:
    return read_runs(records.run_folders(root))


def tuned(root: Path) -> list[Run]:
    (found,) = (group for group in groups(read(root)) if group[0].config["tuning"])
    return found


def test_a_section_for_each_term_with_values_and_a_mark_at_the_edge(root: Path) -> None:
    (table,) = score_tables(read(root), context_of(root))
    sections = {section.terms: section for section in table.sections if section.dataset}
    assert list(sections) == ["one rate for all", "tuned, 4 trials each"]
    for terms, section in sections.items():
        assert section.title.endswith(terms)
    rows = {row.label: row for row in sections["tuned, 4 trials each"].rows if row.ours}
    assert {name: row.details["lr"] for name, row in rows.items()} == {
        "SegNet-Basic": "0.1",
        "FCN-Basic": "0.001",
    }
    assert rows["SegNet-Basic"].marks == []
    edge = "lr 0.001 is the smallest of those tried; better ones may lie beyond"
    assert rows["FCN-Basic"].marks == [edge]
    assert {row.details["seeds"] for row in rows.values()} == {"0, 1, 2"}
    assert all("lr" not in row.details for row in sections["one rate for all"].rows)
    content = text(table)
    difference = (
        "protocol.lr 0.1 / tuned; tuning none / lr from 0.001 to 1 (log), 4 trials, best mIoU"
    )
    assert difference in " ".join(content.split())
    assert "Tuned, every network by the same trials: lr from 0.001 to 1 (log), 4 trials" in content


def test_without_a_tuned_run_nothing_is_said_of_it(root: Path) -> None:
    untuned = [run for run in read(root) if not run.config["tuning"]]
    (table,) = score_tables(untuned, context_of(root))
    assert "tun" not in text(table).lower()
    with pytest.raises(ValueError, match=f"--tuned: {NOTHING_TUNED[:20]}"):
        claim_lines(untuned, context_of(root), tuned=True)


def test_the_papers_claims_are_asked_of_the_tuned_section(root: Path) -> None:
    both = claim_lines(read(root), context_of(root))
    alone = claim_lines(read(root), context_of(root), tuned=True)
    heads = [line for line in both if line.startswith("Synthetic, protocol demo")]
    assert heads == [
        "Synthetic, protocol demo, one rate for all",
        "Synthetic, protocol demo, tuned, 4 trials each",
    ]
    assert alone[0] == "Synthetic, protocol demo, tuned, 4 trials each"
    assert not any("one rate" in line for line in alone)


def test_all_trials_are_listed_and_another_criterion_chooses_once_more(
    root: Path, tiny_config: Compose
) -> None:
    """A trial that finds rare classes everywhere is C's choice, and not that of mIoU."""
    lines = tuning_lines(read(root))
    assert lines[0].startswith("Synthetic, protocol demo, tuned, 4 trials each, fingerprint ")
    assert lines[1] == "lr from 0.001 to 1 (log), 4 trials, best mIoU on val; * chosen"
    body = "\n".join(lines)
    for label in ("lr=0.001", "lr=0.01", "lr=0.1", "lr=1"):
        assert label in body
    (segnet,) = (line for line in body.splitlines() if line.startswith("SegNet-Basic"))
    assert segnet.split()[-2].endswith("*")
    assert segnet.split()[-1] == "diverged"
    trial = run_folder(tiny_config(*FOUR, "tuning.trial=0"))
    arrays = evidence(0.3, 11, 24)
    matrix = np.zeros_like(arrays["confusion"])
    matrix[:, 0, 0], matrix[:, 0, 1:11] = 5000, 500
    for index in range(1, 11):
        matrix[:, index, index] = 10
    summary = {"split": "val", "iteration": 6, "images": 24}
    records.write_evaluation(trial, summary, {**arrays, "confusion": matrix})
    body = "\n".join(tuning_lines(read(root), Criterion.C))
    (segnet,) = (line for line in body.splitlines() if line.startswith("SegNet-Basic"))
    assert segnet.split()[1].endswith("+")
    assert segnet.split()[3].endswith("*")


def test_the_figure_has_every_trial_and_a_ring_around_the_chosen_one(root: Path) -> None:
    found = trials_by_network(tuned(root))
    figure = sensitivity(found)
    assert figure is not None
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_xlabel(), axes.get_ylabel()) == (
        "log", "lr", "mIoU, val (%)",
    )  # fmt: skip
    lines = [tuple(map(float, line.get_xdata())) for line in axes.lines]
    fcn, ring, crosses, segnet, other_ring, other_crosses = (
        lines if len(lines[0]) == 4 else [*lines[3:], *lines[:3]]
    )
    assert (fcn, ring, crosses) == (RATES, (0.001,), ())
    assert (segnet, other_ring, other_crosses) == (RATES[:3], (0.1,), (1.0,))
    assert sensitivity({}) is None


def test_the_page_shows_the_figure_and_both_sections(root: Path, tmp_path: Path) -> None:
    page = write_report(read(root), context_of(root), tmp_path / "out").read_text()
    assert "one rate for all" in page
    assert "Validation score of every trial over the values tried; rings: chosen." in page
    names = [drawing.name for drawing in drawings(read(root), context_of(root))]
    assert sum(name.startswith("tuning-") for name in names) == 1


def test_a_choice_that_the_trials_do_not_bear_out_is_a_problem(
    root: Path, tiny_config: Compose
) -> None:
    lines, sound = verify(root)
    assert sound, lines
    assert f"{12 + 8} runs" in lines[0]
    config = tiny_config(*FOUR)
    forged = replace(config, protocol=replace(config.protocol, lr=1.0))
    write_config(run_folder(config), forged)
    lines, sound = verify(root)
    assert not sound
    assert any("but its trials choose {'lr': 0.1}; a record was changed" in line for line in lines)


def test_records_without_their_trials_still_make_tables(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "trials").rename(root.parent / "elsewhere")
    (table,) = score_tables(read(root), context_of(root))
    assert {section.terms for section in table.sections if section.dataset} == {
        "one rate for all", "tuned, 4 trials each",
    }  # fmt: skip
    assert trials_by_network(tuned(root)) == {}
    assert "passed over the trials of SegNet-Basic" in capsys.readouterr().err
    assert verify(root)[1]


def test_two_choices_for_one_network_are_not_averaged(root: Path, tiny_config: Compose) -> None:
    config = tiny_config(*FOUR, "seed=0")
    write(replace(config, protocol=replace(config.protocol, lr=1.0)), 0.2)
    labels = [one.label for one in contestants(tuned(root))]
    assert sorted(labels) == ["FCN-Basic", "SegNet-Basic (lr 0.1)", "SegNet-Basic (lr 1.0)"]


def test_the_status_names_a_trial_by_its_values(root: Path) -> None:
    content = status([*read(root), *read_runs(trial_folders(root))])
    assert "SegNet-Basic, lr=1 " in content
    assert "20 runs: 19 finished, 1 diverged" in content


def test_a_tuning_block_of_another_version_is_passed_over(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tuned(root)[0].folder
    content = records.read_json(folder / "config.json")
    content["config"]["tuning"]["rule"] = "guess"
    records.write_json(folder / "config.json", content)
    assert len(read(root)) == 11
    assert "tuning.rule is 'guess'; it must be one of grid, halton" in capsys.readouterr().err


def test_trials_are_read_at_the_stop_they_came_to(tiny_config: Compose) -> None:
    halved = ["tuning.halving=[2]"]
    made = [tiny_config(*FOUR, *halved, f"tuning.trial={n}") for n in range(4)]
    for config, share in zip(made, (0.3, 0.5, 0.7, 0.2), strict=True):
        folder = run_folder(config)
        folder.mkdir(parents=True)
        write_config(folder, config)
        ends = (2, 6) if share >= 0.5 else (2,)
        for iteration in ends:
            summary = {"split": "val", "iteration": iteration, "images": 24}
            records.write_evaluation(folder, summary, evidence(share, 11, 24))
        records.write_end(folder, End(State.finished, iteration=ends[-1], max_iterations=ends[-1]))
    found = trials_of(write(tiny_config(*FOUR, *halved), 0.6))
    assert [trial.last for trial in found.tried] == [2, 6, 6, 2]
    assert found.chosen == 2


def test_a_tuned_run_is_merged_with_its_trials_or_not_at_all(root: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for run in tuned(root):
        place = (theirs if run.seed else ours) / run.folder.name
        shutil.copytree(run.folder, place)
        splits = {"test": {"images": 24, "digest": "d1"}}
        records.write_json(place / "data.json", {"splits": splits})
    lines, complete = merge(ours, theirs, "Lab B")
    assert not complete
    assert "merge it with its trials" in lines[0]
    shutil.copytree(root / "trials", theirs / "trials")
    lines, complete = merge(ours, theirs, "Lab B")
    assert complete, lines
    assert sum("with 4 trials" in line for line in lines) == 2  # of six runs: seeds share them
    assert verify(ours)[1]
    assert trial_folders(ours)
    assert {*trials_by_network(tuned(ours))} == {"SegNet-Basic", "FCN-Basic"}


def test_a_run_whose_values_our_trials_do_not_choose_is_not_merged(
    root: Path, tmp_path: Path, tiny_config: Compose
) -> None:
    ours, theirs = root, tmp_path / "theirs"
    for run in tuned(ours):
        splits = {"test": {"images": 24, "digest": "d1"}}
        records.write_json(run.folder / "data.json", {"splits": splits})
    shutil.copytree(ours, theirs)
    shutil.rmtree(next(r.folder for r in tuned(ours) if (r.name, r.seed) == ("SegNet-Basic", 2)))
    trial = run_folder(tiny_config(*FOUR, "tuning.trial=0"))
    summary = {"split": "val", "iteration": 6, "images": 24}
    records.write_evaluation(trial, summary, evidence(0.99, 11, 24))
    (line,) = (m for m in merge(ours, theirs, "Lab B")[0] if "segnet" in m and "its trials" in m)
    assert line.startswith("REFUSED ")
    assert "by the trials of these names that are here" in line
    assert "but its trials choose {'lr': 0.001}" in line
