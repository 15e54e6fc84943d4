"""Several processes that share a run compute what one would: same losses, same counts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_run import TINY

from bench import records
from bench.config import Config
from bench.evidence import read_evidence
from bench.launch.launch import launch
from bench.launch.processes import Children
from bench.losses import read_losses

# Every test starts processes that import torch.
pytestmark = pytest.mark.timeout(900)

Compose = Callable[..., dict[str, Any]]

# Batches of 5 over 2 processes are shares of 3 and 2; 7 test images are a batch of 5 and one of 2.
SETTINGS = [
    "protocol.batch_size=5",
    "dataset.reader.counts={train: 12, val: 4, test: 7}",
    "max_iterations=20",
]
MODERN = [
    "protocol.optimiser=adamw", "protocol.lr=1e-3", "protocol.schedule=cosine",
    "protocol.warm_up_iterations=4", "protocol.clip_norm=0.5", "protocol.dice_weight=0.5",
]  # fmt: skip
CROPS = [
    "protocol.image_size=null", "protocol.augmentation.crop=[32,48]", "protocol.mirror=true",
    "protocol.augmentation.scale=[0.5,2]", "protocol.augmentation.saturation=0.5",
    "protocol.inference={mode: slide, crop: [32,48], stride: [16,24]}",
]  # fmt: skip


def losses(folder: Path) -> list[float]:
    return [loss for line in read_losses(folder) for loss in line["losses"]]


def finished(config: Config) -> Path:
    end = launch(config)
    log = (Path(end.folder) / "log.txt").read_text()
    assert end.end.state == "finished", f"{end.end.reason}\n{log}"
    assert "Warning" not in log, log
    return Path(end.folder)


ALL_OF_TODAY = ["protocol.class_weights=median_frequency", *CROPS, *MODERN]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ALL_OF_TODAY])
def test_losses_and_counts_do_not_depend_on_the_number_of_processes(
    tiny_config: Compose, tmp_path: Path, options: list[str]
) -> None:
    found = {}
    for processes in (1, 2, 3):
        where = [f"processes={processes}", f"runs={tmp_path}/{processes}"]
        folder = finished(tiny_config(*SETTINGS, *options, *where))
        (evaluation,) = records.read_evaluations(folder, "test")
        found[processes] = losses(folder), read_evidence(folder, evaluation)
        assert records.read_json(folder / "environment.json")["processes"] == processes
    alone, evidence = found[1]
    assert len(alone) == 20
    for processes in (2, 3):
        shared, counts = found[processes]
        np.testing.assert_allclose(shared, alone, rtol=1e-4)  # rounding grows with iterations
        assert counts["names"].tolist() == evidence["names"].tolist()
        assert counts["confusion"].sum() == evidence["confusion"].sum() == 7 * 40 * 56
        # Weights differ in the last bits, so a pixel between two classes may fall either way.
        moved = np.abs(counts["confusion"] - evidence["confusion"]).sum() / 2
        assert moved <= 0.001 * evidence["confusion"].sum()


@pytest.mark.slow
def test_one_network_gives_the_same_counts_for_any_number_of_processes(
    tiny_config: Compose, tmp_path: Path
) -> None:
    """A vanishing learning rate leaves every weight as it started: nothing can differ."""
    found = []
    for processes in (1, 3):
        where = [f"processes={processes}", f"runs={tmp_path}/{processes}"]
        settings = [*SETTINGS, "max_iterations=1", "protocol.lr=1e-30"]
        folder = finished(tiny_config(*settings, *where))
        (evaluation,) = records.read_evaluations(folder, "test")
        found.append(read_evidence(folder, evaluation))
        pictures = sorted(p.name for p in (folder / "predictions" / "test-0000001").iterdir())
        assert pictures == [f"test_{number:05d}.png" for number in range(7)]
    for key in ("names", "confusion", "boundaries"):
        assert (found[0][key] == found[1][key]).all(), key


def iterations(folder: Path) -> int:
    return len(losses(folder))


def wait_until(condition: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def processes_of(parent: int) -> list[int]:
    """The run's processes, in the order in which they were started."""
    found = subprocess.run(
        ["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False
    )
    return sorted(map(int, found.stdout.split()))


@pytest.mark.slow
def test_signals_reach_all_processes_and_the_same_command_goes_on(
    tiny_config: Compose, tmp_path: Path
) -> None:
    settings = [*SETTINGS, "max_iterations=200", "protocol.dropout=0.5", "processes=2"]
    command = [sys.executable, "-m", "bench", *TINY, *settings]
    uninterrupted = finished(tiny_config(*settings, f"runs={tmp_path}/whole"))
    folder = tmp_path / "cut" / uninterrupted.name
    states = []
    for number in (signal.SIGTERM, signal.SIGKILL):
        before = iterations(folder)
        parent = subprocess.Popen(
            [*command, f"runs={tmp_path}/cut"], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        wait_until(lambda before=before: iterations(folder) > before + 20)  # type: ignore[misc]
        if number == signal.SIGKILL:
            os.kill(processes_of(parent.pid)[1], number)
        else:
            parent.send_signal(number)
        assert parent.wait(240) != 0
        states.append(records.read_json(folder / "end.json"))
    assert states[0]["state"] == "interrupted"
    assert states[1]["state"] == "killed"
    assert states[1]["reason"].startswith("process 1 killed by SIGKILL")
    resumed = finished(tiny_config(*settings, f"runs={tmp_path}/cut"))
    assert resumed == folder
    assert losses(folder) == losses(uninterrupted)


FAILS_IN_ONE = """
import os
import torch

class Net(torch.nn.Conv2d):
    def __init__(self, num_classes):
        super().__init__(3, num_classes, 1)

    def forward(self, images):
        if self.training and os.environ["RANK"] == "1":
            raise RuntimeError("only here")
        return super().forward(images)
"""


@pytest.mark.slow
def test_the_reason_is_that_of_the_process_that_failed_first(
    tiny_config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fails_in_one.py").write_text(FAILS_IN_ONE)
    monkeypatch.syspath_prepend(tmp_path)
    config = tiny_config("processes=2")
    config.arch = {"name": "Net", "_target_": "fails_in_one.Net"}
    end = launch(config)
    assert end.end.state == "failed"
    assert "RuntimeError: only here" in str(end.end.reason)


@pytest.mark.slow
def test_torchrun_starts_a_prepared_run(
    tiny_config: Compose, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config("start=false")
    assert launch(config).end.state == "finished"
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("torchrun --nnodes=N")
    folder = Path(last.split()[-1])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ended = subprocess.run(
        [*command, "-m", "bench.run", str(folder)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert records.read_json(folder / "end.json")["state"] == "finished"
    assert records.read_json(folder / "environment.json")["processes"] == 2


@pytest.mark.parametrize(
    ("processes", "message"),
    [(0, "processes is 0; it must be from 1"), (5, "processes is 5; it must be from 1 to proto")],
)
def test_a_share_of_nothing_is_refused(tiny_config: Compose, processes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_config(f"processes={processes}")


TALK = """
import sys
from pathlib import Path
from bench.run import distributed
distributed.join(2.0)
value = ["test", None, 3] if distributed.is_first() else "another"
Path(sys.argv[1], f"said-{distributed.rank()}").write_text(repr(distributed.agreed(value)))
distributed.wait_for_all()
ports = [line.split() for name in ("tcp", "tcp6") for line in open(f"/proc/self/net/{name}")][1:]
own = {link.readlink().name for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
listening = [p[1].split(":")[0] for p in ports if p[3] == "0A" and f"socket:[{p[9]}]" in own]
Path(sys.argv[1], f"listens-{distributed.rank()}").write_text(" ".join(listening))
distributed.wait_for_all()
"""


def test_processes_of_one_machine_listen_to_it_alone_and_speak_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "talk.py").write_text(TALK)
    monkeypatch.syspath_prepend(tmp_path)
    children = Children(tmp_path, 2, "talk", [])
    wait_until(lambda: children.poll() is not None)
    assert children.failed is None, (tmp_path / "log.txt").read_text()
    for number in range(2):
        assert (tmp_path / f"said-{number}").read_text() == "['test', None, 3]"
        listening = (tmp_path / f"listens-{number}").read_text().split()
        assert listening, "gloo listens for the other process"
        for address in listening:  # hexadecimal, in the machine's order of bytes
            assert address.endswith("7F") or address == f"{'0' * 24}01000000"
