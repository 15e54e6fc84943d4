"""`python -m bench` as its users meet it: real processes, real signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from tiny_run import TINY, TINY_MODERN

from bench import records
from bench.losses import read_losses
from bench.run import checkpoints

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(runs: Path, *overrides: str, words: list[str] = TINY) -> list[str]:
    return [sys.executable, "-m", "bench", *words, f"runs={runs}", *overrides]


def bench(
    runs: Path, *overrides: str, words: list[str] = TINY, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(runs, *overrides, words=words), capture_output=True, text=True, env=ENVIRONMENT,
        check=False, cwd=cwd,
    )  # fmt: skip


def only_run(runs: Path) -> Path:
    (folder,) = records.run_folders(runs)
    return folder


def losses(folder: Path) -> list[float]:
    return [loss for line in read_losses(folder) for loss in line["losses"]]


def wait_for(folder_of: Path, iteration: int, process: subprocess.Popen[str]) -> Path:
    """Waits until the only run below a folder has drained an iteration."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        folders = records.run_folders(folder_of) if folder_of.is_dir() else []
        if folders and len(losses(folders[0])) >= iteration:
            return folders[0]
        time.sleep(0.02)
    raise AssertionError("the run did not get that far")


def test_a_run_ends_in_a_table_and_is_not_repeated(tmp_path: Path) -> None:
    first = bench(tmp_path)
    assert first.returncode == 0, first.stderr
    assert "\nSegNet-Basic " in first.stdout
    assert f"written to {tmp_path}" in first.stdout
    assert max(map(len, first.stdout.splitlines())) <= 160
    before = losses(only_run(tmp_path))
    again = bench(tmp_path)
    assert again.returncode == 0
    assert "finished before, at iteration 6" in again.stdout
    afresh = bench(tmp_path, "rerun=true")
    assert afresh.returncode == 0
    folders = records.run_folders(tmp_path)
    assert [f.name.endswith(".old1") for f in folders] == [False, True]
    assert losses(folders[0]) == losses(folders[1]) == before


# Whatever a run holds between iterations: moments of AdamW, a rate that moves, draws of crops.
LONGER = ["protocol.validation.every=300", "protocol.warm_up_iterations=50", "max_iterations=300"]
MODERN = [*TINY_MODERN, *LONGER, "milestones=[10]", "protocol.dropout=0.5"]


def test_a_modern_run_that_every_signal_stops_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """One run, stopped by one after the other, against another that none stopped."""
    whole = bench(tmp_path / "whole", words=MODERN)
    assert whole.returncode == 0, whole.stderr
    runs, whole_run = tmp_path / "stopped", only_run(tmp_path / "whole")
    done = 0
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGKILL):
        with subprocess.Popen(
            command(runs, "checkpoint_minutes=0.001", words=MODERN), env=ENVIRONMENT, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            folder = wait_for(runs, done + 20, process)
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        done = len(losses(folder))
        if number != signal.SIGKILL:
            assert process.returncode == 75
            assert "interrupted" in errors
            assert records.read_json(folder / "end.json")["state"] == "interrupted"
    again = bench(runs, words=MODERN)
    assert again.returncode == 0, again.stderr
    assert "resuming at iteration" in again.stdout
    assert losses(folder) == losses(whole_run)
    for one, other in zip(
        *(checkpoints.load(f / "checkpoint.pt")["network"].values()
          for f in (folder, whole_run)), strict=True,
    ):  # fmt: skip
        assert torch.equal(one, other)


def test_killing_the_parent_ends_the_child(tmp_path: Path) -> None:
    with subprocess.Popen(
        command(tmp_path, "max_iterations=100000"), env=ENVIRONMENT, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        folder = wait_for(tmp_path, 20, process)
        process.kill()
    end = time.monotonic() + 30
    while not (folder / "end.json").exists():
        assert time.monotonic() < end, "the child lives on"
        time.sleep(0.1)
    assert records.read_json(folder / "end.json")["state"] == "interrupted"


def test_a_killed_child_is_recorded_by_its_parent_and_the_second_start_refuses(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(
        command(tmp_path, "max_iterations=100000"), env=ENVIRONMENT, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        folder = wait_for(tmp_path, 20, process)
        second = bench(tmp_path, "max_iterations=100000")
        assert second.returncode == 1
        assert "is being worked on by another process (host" in second.stderr
        children = subprocess.run(
            ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
        )
        os.kill(int(children.stdout), signal.SIGKILL)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "killed by SIGKILL" in errors
    assert records.read_json(folder / "end.json")["state"] == "killed"


def test_a_sweep_goes_on_after_a_failure_and_says_so(tmp_path: Path) -> None:
    answer = bench(tmp_path, "protocol.lr=0.1,1e30,0.2", "-m")
    assert answer.returncode == 1
    assert "SegNet-Basic, seed 0, lr=1e+30 diverged:" in answer.stderr
    assert "1 of 3 runs did not finish" in answer.stderr
    assert "Traceback" not in answer.stderr
    states = sorted(records.read_json(f / "end.json")["state"] for f in tmp_path.glob("synth*"))
    assert states == ["diverged", "finished", "finished"]
    assert answer.stdout.count("Not comparable with the rows above: protocol.lr") == 2


def test_a_failed_run_is_one_sentence(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "bench", f"runs={tmp_path}", "dataset.root=/no where/ä"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert "dataset.root is /no where/ä, which is no folder" in answer.stderr
    assert answer.stdout == ""


NETWORK = """
import torch


class Linear(torch.nn.Module):
    def __init__(self, num_classes, width):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, num_classes, width)

    def forward(self, images):
        return self.layer(images)
"""


HANGS = """
import time
import torch


class Net(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, num_classes, 1)

    def forward(self, images):
        if self.training:
            time.sleep(3600)
        return self.layer(images)
"""


def test_a_run_that_hangs_is_killed_and_recorded(tmp_path: Path) -> None:
    (tmp_path / "my_conf" / "arch").mkdir(parents=True)
    (tmp_path / "my_conf" / "arch" / "hangs.yaml").write_text("_target_: hangs.Net\n")
    (tmp_path / "my_conf" / "hangs.py").write_text(HANGS)
    overrides = [text for text in TINY if not text.startswith("arch")]
    answer = subprocess.run(
        [sys.executable, "-m", "bench", "--config-dir", str(tmp_path / "my_conf"), "arch=hangs",
         *overrides, f"runs={tmp_path}/runs", "silence_minutes=0.2"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert answer.returncode == 1
    assert "hangs killed: killed after silence_minutes=0.2 without a sign of life" in answer.stderr
    assert records.read_json(only_run(tmp_path / "runs") / "end.json")["state"] == "killed"


def test_a_users_own_network_needs_one_file_and_one_yaml(tmp_path: Path) -> None:
    (tmp_path / "my_conf" / "arch").mkdir(parents=True)
    (tmp_path / "my_conf" / "arch" / "linear.yaml").write_text(
        "_target_: my_net.Linear\nwidth: 1\n"
    )
    (tmp_path / "my_conf" / "my_net.py").write_text(NETWORK)
    overrides = [text for text in TINY if not text.startswith("arch")]
    answer = subprocess.run(
        [sys.executable, "-m", "bench", "--config-dir", "my_conf", "arch=linear", *overrides],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "\nlinear " in answer.stdout
    assert only_run(tmp_path / "runs").name.startswith("synthetic-demo-linear-seed0-")


def test_a_dry_run_leaves_nothing(tmp_path: Path) -> None:
    answer = bench(tmp_path / "runs", "dry_run=true")
    assert answer.returncode == 0
    assert f"would run in {tmp_path}/runs/synthetic-demo-segnet_basic-seed0-" in answer.stdout
    assert "MB on disk" in answer.stdout
    assert not (tmp_path / "runs").exists()
