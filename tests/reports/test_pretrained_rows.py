"""Rows from scratch and pretrained ones stand in sections of their own, unless asked."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from test_deployed import write_deployed

import reports
from bench import records
from reports.choose import Limits, choices
from reports.compute.claims import claim_lines
from reports.compute.groups import groups, pretraining
from reports.read.runs import read_runs
from reports.render.page import write_report
from reports.tables.choice import context_of, fitting_tables, numbered_table
from reports.tables.model import Table

pytest_plugins = ["run_fixtures"]

MakeRun = Callable[..., Path]
IMAGENET = {
    "data": "ImageNet-1k", "labels": "1000 classes", "source": "timm", "normalisation": "imagenet",
}  # fmt: skip
WORDS = "ImageNet-1k (1000 classes; timm)"


def tables(root: Path, *, mixed: bool = False) -> Sequence[Table]:
    return numbered_table("3", read_runs(records.run_folders(root)), context_of(root, mixed=mixed))


def ours(table: Table) -> list[list[str]]:
    return [[row.label for row in s.rows if row.ours] for s in table.sections]


def amended(folder: Path, file: str, **more: Any) -> None:
    record = records.read_json(folder / file)
    records.write_json(folder / file, record | more)


@pytest.fixture
def two(make_run: MakeRun, tmp_path: Path) -> Path:
    """One network from scratch and another one from ImageNet, under one fingerprint."""
    make_run("SegNet", 0.8)
    folder = make_run("FCN", 0.9, arch={"pretraining": IMAGENET})
    loaded = {"encoder.0.weight": "file.pth: features.0.weight"}
    amended(folder, "network.json", loaded_weights=loaded, weights_digest="0123456789abcdef")
    return tmp_path / "runs"


def test_a_pretrained_row_has_a_section_of_its_own_that_says_so(two: Path) -> None:
    (table,) = tables(two)
    first, second = table.sections[:2]
    assert sorted(ours(table)[:2]) == [["FCN"], ["SegNet"]]
    pretrained, scratch = (first, second) if ours(table)[0] == ["FCN"] else (second, first)
    assert pretrained.title.endswith(f", pretrained on {WORDS}")
    assert "pretrained" not in scratch.title
    assert second.difference in {f"pretraining none / {WORDS}", f"pretraining {WORDS} / none"}
    assert any(f"FCN loaded, {WORDS}: digest 0123456789ab" in n for n in pretrained.background)


def test_no_two_headings_are_the_same(two: Path) -> None:
    """Of sections, the first screen, figures, claims and choices."""
    runs, context = read_runs(records.run_folders(two)), context_of(two)
    for folder in records.run_folders(two):
        write_deployed(folder, "PyTorch", "fp32", None, [10.0])
    own = [s for t in fitting_tables(runs, context) for s in t.sections if s.dataset]
    deployed = [s.title for s in own if "batch 1" in s.title]
    page = write_report(runs, context, two / "page").read_text()
    captions = re.findall(r"<caption>(.*?)\. In percent", page)
    headings = re.findall(r"<h3>(CamVid, protocol .*?)</h3>", page)
    headings = [heading for heading in headings if "fingerprint" not in heading]
    claims = [line for line in claim_lines(runs, context) if line.startswith("CamVid")]
    chosen = [line for line in choices(runs, context, Limits()) if line.startswith("CamVid")]
    for number, found in ((2, deployed), (4, chosen), (2, claims), (2, headings), (2, captions)):
        assert len({*found}) == len(found) == number, found
        assert sum(WORDS in line for line in found) == number / 2


def test_asked_for_they_stand_side_by_side_and_that_is_said(two: Path) -> None:
    (table,) = tables(two, mixed=True)
    assert sorted(ours(table)[0]) == ["FCN", "SegNet"]
    assert any("Not pretrained alike, as asked for" in note for note in table.sections[0].notes)


def test_weights_that_nobody_declared_are_not_from_scratch(
    make_run: MakeRun, tmp_path: Path
) -> None:
    """As in records of older versions."""
    folder = make_run("SegNet", 0.8)
    amended(folder, "network.json", loaded_weights={"encoder.0.weight": "features.0.weight"})
    make_run("FCN", 0.7)
    runs = read_runs(records.run_folders(tmp_path / "runs"))
    assert sorted(map(pretraining, runs)) == ["none", "undeclared data"]
    assert len(groups(runs)) == 2


def test_the_long_table_says_it_too(two: Path) -> None:
    found = reports.frame(two)
    assert dict(zip(found["network"], found["pretraining"], strict=True)) == {
        "SegNet": "none",
        "FCN": WORDS,
    }


def test_other_weights_are_no_seed_of_a_network(make_run: MakeRun, tmp_path: Path) -> None:
    for seed, digest in enumerate(("aa", "bb")):
        folder = make_run("SegNet", 0.8, seed=seed, arch={"pretraining": IMAGENET})
        amended(folder, "network.json", weights_digest=digest)
    (table,) = tables(tmp_path / "runs")
    assert ours(table)[0] == ["SegNet (weights aa)", "SegNet (weights bb)"]


def test_lengths_are_sections_where_the_schedule_depends_on_them(
    make_run: MakeRun, tmp_path: Path
) -> None:
    """Also in Table 1, whose sections are not of one fingerprint."""
    for name, last in (("SegNet-Basic", 4), ("FCN-Basic", 8)):
        folder = make_run(name, 0.8)
        config = records.read_json(folder / "config.json")["config"]
        config["protocol"]["schedule"], config["max_iterations"] = "poly", last
        amended(folder, "config.json", config=config)
    runs = read_runs(records.run_folders(tmp_path / "runs"))
    assert len(groups(runs, ("protocol.class_weights",))) == 2
    (table, *_) = numbered_table("1", runs, context_of(tmp_path / "runs"))
    assert "max_iterations" in (table.sections[1].difference or "")
