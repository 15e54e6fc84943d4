"""Tuned sweeps from the command line: trials first, then the runs; killed, resumed, elsewhere."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_run import TINY

from bench import records
from bench.config import Config, read_config
from bench.launch.sweep_plan import Job, labelled
from bench.launch.sweep_progress import seconds_of_trials

Compose = Callable[..., Config]
HERE = Path(__file__).parent
# `python -m bench`, but for the process that it starts for each run, and without what imports torch
# or matplotlib before and after them.
WITH_STAND_INS = """
import runpy
from bench.launch import launch, sweep_plan
from reports import after_run
launch.CHILD = "stand_in_trial"
sweep_plan.model_bytes = lambda jobs: {job.number: 1 for job in jobs}
after_run.write_page = after_run.print_tables = lambda folders: None
runpy.run_module("bench", run_name="__main__", alter_sys=True)
"""
FOUR = ["tuning=lr", "tuning.trials=4"]
TWO_NETWORKS = ["arch=segnet_basic,fcn_basic", *(text for text in TINY if "arch=" not in text)]


def sweep(
    start: list[str], runs: Path, *overrides: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    paths = [str(HERE), str(HERE.parents[1])]
    return subprocess.run(
        [sys.executable, *start, *overrides, f"runs={runs}"], capture_output=True, text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths),
             "STARTS": str(runs.parent / "starts"), **environment},
    )  # fmt: skip


def chosen(runs: Path) -> dict[tuple[str, int], float]:
    """Returns the rate of every tuned run by network and seed."""
    configs = map(read_config, records.run_folders(runs))
    return {(c.arch["name"], c.seed): c.protocol.lr for c in configs}


def starts(runs: Path) -> list[str]:
    path = runs.parent / "starts"
    return path.read_text().splitlines() if path.exists() else []


def test_a_sweep_killed_half_way_goes_on_and_makes_nothing_twice(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    asked = [*TWO_NETWORKS, *FOUR, "seed=0,1"]
    first = sweep(["-c", WITH_STAND_INS], runs, *asked, STOP="6")
    assert first.returncode == 75, first.stderr
    assert len(starts(runs)) == 6
    assert not records.run_folders(runs)
    again = sweep(["-c", WITH_STAND_INS], runs, *asked)
    assert (again.returncode, again.stderr) == (0, "")
    assert chosen(runs) == {
        ("SegNet-Basic", 0): 0.1, ("SegNet-Basic", 1): 0.1,
        ("FCN-Basic", 0): 0.001, ("FCN-Basic", 1): 0.001,
    }  # fmt: skip
    assert len(set(starts(runs)[:8])) == 8  # trials, none twice
    assert len(starts(runs)) == 8 + 4
    lines = again.stdout.splitlines()
    assert lines[0] == "lr from 0.001 to 1 (log), 4 trials, best mIoU on val"
    assert lines[1] == "8 runs (2 arch x 4 tuning.trial), 6 finished already"
    assert any(line.startswith("FCN-Basic, lr=1: diverged, as told") for line in lines)
    third = sweep(["-c", WITH_STAND_INS], runs, *asked)
    assert third.returncode == 0
    assert "8 runs (2 arch x 4 tuning.trial), 8 finished already" in third.stdout
    assert third.stdout.count("finished before") == 4
    assert len(starts(runs)) == 12
    trials = records.run_folders(runs / "trials")
    assert len(trials) == 8
    assert not [path for folder in trials for path in folder.glob("*.pt")]
    assert all((folder / "weights-last.pt").exists() for folder in records.run_folders(runs))


def test_a_larger_budget_makes_only_what_is_new_and_stands_in_a_section_of_its_own(
    tmp_path: Path,
) -> None:
    runs = tmp_path / "runs"
    for trials in ("4", "7"):
        answer = sweep(["-c", WITH_STAND_INS], runs, *TINY, "tuning=lr", f"tuning.trials={trials}")
        assert answer.returncode == 0, answer.stderr
    assert "7 runs (7 tuning.trial), 4 finished already" in answer.stdout
    assert len(starts(runs)) == 4 + 1 + 3 + 1
    found = [records.read_json(f / "config.json") for f in records.run_folders(runs)]
    assert len({content["fingerprint"] for content in found}) == 2


def test_halving_goes_on_from_where_a_trial_stopped(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    answer = sweep(["-c", WITH_STAND_INS], runs, *TINY, *FOUR, "tuning.halving=[2]")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert starts(runs)[:4] == [f"SegNet-Basic {rate} 2" for rate in ("0.001", "0.01", "0.1", "1")]
    assert sorted(starts(runs)[4:6]) == ["SegNet-Basic 0.01 6", "SegNet-Basic 0.1 6"]
    assert chosen(runs) == {("SegNet-Basic", 0): 0.1}
    trials = records.run_folders(runs / "trials")
    assert not [path for folder in trials for path in folder.glob("*.pt")]
    again = sweep(["-c", WITH_STAND_INS], runs, *TINY, *FOUR, "tuning.halving=[2]")
    assert again.returncode == 0
    assert len(starts(runs)) == 7


def test_no_network_is_trained_before_its_trials_are_complete(tmp_path: Path) -> None:
    """The other one is; the first says what it lacks, and goes on when that is there."""
    runs = tmp_path / "runs"
    asked = ["-c", WITH_STAND_INS, *TWO_NETWORKS, *FOUR]
    first = sweep(asked[:2], runs, *asked[2:], FAIL="FCN-Basic 0.01 6")
    assert first.returncode == 1
    assert "2 of 10 runs did not finish" in first.stderr
    assert "FCN-Basic, lr=0.01 failed: no space left" in first.stderr
    assert "the trial of FCN-Basic with lr=0.01 has no result (failed: no space" in first.stderr
    assert chosen(runs) == {("SegNet-Basic", 0): 0.1}
    again = sweep(asked[:2], runs, *asked[2:])
    assert again.returncode == 0, again.stderr
    assert chosen(runs) == {("SegNet-Basic", 0): 0.1, ("FCN-Basic", 0): 0.001}
    assert len(starts(runs)) == 8 + 1 + 2


@pytest.mark.parametrize("given", ["protocol.lr=0.1", "protocol.lr=0.1,0.2"])
def test_a_value_that_tuning_chooses_is_refused(tmp_path: Path, given: str) -> None:
    answer = sweep(["-m", "bench"], tmp_path / "runs", *TINY, *FOUR, given)
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"{given}: tuning chooses this value; leave it out")
    assert answer.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_dry_run_counts_the_trials_and_starts_nothing(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    answer = sweep(["-m", "bench"], runs, *TINY, *FOUR, "seed=0,1", "dry_run=true")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "first 4 trials (4 tuning.trial)" in answer.stdout
    assert "would run SegNet-Basic with the values that its trials choose" in answer.stdout
    assert " of it trials), one run after another; none was" in answer.stdout.splitlines()[-1]
    assert not (runs / "trials").exists()


def test_the_time_of_trials_is_that_of_their_iterations_once_a_network(
    tiny_config: Compose,
) -> None:
    config = tiny_config("tuning=lr", "tuning.iterations=3", "dry_run=true")
    jobs = labelled([Job(n, "SegNet-Basic", n, {"seed": str(n)}, config) for n in (0, 1)])
    assert seconds_of_trials(jobs, {0: 60.0, 1: 62.0}) == pytest.approx(7 * 3 * 62.0 / 6)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_the_launcher_changes_no_choice(tmp_path: Path, launcher: str) -> None:
    """Its workers start the same stand-ins: every interpreter imports this at its start."""
    (tmp_path / "sitecustomize.py").write_text(
        "from bench.launch import launch\nlaunch.CHILD = 'stand_in_trial'\n"
    )
    places = {"here": [], "there": [f"hydra/launcher={launcher}"]}
    names = {}
    for place, options in places.items():
        runs = tmp_path / place / "runs"
        runs.mkdir(parents=True)
        answer = sweep(
            ["-c", WITH_STAND_INS], runs, *TWO_NETWORKS, *FOUR, "seed=0,1", *options,
            PYTHONPATH=os.pathsep.join(map(str, (tmp_path, HERE, HERE.parents[1]))),
        )  # fmt: skip
        assert (answer.returncode, answer.stderr) == (0, "")
        names[place] = sorted(folder.name for folder in records.run_folders(runs))
        assert len(starts(runs)) == 8 + 4
    assert names["here"] == names["there"]


def test_a_replay_keeps_what_was_chosen_without_the_trials(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert sweep(["-c", WITH_STAND_INS], runs, *TINY, *FOUR).returncode == 0
    (folder,) = records.run_folders(runs)
    (runs / "trials").rename(tmp_path / "elsewhere")
    again = sweep(["-m", "bench", "--from", str(folder)], runs)
    assert again.stdout.startswith(f"{folder.name}: finished before, at iteration 6\n")
    for change in ("protocol.lr=0.5", "tuning.space.lr.high=0.5"):
        refused = sweep(["-m", "bench", "--from", str(folder)], runs, change)
        assert refused.returncode == 1
        assert "tuning" in refused.stderr
