"""Records: whole or not at all, readable without torch."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bench import records
from bench.evidence import read_evidence
from bench.losses import append_losses, cut_losses, read_losses


def test_records_and_reports_are_read_without_torch() -> None:
    code = (
        "import sys, bench.records, bench.metrics.regions, bench.metrics.boundaries, "
        "bench.launch.launch, reports.__main__; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    records.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.write_json(path, {"a": float("nan")})
    assert records.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"r\.json: not"):
        records.read_json(tmp_path / "r.json")


def test_losses_are_cut_in_the_middle_of_a_line(tmp_path: Path) -> None:
    append_losses(tmp_path, 1, [0.5, 0.25, 0.125], 1.0)
    append_losses(tmp_path, 4, [0.0625], 1.0)
    cut_losses(tmp_path, 2)
    (line,) = read_losses(tmp_path)
    assert (line["first"], line["losses"]) == (1, [0.5, 0.25])


def test_a_hole_in_the_losses_is_named_before_a_run_goes_on(tmp_path: Path) -> None:
    append_losses(tmp_path, 1, [0.5, 0.25], 1.0)
    append_losses(tmp_path, 5, [0.125, 0.125], 1.0)
    before = (tmp_path / "losses.jsonl").read_bytes()
    with pytest.raises(ValueError, match=r"losses\.jsonl: has 4 of the 6 losses .* rerun=true"):
        cut_losses(tmp_path, 6)
    assert (tmp_path / "losses.jsonl").read_bytes() == before
    cut_losses(tmp_path, 2)
    assert len(list(read_losses(tmp_path))) == 1


def test_losses_keep_every_digit(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(50, np.float32).tolist()
    append_losses(tmp_path, 1, values, 1.0)
    (line,) = read_losses(tmp_path)
    assert line["losses"] == values


def test_an_evaluation_repeated_replaces_itself(tmp_path: Path) -> None:
    for value in (1, 2):
        evidence = {"names": np.array(["a"]), "confusion": np.full((1, 3, 3), value, np.int32)}
        summary = {"split": "test", "iteration": 10, "images": 1}
        records.write_evaluation(tmp_path, summary, evidence)
    (evaluation,) = records.read_evaluations(tmp_path)
    assert evaluation["confusion"] == [[2] * 3] * 3
    assert read_evidence(tmp_path, evaluation)["names"].tolist() == ["a"]


def test_evaluations_come_in_order_of_iteration(tmp_path: Path) -> None:
    evidence = {"names": np.array(["a"]), "confusion": np.zeros((1, 3, 3), np.int32)}
    for iteration in (40_000, 140_000, 80_000):
        summary = {"split": "test", "iteration": iteration, "images": 1}
        records.write_evaluation(tmp_path, summary, evidence)
    found = [e["iteration"] for e in records.read_evaluations(tmp_path, "test")]
    assert found == [40_000, 80_000, 140_000]


def test_a_link_by_the_name_of_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".r.json.{os.getpid()}.tmp").symlink_to(victim)
    records.write_json(tmp_path / "r.json", {"a": 1})
    assert victim.read_text() == "precious"
    assert records.read_json(tmp_path / "r.json") == {"a": 1}


def test_a_hole_or_a_damaged_line_of_losses_is_named(tmp_path: Path) -> None:
    append_losses(tmp_path, 1, [0.5, 0.25], 1.0)
    append_losses(tmp_path, 4, [0.125], 1.0)
    with pytest.raises(ValueError, match=r"losses\.jsonl:2: iteration 4 stands where 3 belongs"):
        list(read_losses(tmp_path))
    assert len(list(read_losses(tmp_path, whole=False))) == 2
    path = tmp_path / "losses.jsonl"
    path.write_text(path.read_text().replace("0.25", "0.26"))
    with pytest.raises(ValueError, match=r"losses\.jsonl:1: changed since it was written"):
        list(read_losses(tmp_path, whole=False))


def test_the_last_line_of_losses_may_be_cut(tmp_path: Path) -> None:
    append_losses(tmp_path, 1, [0.5, 0.25], 1.0)
    append_losses(tmp_path, 3, [0.125], 1.0)
    path = tmp_path / "losses.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    assert [line["first"] for line in read_losses(tmp_path)] == [1]


def test_a_million_losses_are_cheap(tmp_path: Path) -> None:
    """Reading costs little more than parsing the JSON does."""
    for first in range(1, 1_000_001, 1000):
        append_losses(tmp_path, first, [0.5] * 1000, 1.0)
    text = (tmp_path / "losses.jsonl").read_text()

    def parse() -> float:
        start = time.perf_counter()
        assert sum(len(json.loads(line)["losses"]) for line in text.splitlines()) == 1_000_000
        return time.perf_counter() - start

    def read() -> float:
        start = time.perf_counter()
        assert sum(len(line["losses"]) for line in read_losses(tmp_path)) == 1_000_000
        return time.perf_counter() - start

    assert min(read() for _ in range(3)) < 8 * min(parse() for _ in range(3))
