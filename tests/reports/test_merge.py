"""`python -m reports merge`: what is taken over from elsewhere, what is refused, what is said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import configuration, evidence, whole_configuration, write_picture, write_run
from test_deployed import write_deployed

from bench import records
from bench.config import Config, fingerprint
from bench.typed import typed
from reports.__main__ import COMMANDS
from reports.merge import merge
from reports.options import parser
from reports.read.deployed import deployed_of
from reports.read.runs import read_runs
from reports.tables.choice import context_of, numbered_table
from reports.verify import verify_run

Make = Callable[..., Path]


def write(
    runs: Path, seed: int, *, state: str | None = "finished", digest: str = "d1", **protocol: Any
) -> Path:
    """A run whose fingerprint is that of its configuration, and which has all its losses."""
    config = whole_configuration(seed)
    config["protocol"].update(protocol)
    mark = fingerprint(typed(Config, config))
    shares = {("test", 4): 0.8}
    return write_run(runs, config, shares, fingerprint=mark, state=state, digest=digest)


@pytest.fixture
def labs(tmp_path: Path) -> tuple[Path, Path]:
    """Our folder with seed 0, and the one of another laboratory, which is empty."""
    write(tmp_path / "ours", 0)
    (tmp_path / "theirs").mkdir()
    return tmp_path / "ours", tmp_path / "theirs"


def said(labs: tuple[Path, Path]) -> tuple[str, bool]:
    lines, complete = merge(*labs, "Lab B")
    return "\n".join(lines), complete


def test_a_comparable_run_is_copied_with_its_evidence_and_named_below_the_table(
    labs: tuple[Path, Path],
) -> None:
    ours, theirs = labs
    folder = write(theirs, 1)
    write_picture(folder / "predictions" / "elsewhere" / "a0000.png")
    (folder / "readme").write_text("no record")
    text, complete = said(labs)
    assert complete
    assert f"merged {folder.name}: SegNet-Basic, seed 1, from Lab B" in text
    assert "does not prove who ran what" in text
    copied = {p.relative_to(ours / folder.name) for p in (ours / folder.name).rglob("*.*")}
    there = {p.relative_to(folder) for p in folder.rglob("*.*")}
    assert copied == there | {Path("origin.json")}
    assert not list(ours.glob(".merging-*"))
    runs = read_runs(records.run_folders(ours))
    assert [run.seed for run in runs] == [0, 1]
    (table, *_) = numbered_table("1", runs, context_of(ours))
    (note,) = [note for note in table.sections[0].notes if "Lab B" in note]
    assert note == "Merged from Lab B, sound but not proved to be theirs: SegNet-Basic seed 1."


def test_what_was_exported_is_told_and_its_files_stay(labs: tuple[Path, Path]) -> None:
    folder = write(labs[1], 1)
    write_deployed(folder, "onnxruntime", "int8", 0.78, [2.0], iteration=4)
    summary = {"split": "test", "iteration": 4, "images": 120, "variant": "onnxruntime-int8"}
    records.write_evaluation(folder, summary | {"deployed": True}, evidence(0.78))
    assert said(labs)[1]
    copied = labs[0] / folder.name
    assert not list(copied.rglob("*.onnx"))
    assert verify_run(copied).problems == []
    (run,) = read_runs([copied])
    assert [one.title for one in deployed_of(run)] == ["onnxruntime int8"]


def test_merging_again_changes_nothing(labs: tuple[Path, Path]) -> None:
    folder = write(labs[1], 1)
    said(labs)
    text, complete = said(labs)
    assert complete
    assert f"there already: {folder.name}" in text


def damaged(runs: Path) -> None:
    folder = write(runs, 1)
    arrays = {"names": np.array(["a"]), "confusion": np.zeros((1, 4, 4), np.int32)}
    np.savez(folder / "evaluations" / "test-0000004.npz", **arrays)


def forged(runs: Path) -> None:
    folder = write(runs, 1)
    content = records.read_json(folder / "config.json")
    content["config"]["protocol"]["lr"] = 7.0
    records.write_json(folder / "config.json", content)


def nameless(runs: Path) -> None:
    folder = write(runs, 1)
    (folder / "data.json").unlink()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (damaged, "not the file that its record names"),
        (forged, "it was edited, or is of another version"),
        (lambda runs: write(runs, 1, lr=0.5), "differs in protocol.lr 0.1 / 0.5"),
        (lambda runs: write(runs, 1, digest="d2"), "have the digest d2, those of"),
        (lambda runs: write(runs, 0, digest="d1", state="failed"), "a seed counts once"),
        (lambda runs: write(runs, 1, state=None), "it has not ended"),
        (nameless, "data.json does not say which images it read"),
    ],
)
def test_what_may_not_stand_beside_ours_is_refused_in_a_sentence(
    labs: tuple[Path, Path], make: Callable[[Path], Any], words: str
) -> None:
    make(labs[1])
    if "once" in words:  # the same record would be there already
        (folder,) = labs[1].iterdir()
        (folder / "evaluations" / "test-0000004.json").unlink()
    text, complete = said(labs)
    assert not complete
    assert text.startswith("REFUSED ")
    assert words in text
    assert len(list(labs[0].iterdir())) == 1


def test_a_link_to_a_private_file_is_not_copied(labs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = write(labs[1], 1)
    (tmp_path / "private").write_text("secret")
    (folder / "log.txt").symlink_to(tmp_path / "private")
    assert said(labs)[1]
    assert not (labs[0] / folder.name / "log.txt").exists()


def test_other_code_is_said(labs: tuple[Path, Path]) -> None:
    folder = write(labs[1], 1)
    content = records.read_json(folder / "environment.json")
    records.write_json(folder / "environment.json", content | {"code": {"bench": "other"}})
    assert "computed by other code" in said(labs)[0]


def test_a_folder_of_nothing_or_itself_is_refused(labs: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="theirs: holds no run"):
        said(labs)
    with pytest.raises(ValueError, match="the folder to merge into"):
        merge(labs[0], labs[0], "Lab B")
    with pytest.raises(ValueError, match="a printable name"):
        merge(*labs, "")


def test_the_command_takes_two_folders_and_a_name() -> None:
    words = ["merge", "runs", "theirs", "--source", "Lab B"]
    options = parser(None, COMMANDS, []).parse_args(words)
    assert (options.others, options.source) == (Path("theirs"), "Lab B")


def test_configurations_by_hand_are_no_records_to_merge(labs: tuple[Path, Path]) -> None:
    """Their fingerprint is not that of their keys."""
    write_run(labs[1], configuration(seed=3), {("test", 100): 0.8})
    assert "REFUSED" in said(labs)[0]
