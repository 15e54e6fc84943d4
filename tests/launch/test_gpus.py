"""GPUs of a sweep: each job beside others has its own, or the sweep is refused before it begins."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.config import Config
from bench.launch import gpus
from bench.launch.gpus import gpus_needed, gpus_of_own, jobs_at_a_time, lay_out_gpus
from bench.launch.sweep_plan import Job

Compose = Callable[..., Config]
JOBLIB = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
LOCAL = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher"
SLURM = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"


@pytest.fixture
def jobs(tiny_config: Compose) -> Callable[..., list[Job]]:
    """Three jobs, with overrides."""

    def make(*overrides: str) -> list[Job]:
        config = tiny_config(*overrides)
        return [Job(number, "Net", number, {}, config) for number in range(3)]

    return make


@pytest.fixture
def laid_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, jobs: Callable[..., list[Job]]
) -> Callable[..., Path]:
    """Lays out a number of GPUs for jobs at a time; returns their folder."""

    def make(count: int, at_a_time: int, *overrides: str, visible: str | None = None) -> Path:
        monkeypatch.setattr(gpus, "count_gpus", lambda: count)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        lay_out_gpus(tmp_path / "gpus", jobs(*overrides), at_a_time)
        return tmp_path / "gpus"

    return make


def seen() -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_jobs_beside_each_other_have_different_gpus(laid_out: Callable[..., Path]) -> None:
    folder = laid_out(3, 2)
    with gpus_of_own(folder, 1):
        assert seen() == "0"
        with gpus_of_own(folder, 1):  # as another process would
            assert seen() == "1"
        assert seen() == "0"
    assert seen() is None
    with gpus_of_own(folder, 1):
        assert seen() == "0"  # put back


def test_a_run_of_several_processes_has_a_gpu_for_each(laid_out: Callable[..., Path]) -> None:
    folder = laid_out(4, 2, "processes=2")
    with gpus_of_own(folder, 2):
        assert seen() == "0,1"
        with gpus_of_own(folder, 2):
            assert seen() == "2,3"


def test_only_the_gpus_that_the_user_showed_are_given(laid_out: Callable[..., Path]) -> None:
    folder = laid_out(2, 2, visible="5,GPU-8f3e")
    with gpus_of_own(folder, 1):
        assert seen() == "5"
        with gpus_of_own(folder, 1):
            assert seen() == "GPU-8f3e"
    assert seen() == "5,GPU-8f3e"


def test_a_job_that_raises_puts_its_gpu_back(laid_out: Callable[..., Path]) -> None:
    folder = laid_out(2, 2)
    with pytest.raises(RuntimeError), gpus_of_own(folder, 1):
        raise RuntimeError
    assert sorted(path.name for path in folder.iterdir()) == ["0", "1"]


def test_a_gpu_has_one_job_at_a_time(laid_out: Callable[..., Path]) -> None:
    """Eight jobs in a hurry, three at a time: what a job has taken no other one takes."""
    folder, held = laid_out(3, 3), list[str]()

    def job(_: int) -> None:
        (taken,) = gpus._taken_gpus(folder, 1)
        assert taken.name not in held
        held.append(taken.name)
        held.remove(taken.name)
        taken.rename(taken.with_suffix(""))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(job, range(300)))


@pytest.mark.parametrize(
    ("count", "at_a_time", "overrides", "remedy"),
    [
        (2, 3, [], r"3 jobs at a time need 3 GPUs and torch finds 2; .*n_jobs=2"),
        (1, 2, [], r"2 jobs at a time need 2 GPUs and torch finds 1; give hydra/launcher=basic"),
        (4, 3, ["processes=2"], r"3 jobs at a time need 6 GPUs and torch finds 4; .*n_jobs=2"),
    ],
)
def test_more_jobs_than_gpus_are_refused(
    laid_out: Callable[..., Path], count: int, at_a_time: int, overrides: list[str], remedy: str
) -> None:
    with pytest.raises(ValueError, match=remedy):
        laid_out(count, at_a_time, *overrides)


@pytest.mark.parametrize(
    ("count", "at_a_time", "overrides"),
    [(0, 3, []), (2, 1, []), (2, 3, ["device=cpu"]), (2, 3, ["device=cuda:1"])],
    ids=["no GPU", "one at a time", "on the CPU", "the user named one"],
)
def test_nothing_is_shared_out_where_nothing_can_clash(
    laid_out: Callable[..., Path], count: int, at_a_time: int, overrides: list[str]
) -> None:
    folder = laid_out(count, at_a_time, *overrides)
    assert not folder.exists()
    with gpus_of_own(folder, 1):
        assert seen() is None


def test_a_run_on_the_cpu_takes_no_gpu(laid_out: Callable[..., Path]) -> None:
    assert (gpus_needed("cpu", 2), gpus_needed("auto", 2)) == (0, 2)
    with gpus_of_own(laid_out(2, 2), 0):
        assert seen() is None


@pytest.mark.parametrize(
    ("target", "n_jobs", "expected"),
    [(JOBLIB, 2, 2), (JOBLIB, 9, 5), (LOCAL, None, 5), (SLURM, None, 1), ("x.BasicLauncher", 0, 1)],
)
def test_launchers_run_so_many_jobs_beside_each_other(
    target: str, n_jobs: int | None, expected: int
) -> None:
    assert jobs_at_a_time(SimpleNamespace(_target_=target, n_jobs=n_jobs), 5) == expected


def test_gpus_are_counted_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.count_gpus() == 0
