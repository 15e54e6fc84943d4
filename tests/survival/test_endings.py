"""However a run's process ends, its state and its reason are told, and the clock has no say."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stand_in
import torch
from lives import losses, outcome, prepare

from bench import records
from bench.launch import display, launch
from bench.losses import read_losses
from bench.run.__main__ import execute
from bench.run.monitor import Monitor
from bench.run.run import run

Compose = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Runs that are launched are stand-ins."""
    monkeypatch.setattr(launch, "CHILD", "stand_in")
    (tmp_path / "evaluations").mkdir()
    monkeypatch.setenv("STAND_IN_EVALUATIONS", str(tmp_path / "evaluations"))


@pytest.mark.parametrize("way", stand_in.WAYS)
def test_the_parent_says_how_a_process_ended(tiny_config: Compose, way: str) -> None:
    seed = 20 * list(stand_in.WAYS).index(way) + 7
    minutes = 0.02 if way == "hangs" else 60
    config = tiny_config(f"seed={seed}", f"silence_minutes={minutes}")
    end = launch.launch(config)
    _, state, reason = stand_in.WAYS[way]
    assert end.end.state == state
    assert reason in end.end.reason
    assert records.read_end(Path(end.folder)) == end.end


def test_a_damaged_end_is_a_sentence(tiny_config: Compose) -> None:
    config = tiny_config()
    folder = Path(launch.launch(config).folder)
    (folder / "end.json").write_text("{")
    with pytest.raises(ValueError, match=r"end\.json: not valid JSON .*remove the file"):
        launch.launch(config)


def raising(error: BaseException) -> Callable[..., Any]:
    def batch_loss(*arguments: Any, **options: Any) -> Any:
        raise error

    return batch_loss


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), "out_of_memory"),
        (MemoryError("Unable to allocate 2 GiB"), "out_of_memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), "out_of_memory"),
        (RuntimeError("of another kind"), "failed"),
        (ZeroDivisionError("division by zero"), "failed"),
    ],
)
def test_what_training_raises_is_recorded(
    tmp_path: Path, tiny_config: Compose, monkeypatch: pytest.MonkeyPatch, error: Exception,
    state: str,
) -> None:  # fmt: skip
    folder = prepare(tmp_path / "run", tiny_config())
    monkeypatch.setattr("bench.run.loss.batch_loss", raising(error))
    execute(folder)
    end = records.read_json(folder / "end.json")
    assert end["state"] == state
    assert str(error) in end["reason"]
    assert bool(end["traceback"]) == (state == "failed")


def test_memory_that_the_cpu_does_not_have_is_recorded(
    tmp_path: Path, tiny_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.run.loss.batch_loss", lambda *_: torch.empty(1 << 60))
    folder = prepare(tmp_path / "run", tiny_config())
    execute(folder)
    end = records.read_json(folder / "end.json")
    assert end["state"] == "out_of_memory"
    assert "can't allocate memory" in end["reason"]


def test_a_loss_that_is_no_number_ends_the_run_and_is_not_recorded(
    tmp_path: Path, tiny_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.run import loss

    count = iter(range(100))
    real = loss.batch_loss
    # Two calls are the estimate of the time; the run's own third iteration has no finite loss.
    monkeypatch.setattr(
        loss, "batch_loss", lambda *a: real(*a) * (float("nan") if next(count) == 4 else 1.0)
    )
    folder = prepare(tmp_path / "run", tiny_config())
    execute(folder)
    end = records.read_json(folder / "end.json")
    assert end["state"] == "diverged"
    assert "became nan at iteration 3 " in end["reason"]
    assert len(losses(folder)) == 2
    assert not (folder / "checkpoint.pt").exists()


def test_a_clock_that_steps_back_changes_nothing(
    tmp_path: Path, tiny_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config("protocol.validation.every=2")
    straight = prepare(tmp_path / "straight", config)
    run(straight, Monitor(straight))
    moments = iter(range(2_000_000_000, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(moments)))
    folder = prepare(tmp_path / "back", config)
    end = run(folder, Monitor(folder))
    assert end.seconds >= 0
    assert all(line["seconds"] >= 0 for line in read_losses(folder))
    assert outcome(folder) == outcome(straight)


class Process:
    """A process that is seen alive some hundred times."""

    def __init__(self, monitor: Monitor, polls: int) -> None:
        self.monitor, self.left, self.killed = monitor, polls, False

    def poll(self) -> int | None:
        self.left -= 1
        self.monitor.beat("training", 1, 1, loss=1.0, seconds=1.0)
        return None if self.left else 0

    def stopped(self) -> bool:
        return False

    def kill(self) -> None:
        self.killed = True


def test_a_heart_that_beats_backwards_beats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter(range(2_000_000_000, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(moments)))
    monkeypatch.setattr(display, "POLL_SECONDS", 0.01)
    process = Process(Monitor(tmp_path), polls=100)
    assert not display.watch(tmp_path, process, silence_seconds=0.2)  # type: ignore[arg-type]
    assert not process.killed


@pytest.mark.parametrize("content", ['{"config": {}}', "{}", '{"config": null}', None])
@pytest.mark.parametrize("finished", [True, False])
def test_a_record_of_another_run_is_refused(
    tiny_config: Compose, content: str | None, finished: bool
) -> None:
    """Whether it was edited by hand or belongs to another folder."""
    config = tiny_config()
    folder = Path(launch.launch(config).folder)
    if not finished:
        (folder / "end.json").unlink()
    if content is None:
        other = json.loads((folder / "config.json").read_text())
        other["config"]["protocol"]["lr"] = 0.01
        content = json.dumps(other)
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json is not of this run .*rerun=true"):
        launch.launch(config)
    assert (folder / "config.json").read_text() == content
    again = launch.launch(replace(config, rerun=True))
    assert again.end.state == "finished"
    assert (folder.with_name(f"{folder.name}.old1") / "config.json").read_text() == content


def test_the_checkpoint_of_another_run_is_refused(tmp_path: Path, tiny_config: Compose) -> None:
    folders = [prepare(tmp_path / f"seed{n}", tiny_config(f"seed={n}")) for n in (0, 1)]
    for folder in folders:
        run(folder, Monitor(folder))
    (folders[1] / "checkpoint.pt").replace(folders[0] / "checkpoint.pt")
    prepare(folders[0], tiny_config("seed=0", "max_iterations=8"))
    with pytest.raises(ValueError, match=r"checkpoint in .* is of another run .*rerun=true"):
        run(folders[0], Monitor(folders[0]))


def test_what_killed_writers_left_is_removed(tiny_config: Compose) -> None:
    config = tiny_config()
    folder = Path(launch.launch(config).folder)
    (folder / "end.json").unlink()
    leftovers = [folder / ".checkpoint-fresh.pt.77.tmp", folder / "evaluations" / ".t.npz.77.tmp"]
    for leftover in leftovers:
        leftover.write_bytes(b"half")
    (folder / "lock").write_text("host elsewhere-not-quite, pid")  # half a line
    (folder / "evaluations" / "kept.json").write_text("{}")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WATCH_SECONDS", "SETTLE_SECONDS"):
            patch.setattr(f"bench.launch.lock.{name}", 0.3)
        launch.launch(replace(config, seed=config.seed))
    assert not any(leftover.exists() for leftover in leftovers)
    assert (folder / "evaluations" / "kept.json").exists()
