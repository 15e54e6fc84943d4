"""The README's commands on the stand-in for a GPU, `device` left at its default.

Processes of their own would not have the stand-in: runs and measurements are made in this one.
"""

import json
import runpy
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest
import torch
from gpu_stand_in import UUID, Gpu
from PIL import Image
from tiny_run import TINY, TINY_MODERN

from bench import contestants, dense_crf, evaluate, predict, records, score
from bench.config import read_config
from bench.cost import check, measurement, turns, worker
from bench.cost import measure as contest
from bench.cost.__main__ import main as check_cost
from bench.cost.calibration import Calibration
from bench.crf import stage
from bench.data import __main__ as data
from bench.data.synthetic import scene
from bench.doctor import examination
from bench.doctor.__main__ import main as doctor
from bench.launch import launch, sweep
from bench.records import State
from bench.run.__main__ import execute
from bench.run.monitor import Monitor

sys.path[:0] = [str(Path(__file__).parents[1] / room) for room in ("cost", "data_sets")]
from folders import write_set  # noqa: E402
from recorded_nvml import RecordedDriver  # noqa: E402

Compose = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("gpu")

POSTPROCESSED = [
    "postprocess=dense_crf", "postprocess.splits=[test]", "postprocess.search.images=1",
    "postprocess.search.w1=[4]", "postprocess.search.sigma_alpha=[30]",
    "postprocess.search.sigma_beta=[5]", "postprocess.search.rounds=1",
]  # fmt: skip


class HereAndNow:
    """A run's process that is none: the run ends before the parent looks."""

    count, failed = 1, None

    def __init__(self, folder: Path, count: int, module: str, descriptors: list[int]) -> None:
        assert (count, module) == (1, "bench.run")
        self.code = execute(folder)

    def poll(self) -> int:
        return self.code

    def stopped(self) -> bool:
        return False


@pytest.fixture
def launched(
    monkeypatch: pytest.MonkeyPatch, tiny_config: Compose
) -> Callable[..., tuple[Path, records.End]]:
    """Launches a run as `python -m bench` does; returns its folder and how it ended."""
    monkeypatch.setattr(launch, "Children", HereAndNow)
    monkeypatch.setattr(Monitor, "catch_signals", lambda _: None)

    def run(*overrides: str) -> tuple[Path, records.End]:
        outcome = launch.launch(tiny_config(*overrides))
        assert outcome.folder is not None
        return Path(outcome.folder), outcome.end

    return run


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Calls the main function of a command with arguments and returns its exit code."""

    def called(main: Callable[[], None], *arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["the command", *map(str, arguments)])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return called


def test_a_trained_network_predicts_and_is_evaluated_elsewhere(
    launched: Any, call: Callable[..., int], tmp_path: Path
) -> None:
    trained, end = launched("max_iterations=2")
    assert end.state == State.finished
    assert records.read_json(trained / "environment.json")["device_type"] == "cuda"
    images = tmp_path / "images"
    images.mkdir()
    for number in range(2):
        Image.fromarray(np.array(scene(number, 40, 56)[0])).save(images / f"{number}.png")
    for out, device in (("gpu", []), ("cpu", ["--device", "cpu"])):
        assert call(predict.main, *device, "--probs", trained, images, tmp_path / out) == 0
    made = sorted(path.name for path in (tmp_path / "gpu").iterdir())
    assert made == ["0.npz", "0.overlay.png", "0.png", "1.npz", "1.overlay.png", "1.png"]
    for name in made[1:3]:
        assert (tmp_path / "gpu" / name).read_bytes() == (tmp_path / "cpu" / name).read_bytes()
    assert call(evaluate.main, trained, "split=val") == 0
    (evaluation,) = records.read_evaluations(next((trained / "elsewhere").iterdir()))
    assert np.array(evaluation["confusion"]).sum() == 4 * 40 * 56
    refined = [tmp_path / "gpu", images, tmp_path / "crf", "--device", "cuda", "--iterations", "2"]
    assert call(dense_crf.main, *refined) == 0
    assert len(list((tmp_path / "crf").iterdir())) > 0


def test_a_network_is_counted(
    call: Callable[..., int], capsys: pytest.CaptureFixture[str], gpu: Gpu
) -> None:
    """By its shapes: no device holds anything."""
    assert call(contestants.main, "segnet_basic", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["parameters"] == 1_416_064
    assert gpu.peak_bytes == 0


def test_data_are_inspected_prepared_and_scored(
    call: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What needs no GPU leaves it alone."""
    own, sheet, out = tmp_path / "own", tmp_path / "sheet.png", tmp_path / "out"
    write_set(own, {"train": ["a", "b"], "test": ["c"]})
    given = ["check", "dataset=folder", f"dataset.root={own}", "--sheet", str(sheet)]
    assert data.main([*given, "--splits", "train", "test"]) == 0
    assert data.main(["prepare", "folder", str(own), str(out), "--size", "12", "16"]) == 0
    assert data.main(["cache", "--folder", str(tmp_path)]) == 0
    labels = out / "labels" / "train"
    capsys.readouterr()
    flags = ["--classes", "3", "--void", "255", "--processes", "1", "--json"]
    assert score.main([str(labels), str(labels), *flags]) == 0
    scores = json.loads(capsys.readouterr().out)["set"]
    assert scores["G"] == 1.0
    assert sheet.exists()


def test_a_run_has_its_row_of_the_dense_crf(launched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def pool(*_: Any, **__: Any) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1)

    monkeypatch.setattr(stage, "worker_pool", pool)
    folder, end = launched("max_iterations=1", *POSTPROCESSED)
    assert end.state == State.finished
    (row,) = records.read_evaluations(folder, variant="denseCRF")
    assert np.array(row["confusion"]).sum() == 5 * 40 * 56


@pytest.fixture
def bench(
    launched: Any, call: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., list[Path]]:
    """Calls `python -m bench`, which must succeed; returns the folders of its runs, old to new."""
    runs = tmp_path / "runs"

    def called(*words: str) -> list[Path]:
        monkeypatch.setattr(sweep, "started", [])
        monkeypatch.delitem(sys.modules, "bench.__main__", raising=False)
        main = partial(runpy.run_module, "bench", run_name="__main__", alter_sys=True)
        assert call(main, *words, f"runs={runs}") == 0
        folders: list[Path] = records.run_folders(runs)
        for folder in folders:
            assert records.read_json(folder / "environment.json")["device_type"] == "cuda"
        return sorted(folders, key=lambda folder: (folder / "config.json").stat().st_mtime)

    return called


def test_a_modern_run_has_its_row_of_views_and_is_continued_as_recorded(
    bench: Callable[..., list[Path]],
) -> None:
    views = ["postprocess=test_time_augmentation", "postprocess.scales=[0.75]"]
    (first,) = bench(*TINY_MODERN, *views)
    (row,) = records.read_evaluations(first, variant="TTA-0.75-mirrored")
    assert np.array(row["confusion"]).sum() == 5 * 40 * 56
    *_, second = bench("--from", str(first), "seed=1", f"init_from={first}")
    assert records.read_json(second / "network.json")["initialisation"].startswith("the weights of")


def test_a_network_is_tuned_and_trained_with_the_value_chosen(
    bench: Callable[..., list[Path]], tmp_path: Path
) -> None:
    few = ["max_iterations=1", "tuning=lr", "tuning.trials=2"]
    (chosen,) = bench(*TINY, *few)
    trials = records.run_folders(tmp_path / "runs" / "trials")
    assert len(trials) == 2
    for trial in trials:
        assert records.read_json(trial / "environment.json")["device_type"] == "cuda"
    assert read_config(chosen).protocol.lr in (0.001, 1.0)


def test_out_of_memory_is_recorded_as_such(launched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")

    monkeypatch.setattr("bench.run.training.step", full)
    _, end = launched()
    assert end.state == State.out_of_memory
    assert end.reason is not None
    assert end.reason.startswith("CUDA out of memory")


def test_the_doctor_finds_no_fault(
    call: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(examination, "MEMORISE_ITERATIONS", 200)
    monkeypatch.setattr(examination, "SECONDS", 2.0)  # it need not see the network memorise
    monkeypatch.setattr(examination, "check_export", lambda _: iter(()))  # traced on the CPU
    assert call(doctor, "arch=segnet_basic", "arch.width=4", "protocol.image_size=[32,48]") == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines[:-1]} <= {"good", "open"}
    assert len(lines) == 9


class SmallCalibration(Calibration):
    """The same pieces of work at sizes that a CPU does at once."""

    def __init__(self, config: Any, device: torch.device) -> None:
        self.device = device
        self.images = torch.randn(1, 64, 8, 8, device=device)
        self.kernel = torch.randn(64, 64, 7, 7, device=device)
        self.matrix = torch.randn(64, 64, device=device)
        self.source = torch.zeros(1000, device=device)
        self.target = torch.zeros_like(self.source)


class InThisProcess:
    """A measuring process that is none, in the place of `MeasuringProcess`."""

    def __init__(self, config: Any, log: Path, **how: Any) -> None:
        self.worker = worker.Worker(config)

    def __enter__(self) -> "InThisProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return

    def ask(self, task: str, **arguments: Any) -> dict[str, Any]:
        answered = json.loads(json.dumps(worker.answer(self.worker, task, **arguments)))
        assert "answer" in answered, answered
        answer: dict[str, Any] = answered["answer"]
        return answer


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> RecordedDriver:
    """NVML as recorded, which knows the stand-in."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return RecordedDriver(monkeypatch, f"GPU-{UUID}")


@pytest.fixture
def _small_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (measurement, turns):
        monkeypatch.setattr(module, "MeasuringProcess", InThisProcess)
    monkeypatch.setattr(worker, "Calibration", SmallCalibration)
    monkeypatch.setattr(worker, "ENERGY_SECONDS", 0.01)
    monkeypatch.setattr(check, "REPEATS", 3)
    monkeypatch.setattr(check, "_convolution", lambda device, amount: check.KnownWork(
        lambda: [torch.zeros(9, 9, device=device) for _ in range(amount)], device
    ))  # fmt: skip


@pytest.mark.usefixtures("driver", "_small_measurements")
def test_a_contestant_is_measured_by_the_devices_clock_and_sources(
    tiny_config: Compose,
) -> None:
    config = tiny_config(
        "cost.measure=true", "cost.samples=3", "cost.seconds=1", "cost.training_batch=2",
        "protocol.deterministic=false",
    )  # fmt: skip
    (path,) = contest.measure([config])
    record = records.read_json(path)
    assert record["state"] == "measured"
    assert record["environment"]["device_type"] == "cuda"
    assert record["time"]["clock"] == "device"
    assert set(record["time"]["clocks"]) == {"device", "graph", "wall"}
    readings = record["memory"]["training"]["readings"]
    assert 0 < readings["allocated_bytes"] <= readings["reserved_bytes"]
    assert record["memory"]["inference"]["readings"]["allocated_bytes"] > 0
    assert record["time"]["card"][0]["sm_clock_mhz"] == 1410
    assert record["energy"]["joules_per_image"] == 0  # the recorded counter stands still


@pytest.mark.usefixtures("driver", "_small_measurements")
def test_the_machine_check_sees_its_known_allocation(
    call: Callable[..., int], gpu: Gpu, capsys: pytest.CaptureFixture[str]
) -> None:
    call(check_cost, "check")
    verdicts = {
        line[8:35].strip(): line[:7].strip() for line in capsys.readouterr().out.splitlines()
    }
    assert verdicts["memory, allocated_bytes"] == "ok"
    assert verdicts["known time"] == "ok"
    assert verdicts["other processes"] == "ok"
    assert gpu.allocated_bytes == 0
