"""A GPU of its own for every job of a sweep whose jobs run beside each other on this machine.

The process that starts the sweep lays out one file for each GPU; a job takes as many as it needs,
names them in CUDA_VISIBLE_DEVICES, and puts them back. This file imports no torch.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import records
from bench.launch.sweep_plan import Job

VISIBLE = "CUDA_VISIBLE_DEVICES"


def count_gpus() -> int:
    """Asks torch, in a process of its own, how many GPUs there are."""
    asked = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
    answer = subprocess.run(
        [sys.executable, "-c", asked], stdout=subprocess.PIPE, text=True, check=True
    )
    return int(answer.stdout.split()[-1])


def gpus_needed(device: str, processes: int) -> int:
    """Returns how many GPUs of its own a run needs; a device with an index is the user's choice."""
    return processes if device in {"auto", "cuda"} else 0


def jobs_at_a_time(launcher: Any, jobs: int) -> int:
    """Returns how many jobs a launcher runs beside each other on this machine.

    Args:
        launcher: its configuration.
        jobs: how many there are.
    """
    target = str(launcher._target_)
    if "joblib" in target:
        import joblib  # noqa: PLC0415 - comes with that launcher

        return min(jobs, int(joblib.effective_n_jobs(launcher.n_jobs)))
    return jobs if target.endswith("LocalLauncher") else 1


def lay_out_gpus(folder: Path, jobs: Sequence[Job], at_a_time: int) -> None:
    """Makes a file for each GPU, where there are any and several jobs could meet on one.

    Args:
        folder: does not exist yet.
        jobs: of the sweep.
        at_a_time: how many of them run beside each other.

    Raises:
        ValueError: there are fewer GPUs than they need together.
    """
    configs = [job.config for job in jobs if job.config is not None]
    each = max((gpus_needed(c.device, c.processes) for c in configs), default=0)
    if at_a_time < 2 or each == 0 or (count := count_gpus()) == 0:
        return
    if at_a_time * each > count:
        fits = count // each
        remedy = f"hydra.launcher.n_jobs={fits}" if fits > 1 else "hydra/launcher=basic"
        raise ValueError(
            f"{at_a_time} jobs at a time need {at_a_time * each} GPUs and torch finds {count}; "
            f"give {remedy}"
        )
    given = [name for name in os.environ.get(VISIBLE, "").split(",") if name]
    names = given or [str(number) for number in range(count)]
    with records.writing(folder):
        folder.mkdir()
        for number, name in enumerate(names[:count]):
            (folder / str(number)).write_text(name)


@contextlib.contextmanager
def gpus_of_own(folder: Path, count: int) -> Iterator[None]:
    """Takes GPUs from those laid out, so that processes started meanwhile see no others.

    A job that is killed does not put them back; joblib then ends the sweep.
    """
    if count == 0 or not folder.is_dir():  # no GPU, or one job at a time
        yield
        return
    taken = _taken_gpus(folder, count)
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = ",".join(path.read_text() for path in taken)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before
        for path in taken:
            path.rename(path.with_suffix(""))


def _taken_gpus(folder: Path, count: int) -> list[Path]:
    """Renames files of free GPUs, which only one process can; the lowest numbers first."""
    taken: list[Path] = []
    while len(taken) < count:  # what another job puts back meanwhile is seen the next time
        free = sorted((p for p in folder.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
        for path in free[: count - len(taken)]:
            with contextlib.suppress(FileNotFoundError):  # another job was faster
                taken.append(path.rename(path.with_suffix(".taken")))
    return taken
