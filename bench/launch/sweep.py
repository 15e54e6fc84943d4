"""A sweep: what it needs before it starts, and how each of its jobs ended, whatever the launcher.

Jobs run one after another in this process, or in other ones under joblib or submitit. Each leaves
SWEEP/jobs/N.json, which the launching process reads to report every job. It imports no torch.
"""

import contextlib
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from bench import records
from bench.composition import resolve
from bench.launch.gpus import gpus_of_own, jobs_at_a_time, lay_out_gpus
from bench.launch.launch import FORWARDED, Outcome
from bench.launch.sweep_plan import Job, announce, labelled
from bench.launch.sweep_progress import JobFile, Progress, job_files
from bench.records import End, State
from bench.typed import plain

GPUS = "gpus"  # the folder of GPUs that no job has
STOP = "stop"  # the file that keeps jobs from starting after a sweep was asked to stop

started: list["Sweep"] = []  # the sweeps that this process started: of trials, then of the runs


class Sweep:
    """The jobs of a sweep in the process that started it."""

    def __init__(self, folder: Path, jobs: list[Job]) -> None:
        self.folder, self.jobs = folder, jobs
        self.left_alone = False  # nobody waits for its jobs any more; those of a queue go on
        self.progress = Progress(folder, jobs)
        self._handlers: dict[int, Any] = {}
        self._outcomes: list[tuple[str, Outcome]] | None = None  # until it is finished

    def outcomes(self) -> list[tuple[str, Outcome]]:
        """Returns label and outcome of those jobs that began, once the launcher has returned.

        A job whose process is gone without having said how it ended was killed.
        """
        return self._outcomes if self._outcomes is not None else self._read_outcomes()

    def _read_outcomes(self) -> list[tuple[str, Outcome]]:
        files = job_files(self.folder)
        labels = {job.number: job.label for job in self.jobs}
        folders = {job.number: job.folder for job in self.jobs}
        trials = {job.number for job in self.jobs if job.is_trial}
        outcomes = []
        for number, file in sorted(files.items()):
            if file.end is not None:
                outcome = Outcome(file.end, file.folder)
            elif self.left_alone:
                continue
            else:
                reason = f"its process ended without a word; see {self.folder}"
                folder = folders.get(number)
                outcome = Outcome(End(State.killed, reason), str(folder) if folder else None)
            if number in trials:
                outcome = _of_trial(outcome)
            outcomes.append((labels.get(number, f"job {number}"), outcome))
        return outcomes

    def stopped(self) -> bool:
        """Says whether the user stopped the sweep, or waiting for it."""
        return self.left_alone or (self.folder / STOP).exists()

    def pass_signals_on(self) -> None:
        """Passes stop signals on to the jobs of workers, which finish with a checkpoint."""

        def stop(number: int, frame: FrameType | None) -> None:
            (self.folder / STOP).touch()
            print("stopping after checkpoints; Ctrl-C to stop at once", file=sys.stderr)
            for job in job_files(self.folder).values():
                if job.end is None and job.host == socket.gethostname():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(job.pid, number)

        self._handlers = {number: signal.signal(number, stop) for number in FORWARDED}

    def finish(self) -> None:
        """Reports the remaining runs and restores the signal handlers; once is enough.

        The sweep that follows one of trials takes its folder over.
        """
        if self._outcomes is not None:
            return
        self.progress.finish()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._outcomes = self._read_outcomes()


def _of_trial(outcome: Outcome) -> Outcome:
    """Takes divergence for the result of a trial that it is; no table has a row for a trial."""
    end = outcome.end
    if end.state == State.diverged:
        end = replace(end, state=State.finished)
    return Outcome(end)


def begin(config: DictConfig, jobs: list[Job]) -> Sweep:
    """Prepares a sweep's folder and starts telling how it goes on.

    Raises:
        ValueError: it cannot work.
    """
    folder = Path(config.hydra.sweep.dir).absolute()
    announce(jobs)
    with records.writing(folder):
        shutil.rmtree(folder / "jobs", ignore_errors=True)  # of an earlier one of this name
        (folder / STOP).unlink(missing_ok=True)
        shutil.rmtree(folder / GPUS, ignore_errors=True)
        (folder / "jobs").mkdir(parents=True)
    lay_out_gpus(folder / GPUS, jobs, jobs_at_a_time(config.hydra.launcher, len(jobs)))
    sweep = Sweep(folder, jobs)
    started.append(sweep)
    if "joblib" in str(config.hydra.launcher._target_):
        sweep.pass_signals_on()
    sweep.progress.start()
    return sweep


def plan(config: DictConfig, further: Sequence[str] = ()) -> list[Job]:
    """Lists the jobs that Hydra's own sweeper will make; other sweepers choose as they go.

    Args:
        config: composed for the whole sweep.
        further: overrides beside those of the command line.

    Raises:
        HydraException, OmegaConfBaseException: a job's configuration cannot be composed.
    """
    if not str(config.hydra.sweeper._target_).endswith("BasicSweeper"):
        return []
    loader = GlobalHydra.instance().config_loader()
    swept = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    parser = OverridesParser.create(config_loader=loader)
    overrides = parser.parse_overrides([*swept, *config.hydra.overrides.task, *further])
    (combinations,) = BasicSweeper.split_arguments(overrides, None)
    jobs = []
    for number, combination in enumerate(combinations):
        cfg = loader.load_sweep_config(config, list(combination))
        try:
            resolved = resolve(cfg, cfg.hydra.runtime.choices.get("arch"))
        except ValueError:  # this job will fail and say so itself
            resolved = None
        pairs = {key: value for key, _, value in (text.partition("=") for text in combination)}
        jobs.append(Job(number, str(cfg.arch.name), int(cfg.seed), pairs, resolved))
    return labelled(jobs)


def take_part(execute: Callable[[], Outcome], gpus: int) -> None:
    """Executes one job of a sweep, and leaves how it ended in the sweep's folder.

    Args:
        execute: does it.
        gpus: how many GPUs it is to have for itself where several jobs run at a time.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.sweep.dir).absolute()
    if (folder / STOP).exists():
        return
    path = folder / "jobs" / f"{hydra.job.num}.json"
    launcher, began = str(hydra.launcher._target_), time.time()
    file = JobFile(socket.gethostname(), os.getpid(), began)
    _leave(path, file)
    with contextlib.ExitStack() as stack:
        if not is_basic(launcher):
            stack.enter_context(_apart(path.with_suffix(".log"), launcher))
        received = stack.enter_context(_received_signals())
        try:
            with gpus_of_own(folder / GPUS, gpus):
                outcome = execute()
        except KeyboardInterrupt:  # before the run's own process took signals over
            outcome = Outcome(End(State.interrupted, "stopped by a signal before it began"))
        end, signals = outcome.end, received()
        if end.state == State.interrupted and "submitit" in launcher:
            end = _requeued(end, signals)
    seconds = round(time.time() - began, 1)
    _leave(path, replace(file, end=end, folder=outcome.folder, seconds=seconds))
    if is_basic(launcher):
        # A signal stops the sweep even if it came too late to interrupt this run.
        if end.state == State.interrupted or any(n in FORWARDED for n in signals):
            (folder / STOP).touch()
        started[-1].progress.report()


def _leave(path: Path, file: JobFile) -> None:
    """Writes how a job stands; a disk that is full ends neither the job nor the sweep."""
    try:
        records.write_json(path, plain(file))
    except ValueError as error:
        print(f"{file.end or 'begun'}; {error}", file=sys.stderr)


def is_basic(launcher: str) -> bool:
    """Says whether a launcher runs its jobs in this process, one after another."""
    return launcher.endswith("BasicLauncher")


@contextlib.contextmanager
def _apart(log: Path, launcher: str) -> Iterator[None]:
    """Keeps a job of a worker process out of the terminal: its output, and Ctrl-C.

    A job under joblib is told by the process that started it when to stop, once.
    """
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    if "joblib" in launcher:
        for number in FORWARDED:
            signal.signal(number, signal.default_int_handler)
    with log.open("w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        yield


@contextlib.contextmanager
def _received_signals() -> Iterator[Callable[[], bytes]]:
    """Gives a function that returns the numbers of the signals that came, whoever handled them."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def received() -> bytes:
        try:
            return os.read(read, 4096)
        except BlockingIOError:
            return b""

    try:
        yield received
    finally:
        signal.set_wakeup_fd(before)
        os.close(read)
        os.close(write)


def _requeued(end: End, received: bytes) -> End:
    """Has submitit requeue a job that its time limit or a preemption interrupted.

    The run took the signal for itself, to save a checkpoint; now submitit gets it, and leaves this
    process if the job is to come back.
    """
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        if number in received and callable(signal.getsignal(number)):
            try:
                signal.raise_signal(number)
            except RuntimeError as error:  # submitit's word for: not requeued
                return replace(end, reason=f"{end.reason} ({error})")
    return end
