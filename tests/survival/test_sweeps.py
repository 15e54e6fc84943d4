"""Sweeps of which some runs fail: the others complete, and every row tells the truth."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import stand_in
from tiny_run import TINY

from bench import records
from reports.read.runs import Run, read_runs

RUNS = 200
# `python -m bench`, but for the process that it starts for each run.
WITH_STAND_INS = (
    "import runpy; from bench.launch import launch; launch.CHILD = 'stand_in'; "
    "runpy.run_module('bench', run_name='__main__', alter_sys=True)"
)


def sweep(start: list[str], runs: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    paths = [str(Path(stand_in.__file__).parent), str(Path(__file__).parents[2])]
    environment = {
        "PYTHONPATH": os.pathsep.join(paths),
        "STAND_IN_EVALUATIONS": str(runs.parent / "made" / "evaluations"),
    }
    return subprocess.run(
        [sys.executable, *start, *overrides, f"runs={runs}", "-m"], capture_output=True, text=True,
        check=False, env={**os.environ, **environment},
    )  # fmt: skip


def found(runs: Path) -> list[Run]:
    return read_runs(records.run_folders(runs))


def make_evaluation(folder: Path) -> None:
    """Makes the evaluation that stand-ins give out as theirs."""
    evidence = {
        "names": np.array(["one"]),
        "confusion": np.eye(12, dtype=np.int32)[None],
        "boundaries": np.ones((1, 11, 5), np.int32),
    }
    (folder / "made").mkdir()
    summary = {"split": "test", "iteration": 6, "images": 1}
    records.write_evaluation(folder / "made", summary, evidence)


def test_ctrl_c_that_comes_as_a_run_finishes_stops_the_sweep(tmp_path: Path) -> None:
    make_evaluation(tmp_path)
    seeds = f"0,{stand_in.LATE_SIGNAL},1"
    answer = sweep(["-c", WITH_STAND_INS], tmp_path / "runs", *TINY, f"seed={seeds}")
    assert answer.returncode == 75
    assert "1 not ended; the same command goes on" in answer.stderr
    assert "Traceback" not in answer.stderr
    states = {run.seed: run.state for run in found(tmp_path / "runs")}
    assert states == {0: "finished", stand_in.LATE_SIGNAL: "finished"}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_of_200_runs_one_in_20_fails_and_every_row_tells_the_truth(tmp_path: Path) -> None:
    make_evaluation(tmp_path)
    seeds = ",".join(map(str, range(RUNS)))
    answer = sweep(
        ["-c", WITH_STAND_INS], tmp_path / "runs", *TINY, f"seed={seeds}", "silence_minutes=0.5"
    )
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    assert f"{len(stand_in.WAYS)} of {RUNS} runs did not finish" in answer.stderr
    runs = found(tmp_path / "runs")
    assert sorted(run.seed for run in runs) == list(range(RUNS))
    for run in runs:
        if run.seed % 20 == 7:
            _, state, reason = list(stand_in.WAYS.values())[run.seed // 20]
            assert (run.state, run.evaluations) == (state, [])
            assert reason in run.detail
            assert f"{state}: {run.detail}" in answer.stderr
        else:
            assert run.state == "finished"
            assert [e["iteration"] for e in run.evaluations] == [6]


FAULTY = """
import ctypes
import torch


class Net(torch.nn.Module):
    def __init__(self, num_classes, way):
        super().__init__()
        self.layer, self.way = torch.nn.Conv2d(3, num_classes, 1), way

    def forward(self, images):
        if self.training and self.way == "raises":
            raise ArithmeticError("of the network")
        if self.training and self.way == "segfaults":
            ctypes.string_at(0)
        return self.layer(images)
"""


@pytest.mark.slow
def test_of_six_real_runs_two_fail_and_four_complete(tmp_path: Path) -> None:
    (tmp_path / "conf" / "arch").mkdir(parents=True)
    (tmp_path / "conf" / "arch" / "faulty.yaml").write_text("_target_: faulty.Net\nway: none\n")
    (tmp_path / "conf" / "faulty.py").write_text(FAULTY)
    tiny = [text for text in TINY if not text.startswith("arch")]
    ways = "raises,works,trains,segfaults,learns,ends"
    answer = sweep(
        ["-m", "bench", "--config-dir", str(tmp_path / "conf"), "arch=faulty"], tmp_path / "runs",
        *tiny, f"arch.way={ways}",
    )  # fmt: skip
    assert answer.returncode == 1
    assert "2 of 6 runs did not finish" in answer.stderr
    assert "Traceback" not in answer.stderr
    runs = {run.config["arch"]["way"]: run for run in found(tmp_path / "runs")}
    assert sorted(runs) == sorted(ways.split(","))
    assert runs["raises"].state == "failed"
    assert "ArithmeticError: of the network" in runs["raises"].detail
    assert runs["segfaults"].state == "killed"
    assert "SIGSEGV" in runs["segfaults"].detail
    assert "string_at" in (runs["segfaults"].folder / "log.txt").read_text()  # its stack
    for way in ("works", "trains", "learns", "ends"):
        assert runs[way].state == "finished"
        assert [e["iteration"] for e in runs[way].evaluations] == [6]
