"""How far a sweep is: a line for each run that ended, and about how long the rest will take.

A thread of the process that started the sweep reads what jobs and runs leave on the disk, so the
launcher does not matter. This file imports no torch.
"""

import json
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bench import records
from bench.config import fingerprint, read_config
from bench.launch.sweep_plan import Job
from bench.metrics.regions import region_scores
from bench.records import End, State
from bench.selection import selected_iteration
from bench.tuning.schema import budget
from bench.typed import typed
from bench.words import duration, figures

LOOK_SECONDS = 1.0
COLUMNS = 100


@dataclass(frozen=True)
class JobFile:
    """What a job of a sweep leaves in SWEEP/jobs: where it runs, and how it ended once it has."""

    host: str
    pid: int
    began: float  # seconds since the epoch
    end: End | None = None
    folder: str | None = None  # of the run
    seconds: float = 0.0  # from its beginning to its end


def job_files(folder: Path) -> dict[int, JobFile]:
    """Reads what the jobs of a sweep have left, by job number."""
    paths = (folder / "jobs").glob("[0-9]*.json")
    return {int(path.stem): typed(JobFile, records.read_json(path)) for path in paths}


@dataclass(frozen=True)
class Standing:
    """Where one run of a sweep is: iterations left, and its seconds for each, where known."""

    name: str
    left: int
    seconds: float | None = None  # of an iteration


def seconds_left(standings: Sequence[Standing], at_once: int) -> float | None:
    """Estimates how long the rest of a sweep takes; None while no speed is known.

    A network that was not seen yet counts as the mean of those that were.

    Args:
        standings: of all runs.
        at_once: how many train at the same time.
    """
    seen: dict[str, list[float]] = {}
    for standing in standings:
        if standing.seconds is not None:
            seen.setdefault(standing.name, []).append(standing.seconds)
    if not seen:
        return None
    rates = {name: sum(values) / len(values) for name, values in seen.items()}
    mean = sum(rates.values()) / len(rates)
    due = [standing for standing in standings if standing.left > 0]
    total = sum(standing.left * rates.get(standing.name, mean) for standing in due)
    return total / max(1, min(at_once, len(due)))


def seconds_of_trials(jobs: Sequence[Job], estimates: Mapping[int, float]) -> float:
    """Estimates how long the trials take that decide the values of planned runs.

    All seeds of a network share its trials, whose iterations take as long as those of the run.

    Args:
        jobs: of the runs.
        estimates: seconds of training by the number of a job.
    """
    networks: dict[str, float] = {}
    for job in (job for job in jobs if job.number in estimates):
        config = job.config
        if config is None or config.tuning is None or job.is_trial:
            continue
        each = estimates[job.number] / config.max_iterations
        network = json.dumps([fingerprint(config), config.arch], sort_keys=True)
        networks[network] = each * budget(config.tuning, config.max_iterations)
    return sum(networks.values())


class Progress:
    """Tells of a sweep as it goes on."""

    def __init__(self, folder: Path, jobs: Sequence[Job]) -> None:
        self.folder, self.jobs = folder, jobs
        due = [job for job in jobs if not job.finished()]
        self._told = {job.number for job in jobs} - {job.number for job in due}
        self._before = {job.number: job.trained() for job in due}
        self._standings = {
            job.number: Standing(job.name, job.iterations() - self._before[job.number])
            for job in due
        }
        self._began, self._at_once, self._estimated = time.time(), 0, False
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sweep", daemon=True)

    def start(self) -> None:
        """Starts telling."""
        self._thread.start()

    def finish(self) -> None:
        """Stops telling, after everything has been told."""
        self._over.set()
        self._thread.join()
        self.report()
        ends = {n: file.end for n, file in job_files(self.folder).items() if file.end is not None}
        estimates = {
            number: end.estimated_seconds
            for number, end in ends.items()
            if end.estimated_seconds is not None
        }
        if estimates:
            trials = seconds_of_trials(self.jobs, estimates)
            total = duration(sum(estimates.values()) + trials)
            of_trials = f" ({duration(trials)} of it trials)" if trials else ""
            _say(
                f"about {total} of training in total{of_trials}, one run after another; none was "
                "started"
            )

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self.report()

    def report(self) -> None:
        """Tells of runs that ended since the last time, and of the first estimate."""
        with self._lock:
            files = job_files(self.folder)
            running = [n for n, file in files.items() if file.end is None]
            self._at_once = max(self._at_once, len(running))
            for job in self.jobs:
                if job.number in running:
                    self._look_at(job)
                elif job.number in files and job.number not in self._told:
                    self._tell(job, files[job.number])
            left = seconds_left(list(self._standings.values()), self._at_once)
            if left is not None and not self._estimated:
                self._estimated = True
                _say(f"about {duration(left)} left for the whole sweep, by its first iterations")

    def _look_at(self, job: Job) -> None:
        """Learns from a running run how far it is and how fast."""
        if job.folder is None:
            return
        progress = records.read_progress(job.folder)
        if progress and progress.phase == "training" and progress.time > self._began:
            left = job.iterations() - progress.done
            self._standings[job.number] = Standing(job.name, left, progress.seconds)

    def _tell(self, job: Job, ended: JobFile) -> None:
        """Prints the line of a run that ended."""
        assert ended.end is not None
        self._told.add(job.number)
        self._estimated = True  # from here on every line has one
        end, finished = ended.end, ended.end.state == State.finished
        done = (end.iteration or 0) - self._before[job.number]
        whole = ended.seconds / done if finished and done > 0 else None
        self._standings[job.number] = Standing(job.name, 0, whole)
        if end.estimated_seconds is not None:  # of a dry run
            time_needed = duration(end.estimated_seconds)
            _say(f"{job.label}: about {time_needed}; {len(self._told)} of {len(self.jobs)}")
            return
        head = f"{job.label}: {end.state.replace('_', ' ')}"
        tail = f"{duration(ended.seconds)}; {len(self._told)} of {len(self.jobs)}"
        left = seconds_left(list(self._standings.values()), self._at_once)
        if left:
            tail += f", about {duration(left)} left"
        result = _scores(Path(ended.folder)) if finished and ended.folder else end.reason
        room = COLUMNS - len(f"{head}, , {tail}")
        _say(", ".join(text for text in (head, _cut(result or "", room), tail) if text))


def _scores(folder: Path) -> str:
    """Returns the scores of a run's best, or else last, evaluation of its first split."""
    split = read_config(folder).protocol.evaluation_splits[0]
    selected = selected_iteration(folder)
    for evaluation in records.read_evaluations(folder, split):
        if evaluation["iteration"] == selected:
            scores = region_scores(np.array(evaluation["confusion"]))
            return figures({name: scores[name] for name in ("G", "mIoU")}, 1, scale=100)
    return ""


def _say(text: str) -> None:
    """Prints a line above a progress bar that may be there."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: max(0, room - 3)]}..."
