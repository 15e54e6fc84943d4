"""wandb is an option: it hears what the run measures, and its failure ends nothing."""

import json
import struct
import time
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.config import fingerprint
from bench.run.monitor import InterruptedRunError, Monitor
from bench.run.run import run
from bench.run.wandb_log import seeds_group
from bench.selection import best_iteration

wandb = pytest.importorskip("wandb")

Compose = Callable[..., dict[str, Any]]
Prepare = Callable[..., tuple[Path, Monitor]]


def test_wandb_hears_losses_and_scores(
    tiny_config: Compose, prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, dict[str, float]]] = []
    fake = SimpleNamespace(log=lambda values, step: heard.append((step, values)), summary={})
    asked: dict[str, Any] = {}

    def init(**keys: Any) -> SimpleNamespace:
        asked.update(keys)
        return fake

    monkeypatch.setattr(wandb, "init", init)
    config = tiny_config(
        "wandb.mode=offline", "protocol.validation.every=3", "protocol.schedule=poly"
    )
    folder, monitor = prepared(config)
    run(folder, monitor)
    assert asked["group"] == seeds_group(config)
    assert asked["job_type"] == "train"
    assert asked["tags"] == [config.dataset.name, f"protocol {config.protocol.name}", "seed 0"]
    rates = {step: values["lr"] / config.protocol.lr for step, values in heard if "loss" in values}
    assert (rates[1], rates[6]) == pytest.approx((1, (1 / 6) ** 0.9))
    best = best_iteration(folder, config)
    assert fake.summary["selected/iteration"] == best
    scores = {step: values for step, values in heard if "val/mIoU" in values}
    assert fake.summary["selected/val/mIoU"] == scores[best]["val/mIoU"]
    steps = [step for step, values in heard if "loss" in values]
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (1, 6)  # a slow machine tells more in between
    assert {key for _, values in heard for key in values} >= {"loss", "test/G", "test/mIoU"}


def test_a_group_is_the_seeds_of_one_network_with_one_set_of_arguments(
    tiny_config: Compose,
) -> None:
    one, seed, variant = (tiny_config(*more) for more in ([], ["seed=1"], ["arch.width=5"]))
    assert seeds_group(one) == seeds_group(seed) != seeds_group(variant)
    assert seeds_group(one).startswith("SegNet-Basic ")
    assert seeds_group(one).endswith(f" ({fingerprint(one)})")


@pytest.mark.parametrize("when", ["init", "log"])
def test_a_failure_of_wandb_is_said_and_the_run_goes_on(
    tiny_config: Compose, prepared: Prepare, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise wandb.errors.CommError("the server is on fire")

    fake = SimpleNamespace(log=fail)
    monkeypatch.setattr(wandb, "init", fail if when == "init" else lambda **_: fake)
    folder, monitor = prepared(tiny_config("wandb.mode=online"))
    assert run(folder, monitor).iteration == 6
    assert "the server is on fire" in (folder / "progress.json").read_text()
    assert not monitor.listeners


def test_a_run_without_wandb_does_not_import_it() -> None:
    import subprocess
    import sys

    code = "import sys, bench.run.__main__; sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def pieces(path: Path) -> Iterator[bytes]:
    """Yields the records of a .wandb file: 7 bytes, then blocks of 32 kB as LevelDB's log has them.

    A piece is a checksum (4 bytes), its length (2), its kind (whole, first, middle, last) and it.
    """
    content, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in {1, 4}:
            yield parts
            parts = b""


def written(folder: Path) -> dict[str, list[int]]:
    """Returns the steps of every key that a folder of wandb holds, in the order written."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("*.wandb")
    content: list[Any] = []
    end = time.monotonic() + 60  # wandb's process may still write when it says that it is done
    while not any(record.HasField("exit") for record in content) and time.monotonic() < end:
        content = [Record.FromString(piece) for piece in pieces(file)]
    steps: dict[str, list[int]] = {}
    for record in content:
        items = {"/".join(i.nested_key) or i.key: i.value_json for i in record.history.item}
        for key in items.keys() - {"_runtime", "_timestamp", "_step"}:
            steps.setdefault(key, []).append(json.loads(items["_step"]))
    return steps


def start(folder: Path, monitor: Monitor) -> None:
    """Runs as a process of its own would, which ends with wandb's."""
    try:
        run(folder, monitor)
    except InterruptedRunError:
        pass
    finally:
        wandb.finish()


def test_the_whole_curve_arrives_in_whatever_order_folders_are_sent(
    tiny_config: Compose, prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three starts of one run: stopped, stopped again, finished."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setattr("bench.run.training.DRAIN_ITERATIONS", 1)
    overrides = ["wandb.mode=offline", "milestones=[2,4]", "max_iterations=6"]
    for stop in (3, 5, None):
        folder, monitor = prepared(tiny_config(*overrides))

        def request_stop(iteration: int, _: object, stop=stop, monitor=monitor) -> None:  # type: ignore[no-untyped-def]
            monitor.stop_requested = iteration == stop

        monitor.listeners.append(request_stop)
        start(folder, monitor)
    folders = list((folder / "wandb").glob("offline-run-*"))
    assert folders
    for order in permutations(folders):
        server: dict[str, list[int]] = {}
        for sent in order:  # the last one that is sent replaces the others
            server = written(sent)
        assert server["loss"] == [1, 2, 3, 4, 5, 6]
        assert server["test/G"] == server["test/mIoU"] == [2, 4, 6]
