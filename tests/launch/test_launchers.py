"""Sweeps in other processes: results, failures and signals as in this one. Real processes."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_run import TINY

from bench import records
from bench.losses import read_losses

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
LAUNCHERS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit": ["hydra/launcher=submitit_local"],
}


def command(runs: Path, *overrides: str) -> list[str]:
    return [sys.executable, "-m", "bench", "-m", *TINY, f"runs={runs}", *overrides]


def job(runs: Path, number: int) -> dict[str, Any]:
    (path,) = runs.glob(f"sweeps/*/jobs/{number}.json")
    return records.read_json(path)


def losses(folder: Path) -> list[float]:
    return [loss for line in read_losses(folder) for loss in line["losses"]]


def wait_until(condition: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)


def trains(runs: Path, count: int = 1) -> bool:
    """Says whether so many runs have drained 40 iterations."""
    folders = records.run_folders(runs) if runs.is_dir() else []
    return sum(len(losses(folder)) >= 40 for folder in folders) >= count


# Imported by every Python at its start: a machine on which torch counts two GPUs, and every run's
# process notes which of them it is shown.
TWO_GPUS = """
import os, sys
from pathlib import Path

if sys.orig_argv[1:2] == ["-c"] and "cuda.device_count" in sys.orig_argv[2]:
    print(2)
    sys.stdout.flush()
    os._exit(0)
if "bench.run" in sys.orig_argv:
    (Path(__file__).parent / f"{os.getpid()}.shown").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_sweep_comes_home_from_other_processes(tmp_path: Path, launcher: str) -> None:
    """Where they run beside each other, each has a GPU of its own."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(TWO_GPUS)
    paths = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    machine = {**ENVIRONMENT, "PYTHONPATH": paths} if launcher == "joblib" else ENVIRONMENT
    answer = subprocess.run(
        command(tmp_path, "protocol.lr=0.1,1e30,0.2", *LAUNCHERS[launcher]),
        capture_output=True, text=True, env=machine, check=False,
    )  # fmt: skip
    assert answer.returncode == 1, answer.stderr
    shown = [path.read_text() for path in site.glob("*.shown")]
    assert shown == [] if launcher == "submitit" else (len(shown), {*shown}) == (3, {"0", "1"})
    lines = answer.stdout.splitlines()
    assert lines[0] == "3 runs (3 protocol.lr)"
    told = [line for line in lines if line.startswith("SegNet-Basic, seed 0, lr=")]
    assert len(told) == 3
    assert any(": diverged, the loss of" in line for line in told)
    assert any(": finished, G " in line and " of 3" in line for line in told)
    assert max(map(len, told)) <= 100
    assert answer.stdout.count("Not comparable with the rows above: protocol.lr") == 2
    failures = answer.stderr.splitlines()[-2:]
    assert failures[0] == "1 of 3 runs did not finish"
    assert failures[1].startswith("SegNet-Basic, seed 0, lr=1e+30 diverged: the loss of")
    assert "Traceback" not in answer.stderr
    states = sorted(records.read_json(f / "end.json")["state"] for f in tmp_path.glob("synth*"))
    assert states == ["diverged", "finished", "finished"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_joblib_sweep_saves_checkpoints_and_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    """The signal goes to the whole process group, as a terminal's Ctrl-C does."""
    options = ["seed=0,1,2", "milestones=[10]", *LAUNCHERS["joblib"]]
    with subprocess.Popen(
        command(tmp_path, *options, "max_iterations=100000"), env=ENVIRONMENT, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        wait_until(lambda: trains(tmp_path, 2))
        os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=90)
    assert process.returncode == 75, errors
    assert errors.count("stopping after checkpoints") == 1
    assert "3 of 3 runs did not finish" in errors
    assert errors.splitlines()[-1] == "1 not ended; the same command goes on"
    folders = records.run_folders(tmp_path)
    assert len(folders) == 2
    for folder in folders:
        assert records.read_json(folder / "end.json")["state"] == "interrupted"
        assert (folder / "checkpoint.pt").exists()


@pytest.mark.slow
def test_a_preempted_job_is_queued_again_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    options = ["seed=0", "max_iterations=400", "protocol.dropout=0.5", "arch.width=8"]
    whole = subprocess.run(
        command(tmp_path / "whole", *options), capture_output=True, env=ENVIRONMENT, check=False
    )
    assert whole.returncode == 0
    runs = tmp_path / "preempted"
    with subprocess.Popen(
        command(runs, *options, *LAUNCHERS["submitit"]), env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        wait_until(lambda: trains(runs))
        first = job(runs, 0)["pid"]
        os.kill(first, signal.SIGUSR2)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert job(runs, 0)["pid"] != first
    assert "seed 0: finished, G " in output
    (folder,), (expected,) = records.run_folders(runs), records.run_folders(tmp_path / "whole")
    assert "resuming at iteration" in "".join(p.read_text() for p in runs.glob("**/jobs/0.log"))
    assert losses(folder) == losses(expected)


SBATCH = """#!/bin/bash
# A stand-in: submits an array whose jobs start at once.
for task in $(sed -n 's/#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1" | xargs seq 0); do
  SLURM_JOB_ID=$((100 + task)) SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=$task SLURM_PROCID=0 \\
    SLURM_NTASKS=1 bash "$1" > /dev/null 2>&1 &
done
cp "$1" "$SBATCH_COPY"
echo "Submitted batch job 77"
"""
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do case "$1" in *=*) shift;; --unbuffered) shift;; *) shift 2;; esac; done
exec "$@"
"""


@pytest.mark.slow
def test_slurm_is_asked_for_what_the_yaml_says(tmp_path: Path) -> None:
    """With stand-ins for sbatch and srun, which start the jobs here."""
    (tmp_path / "bin").mkdir()
    for name, content in {"sbatch": SBATCH, "srun": SRUN, "sacct": "#!/bin/bash\n"}.items():
        (tmp_path / "bin" / name).write_text(content)
        (tmp_path / "bin" / name).chmod(stat.S_IRWXU)
    answer = subprocess.run(
        command(
            tmp_path / "runs", "seed=0,1", "hydra/launcher=slurm", "hydra.launcher.partition=night"
        ),
        capture_output=True, text=True, check=False, timeout=250,
        env={**ENVIRONMENT, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
             "SBATCH_COPY": str(tmp_path / "script")},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert " 2 of 2" in answer.stdout
    script = (tmp_path / "script").read_text()
    for line in (
        "--partition=night", "--gpus-per-node=1", "--time=1440", "--signal=USR2@300",
        "--cpus-per-task=8", "--array=0-1%",
    ):  # fmt: skip
        assert f"#SBATCH {line}" in script


def test_costs_are_measured_in_one_process_only(tmp_path: Path) -> None:
    answer = subprocess.run(
        command(tmp_path, "cost.measure=true", "seed=0,1", "hydra/launcher=joblib"),
        capture_output=True, text=True, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert answer.returncode == 1
    assert answer.stderr == (
        "cost.measure lets its contestants take turns in one process; leave hydra/launcher at "
        "basic\n"
    )
    assert not list(tmp_path.iterdir())
