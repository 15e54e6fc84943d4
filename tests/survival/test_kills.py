"""kill -9 and the polite signals, anywhere: the same command ends in the same bits."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lives import KillAtWrite, live, losses, outcome, prepare, seeded, start, wait_until

from bench import records
from bench.run import checkpoints

Compose = Callable[..., dict[str, Any]]

# Checkpoints, validations, the best network and two splits: every kind of write a run makes.
EVENTFUL = [
    "protocol.dropout=0.5",
    "protocol.validation.every=2",
    "protocol.evaluation_splits=[test,train]",
    "dataset.reader.counts={train: 6, val: 2, test: 2}",
]
# Everything whose state or rate changes from one update to the next.
LONG = [
    "protocol.dropout=0.5", "max_iterations=300", "checkpoint_minutes=1e-5", "milestones=[150]",
    "protocol.optimiser=adamw", "protocol.lr=1e-3", "protocol.schedule=poly",
    "protocol.warm_up_iterations=20", "protocol.clip_norm=0.5", "protocol.dice_weight=0.5",
]  # fmt: skip


@pytest.fixture
def whole(tmp_path: Path, tiny_config: Compose) -> tuple[Path, int]:
    """An uninterrupted run, and how many files it changes."""
    folder = prepare(tmp_path / "whole", tiny_config(*EVENTFUL))
    assert live(folder, KillAtWrite(None)) == 0
    counted = re.search(r"(\d+) writes", (folder / "log.txt").read_text())
    assert counted
    return folder, int(counted[1])


@pytest.mark.slow
def test_a_kill_before_or_within_any_write_changes_nothing(
    tmp_path: Path, tiny_config: Compose, whole: tuple[Path, int]
) -> None:
    """One lineage: every life dies a little later than the last, until one comes to the end."""
    reference, writes = whole
    assert writes > 40
    expected = outcome(reference)
    for stride in (1, 2, 3):
        folder = prepare(tmp_path / f"stride{stride}", tiny_config(*EVENTFUL))
        lives, code = 0, -signal.SIGKILL
        while code == -signal.SIGKILL:
            lives += 1
            code = live(folder, KillAtWrite(lives * stride))
        assert code == 0
        assert lives > 5
        assert outcome(folder) == expected


@pytest.mark.slow
def test_a_kill_at_random_iterations_changes_nothing(tmp_path: Path, tiny_config: Compose) -> None:
    config = tiny_config(*LONG)
    reference, folder = prepare(tmp_path / "whole", config), prepare(tmp_path / "killed", config)
    assert live(reference) == 0
    for iteration in sorted(seeded("kills").sample(range(1, 280), 4)):
        process = start(folder)
        wait_until(lambda i=iteration: len(losses(folder)) >= i, process)  # type: ignore[misc]
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not (folder / "end.json").exists()
    assert live(folder) == 0
    assert outcome(folder) == outcome(reference)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_saves_a_checkpoint_and_loses_no_iteration(
    tmp_path: Path, tiny_config: Compose, number: signal.Signals
) -> None:
    """SLURM sends SIGUSR1 before it preempts, and SIGTERM when it does."""
    folder = prepare(tmp_path / "run", tiny_config("max_iterations=100000"))
    process = start(folder)
    wait_until(lambda: len(losses(folder)) > 0, process)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == 75
    end = records.read_json(folder / "end.json")
    assert end["state"] == "interrupted"
    assert "the same command goes on" in end["reason"]
    assert checkpoints.load(folder / "checkpoint.pt")["iteration"] == len(losses(folder))


def test_a_signal_that_comes_before_its_handler_is_not_lost(
    tmp_path: Path, tiny_config: Compose
) -> None:
    """As the launcher starts a process: with stop signals held back until they are handled."""
    folder = prepare(tmp_path / "run", tiny_config("max_iterations=100000"))
    assert live(folder, signalled_while_starting) == 75
    assert records.read_json(folder / "end.json")["state"] == "interrupted"
    assert losses(folder) == losses(folder)[:1]


def signalled_while_starting(folder: Path) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    os.kill(os.getpid(), signal.SIGTERM)
