"""wandb is an option: it hears what the run measures, and its failure ends nothing."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.run.monitor import Monitor
from bench.run.run import run

wandb = pytest.importorskip("wandb")

Compose = Callable[..., dict[str, Any]]
Prepare = Callable[..., tuple[Path, Monitor]]


def test_wandb_hears_losses_and_scores(
    tiny_config: Compose, prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, dict[str, float]]] = []
    fake = SimpleNamespace(log=lambda values, step: heard.append((step, values)))
    monkeypatch.setattr(wandb, "init", lambda **_: fake)
    folder, monitor = prepared(tiny_config("wandb.mode=offline"))
    run(folder, monitor)
    steps = [step for step, values in heard if "loss" in values]
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (1, 6)  # a slow machine tells more in between
    assert {key for _, values in heard for key in values} >= {"loss", "test/G", "test/mIoU"}


@pytest.mark.parametrize("when", ["init", "log"])
def test_a_failure_of_wandb_is_said_and_the_run_goes_on(
    tiny_config: Compose, prepared: Prepare, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise wandb.errors.CommError("the server is on fire")

    fake = SimpleNamespace(log=fail)
    monkeypatch.setattr(wandb, "init", fail if when == "init" else lambda **_: fake)
    folder, monitor = prepared(tiny_config("wandb.mode=online"))
    assert run(folder, monitor)["iteration"] == 6
    assert "the server is on fire" in (folder / "progress.json").read_text()
    assert not monitor.listeners


def test_a_run_without_wandb_does_not_import_it() -> None:
    import subprocess
    import sys

    code = "import sys, bench.run.__main__; sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
