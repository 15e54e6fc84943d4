"""The plan of a sweep, what it tells while it goes on, and what it refuses."""

import os
import shutil
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
from bench.command_line import compose_config
from bench.config import Config, write_config
from bench.launch.sweep_plan import Job, announce, check_data, check_disk, labelled, model_bytes
from bench.launch.sweep_progress import JobFile, Progress, Standing, seconds_left
from bench.losses import append_losses
from bench.records import End, State
from bench.typed import plain

Compose = Callable[..., Config]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def planned(compose: Compose, *combinations: str) -> list[Job]:
    """Plans one job for each string of overrides."""
    jobs = []
    for number, text in enumerate(combinations):
        overrides = dict(pair.split("=") for pair in text.split())
        config = compose(*text.split())
        jobs.append(Job(number, config.arch["name"], config.seed, overrides, config))
    return labelled(jobs)


def begin(job: Job, iterations: int = 0) -> Path:
    """Makes a run's folder as a start leaves it that trained so far."""
    assert job.folder is not None
    job.folder.mkdir(parents=True)
    write_config(job.folder, job.config)
    if iterations:
        append_losses(job.folder, 1, [1.0] * iterations, 2.0)
    return job.folder


def finish(job: Job) -> None:
    """Records an end after the planned iterations, with a perfect evaluation of two classes."""
    folder = begin(job)
    end = {"state": "finished", "iteration": 6, "max_iterations": 6, "reason": None}
    records.write_json(folder / "end.json", end)
    confusion = np.zeros((1, 12, 12), np.int32)
    confusion[0, 0, 0], confusion[0, 1, 1], confusion[0, 1, 0] = 50, 25, 25
    summary = {"split": "test", "iteration": 6, "images": 1}
    records.write_evaluation(folder, summary, {"confusion": confusion})


def test_a_sweep_says_how_large_it_is_and_how_much_is_finished(
    tiny_config: Compose, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = planned(
        tiny_config,
        *(f"seed={seed} arch.width={width} threads=1" for seed in (0, 1) for width in (4, 5, 6)),
    )
    finish(jobs[1])
    announce(jobs)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "6 runs (2 seed x 3 arch.width), 1 finished already"
    assert second.startswith("up to 1 MB of weights; ")
    assert [job.label for job in jobs[1:3]] == [
        "SegNet-Basic, seed 0, width=5",
        "SegNet-Basic, seed 0, width=6",
    ]


def test_weights_are_counted_on_no_device_and_each_network_once(tiny_config: Compose) -> None:
    jobs = planned(
        tiny_config, "seed=0 arch.width=4", "seed=1 arch.width=4", "seed=0 arch.width=64"
    )
    jobs.append(Job(3, "wrong", 0, {}, tiny_config("arch._target_=json.dumps")))
    sizes = model_bytes(jobs)
    assert sizes[0] == sizes[1]
    assert (sizes[2], sizes[3]) == (4 * 1_416_064, None)  # SegNet-Basic's parameters, 4 bytes each


def test_every_network_of_the_paper_is_counted() -> None:
    names = ("segnet", "deeplab_largefov", "fcn", "deconvnet")
    configs = [compose_config(["dataset=synthetic", f"arch={name}"]) for name in names]
    sizes = model_bytes([Job(i, "", 0, {}, config) for i, config in enumerate(configs)])
    megabytes = [round((size or 0) / 1e6) for size in sizes.values()]
    assert megabytes == [118, 82, 537, 877]  # Table 6: 117, 83, 539, 877


@pytest.mark.parametrize(("free", "refused"), [(64_000_000, True), (66_000_000, False)])
def test_a_disk_that_is_too_small_is_refused_beforehand(
    tiny_config: Compose, monkeypatch: pytest.MonkeyPatch, free: int, refused: bool
) -> None:
    """Two runs of 5 MB: four times each stay, five times one more while training: 65 MB."""
    jobs = planned(tiny_config, "seed=0", "seed=1", "seed=2")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, free))
    sizes: dict[int, int | None] = {0: 5_000_000, 1: 5_000_000, 2: None}
    if refused:
        with pytest.raises(ValueError, match=r"has 64 MB free and this sweep needs up to 65 MB;"):
            check_disk(Path("/nowhere/runs"), jobs, sizes)
    else:
        text = check_disk(Path("/nowhere/runs"), jobs, sizes)
        assert text == "up to 65 MB of weights (without 1 uncounted); 66 MB are free"
    (begin(jobs[0]) / "checkpoint.pt").write_bytes(b"0" * 2_000_000)  # is there already
    assert check_disk(Path("/nowhere/runs"), jobs, sizes).startswith("up to 63 MB")


def test_adamw_keeps_one_number_more_for_each_weight(tiny_config: Compose) -> None:
    """A run of 1 MB: 5 MB stay, and 7 MB more while it trains."""
    jobs = planned(tiny_config, "seed=0 protocol.optimiser=adamw")
    assert check_disk(Path("/"), jobs, {0: 1_000_000}).startswith("up to 12 MB")


def test_data_that_no_run_would_find_is_said_once_beforehand(tiny_config: Compose) -> None:
    """Where one run has its data, the others say for themselves that they have not."""
    nowhere = [f"seed={seed} dataset.root=/nowhere" for seed in (0, 1)]
    with pytest.raises(ValueError, match=r"dataset\.root is /nowhere, .* all 2 runs would fail"):
        announce(planned(tiny_config, *nowhere))
    check_data([*planned(tiny_config, *nowhere), *planned(tiny_config, "seed=2")])
    check_data(planned(tiny_config, "seed=0", "seed=1"))


@pytest.mark.parametrize(
    ("standings", "at_once", "expected"),
    [
        ([Standing("a", 10)], 1, None),
        ([Standing("a", 0, 2.0), Standing("a", 10)], 1, 20),
        ([Standing("a", 5, 2.0), Standing("a", 5, 4.0)], 1, 30),
        ([Standing("a", 0, 2.0), Standing("b", 0, 6.0), Standing("c", 10)], 1, 40),
        ([Standing("a", 10, 2.0), Standing("a", 10, 2.0)], 2, 20),
        ([Standing("a", 10, 2.0), Standing("a", 0, 2.0)], 2, 20),
        ([Standing("a", 0, 2.0)], 1, 0),
    ],
)
def test_the_time_left_goes_by_the_same_network_or_the_mean(
    standings: list[Standing], at_once: int, expected: float | None
) -> None:
    assert seconds_left(standings, at_once) == expected


def test_a_line_for_each_run_that_ended(
    tiny_config: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = planned(tiny_config, "seed=0", "seed=1", "seed=2", "seed=3")
    finish(jobs[3])  # before this sweep
    folder = begin(jobs[0], iterations=2)
    (tmp_path / "jobs").mkdir()
    progress = Progress(tmp_path, jobs)

    def leave(number: int, end: End | None = None, **content: Any) -> None:
        file = JobFile("here", 1, 0.0, end, **content)
        records.write_json(tmp_path / "jobs" / f"{number}.json", plain(file))

    leave(0)
    now = records.Progress(time.time(), phase="training", done=3, total=6, seconds=60.0)
    records.write_json(folder / "progress.json", plain(now))
    progress.report()
    # Of the first run 3 iterations are left, of two others 6 each, a minute for each.
    assert (
        capsys.readouterr().out
        == "about 15 min left for the whole sweep, by its first iterations\n"
    )
    shutil.rmtree(folder)
    finish(jobs[0])
    leave(0, End(State.finished, iteration=6), folder=str(folder), seconds=400.0)
    progress.report()
    progress.report()
    assert capsys.readouterr().out == (
        "SegNet-Basic, seed 0: finished, G 75.0, mIoU 10.6, 7 min; 2 of 4, about 20 min left\n"
    )
    leave(1, End(State.out_of_memory, "no memory " * 20), seconds=4.0)
    progress.report()
    line = capsys.readouterr().out
    assert line.startswith("SegNet-Basic, seed 1: out of memory, no memory no memory")
    assert line.endswith("..., 4 s; 3 of 4, about 10 min left\n")
    assert len(line) == 101


def test_a_sweep_of_one_network_and_a_failing_configuration(tmp_path: Path) -> None:
    """A job that cannot be resolved is told by itself, and the others run."""
    answer = subprocess.run(
        [sys.executable, "-m", "bench", "-m", *TINY, f"runs={tmp_path}", "seed=-1,0"],
        capture_output=True, text=True, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert answer.returncode == 1
    assert answer.stdout.startswith("2 runs (2 seed)\nSegNet-Basic, seed -1: failed, seed is -1;")
    assert "SegNet-Basic, seed 0: finished, G " in answer.stdout
    assert answer.stderr.splitlines()[-2:] == [
        "1 of 2 runs did not finish",
        "SegNet-Basic, seed -1 failed: seed is -1; it must be 0 or more",
    ]


def test_a_dry_run_says_of_each_run_and_of_all_how_long_they_take(
    tiny_config: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = planned(tiny_config, "seed=0", "seed=1")
    (tmp_path / "jobs").mkdir()
    progress = Progress(tmp_path, jobs)
    progress.start()
    for number, seconds in enumerate((600.0, 1200.0)):
        end = End(State.finished, iteration=0, estimated_seconds=seconds)
        file = JobFile("here", 1, 0.0, end, seconds=3.0)
        records.write_json(tmp_path / "jobs" / f"{number}.json", plain(file))
        progress.report()
    progress.finish()
    assert capsys.readouterr().out == (
        "SegNet-Basic, seed 0: about 10 min; 1 of 2\n"
        "SegNet-Basic, seed 1: about 20 min; 2 of 2\n"
        "about 30 min of training in total, one run after another; none was started\n"
    )


def test_a_dry_run_of_a_sweep_goes_through(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "bench", "-m", *TINY, f"runs={tmp_path}", "seed=0,1",
         "dry_run=true"],
        capture_output=True, text=True, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.count("would run in") == 2
    assert "SegNet-Basic, seed 1: about " in answer.stdout
    assert "of training in total, one run after another" in answer.stdout.splitlines()[-1]
    assert not records.run_folders(tmp_path)


def test_a_users_own_network_is_planned_too(tmp_path: Path) -> None:
    own = tmp_path / "conf"
    (own / "arch").mkdir(parents=True)
    (own / "arch" / "thin.yaml").write_text("_target_: thin.Thin\n")
    (own / "thin.py").write_text(
        "import torch\nclass Thin(torch.nn.Conv2d):\n"
        "    def __init__(self, num_classes):\n        super().__init__(3, num_classes, 400)\n"
    )
    tiny = [text for text in TINY if not text.startswith("arch")]
    answer = subprocess.run(
        [sys.executable, "-m", "bench", "-m", "--config-dir", str(own), "arch=thin", *tiny,
         f"runs={tmp_path}/runs", "seed=0,1", "protocol.batch_size=13"],
        capture_output=True, text=True, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    first, second, *others = answer.stdout.splitlines()
    told = [line for line in others if line.startswith("thin")]
    assert first == "2 runs (2 seed)"
    assert second.startswith("up to 275 MB of weights; ")  # 13 times 5.28 M parameters of 4 bytes
    assert told[0].startswith("thin, seed 0: failed, protocol.batch_size is 13, but")
    assert told[1].startswith("thin, seed 1: failed")
    assert answer.stderr.startswith("2 of 2 runs did not finish\nthin, seed 0 failed: ")


def test_a_launcher_that_cannot_start_is_told_before_any_job(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "bench", "-m", *TINY, f"runs={tmp_path}", "seed=0,1",
         "hydra/launcher=joblib", "hydra.launcher.n_jobs=0"],
        capture_output=True, text=True, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert (answer.returncode, answer.stderr) == (1, "n_jobs == 0 in Parallel has no meaning\n")
    assert not records.run_folders(tmp_path)


def test_a_limit_that_leaves_a_class_out_is_told_once_before_the_sweep(
    tiny_config: Compose,
) -> None:
    few = "dataset.limit=1 protocol.class_weights=median_frequency"
    message = (
        r"protocol\.class_weights is median_frequency, but class '.*' has no pixel in the first 1 "
        r"training labels, .*; raise dataset\.limit, set protocol\.class_weights=none, or give"
    )
    with pytest.raises(ValueError, match=message):
        announce(planned(tiny_config, f"{few} seed=0", f"{few} seed=1"))
    none = "dataset.limit=1 protocol.class_weights=none"
    announce(planned(tiny_config, f"{none} seed=0", f"{none} seed=1"))
