"""The commands as users meet them: real processes, real figures, a real death."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_cost import TINY_COST

from bench import records
from bench.records import State

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
MORTAL = """
import os

from torch import nn


class Mortal(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, num_classes, 1)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if self.training and self.calls > 2:
            print("last words")
            os.kill(os.getpid(), 9)
        return self.layer(x)
"""


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parent.parent.parent)
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, check=False, cwd=cwd,
        env={**ENVIRONMENT, "PYTHONPATH": root},
    )  # fmt: skip


def test_the_check_measures_a_sleep_and_an_allocation() -> None:
    done = python("bench.cost", "check", "--device", "cpu")
    verdicts = {line[8:35].strip(): line[:7].strip() for line in done.stdout.splitlines()}
    assert verdicts["memory, resident_bytes"] == "ok"
    assert verdicts["memory, nvml_process_bytes"] == "note"
    assert {"known time", "doubled work", "noise"} <= verdicts.keys()
    assert done.returncode == (1 if "FAILED" in verdicts.values() else 0)


def test_the_check_refuses_a_device_that_is_not_there() -> None:
    done = python("bench.cost", "check", "--device", "cuda:7")
    assert done.returncode == 2
    assert "cuda:7" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_network_that_kills_its_process_is_a_row_and_the_other_is_measured(
    tmp_path: Path,
) -> None:
    mine = tmp_path / "mine"
    (mine / "arch").mkdir(parents=True)
    (mine / "mortal.py").write_text(MORTAL)
    (mine / "arch" / "mortal.yaml").write_text("name: Mortal\n_target_: mortal.Mortal\n")
    done = python(
        "bench", "--config-dir", str(mine), "-m", "arch=mortal,bilinear_interpolation",
        "dataset=synthetic", "protocol=demo", "protocol.image_size=[32,48]", "threads=1",
        *TINY_COST, f"runs={tmp_path}/runs", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    found = {
        record["arch"]["name"]: record
        for record in map(records.read_json, (tmp_path / "runs" / "cost").glob("*.json"))
    }
    dead, alive = found["Mortal"], found["Bilinear-Interpolation"]
    assert dead["state"] == State.killed
    assert "SIGKILL" in dead["reason"]
    assert dead["memory"]["inference"]["state"] == "measured"
    assert "last words" in (tmp_path / "runs" / "cost" / "log.txt").read_text()
    assert alive["state"] == "measured"
    assert len(alive["time"]["forward_ms"]) >= 3
    assert alive["memory"]["training"]["readings"]["resident_bytes"] > 0
    assert "CPU figures" in done.stdout
    assert "killed: time, batch 1: " in done.stdout
    assert "1 of 2" in done.stderr
