"""The plan of a sweep: its jobs, what is finished already, and what it needs on the disk.

Parameters are counted by a short child process, because this one imports no torch.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import records
from bench.config import Config, fingerprint, run_folder
from bench.data.class_weights import check_limited
from bench.launch.launch import covers
from bench.launch.processes import child_environment
from bench.losses import read_losses
from bench.protocol import copies_on_disk
from bench.tuning.schema import is_trial
from bench.tuning.space import as_text, values_of
from bench.typed import plain

ASKED = ("tuning.trial", "tuning.rank")  # the keys that make trials of a job


@dataclass(frozen=True)
class Job:
    """One run of a sweep, as planned.

    Attributes:
        number: Hydra's.
        name: of the network, for people.
        seed: of the run.
        overrides: key -> value as given.
        config: resolved; None where that cannot be done, which the job will say itself.
        label: what tells this job from the others, for people.
    """

    number: int
    name: str
    seed: int
    overrides: dict[str, str]
    config: Config | None
    label: str = ""

    @property
    def folder(self) -> Path | None:
        """The run's folder."""
        return None if self.config is None else run_folder(self.config)

    @property
    def is_trial(self) -> bool:
        """Whether it only helps to choose the values of other jobs."""
        return any(key in self.overrides for key in ASKED)

    def finished(self) -> bool:
        """Says whether nothing is left to do."""
        if self.folder is None or self.config is None or self.config.rerun:
            return False
        end = records.read_end(self.folder)
        return end is not None and covers(end, self.config)

    def iterations(self) -> int:
        """Returns how far the run is to be trained."""
        return 0 if self.config is None else int(self.config.max_iterations)

    def trained(self) -> int:
        """Returns how many iterations an earlier start has recorded."""
        if self.folder is None or self.config is None or self.config.rerun:
            return 0
        lines = list(read_losses(self.folder))
        return lines[-1]["first"] + len(lines[-1]["losses"]) - 1 if lines else 0


def labelled(jobs: Sequence[Job]) -> list[Job]:
    """Gives every job its label: network, seed, and what else is swept."""
    others = [key for key in swept_keys(jobs) if key not in {"arch", "seed"}]
    return [
        replace(
            job,
            label=", ".join(
                [
                    job.name,
                    *([] if job.is_trial else [f"seed {job.seed}"]),  # trials have one
                    *(_distinction(job, key) for key in others),
                ]
            ),
        )
        for job in jobs
    ]


def _distinction(job: Job, key: str) -> str:
    """Says what a swept key gives a job; which number a trial has says less than its values."""
    if key in ASKED and job.config is not None:
        return as_text(values_of(job.config))
    return f"{key.rpartition('.')[2]}={job.overrides[key]}"


def swept_keys(jobs: Sequence[Job]) -> dict[str, int]:
    """Returns the keys in which jobs differ, and how many values each takes."""
    keys = dict.fromkeys(key for job in jobs for key in job.overrides)
    counts = {key: len({job.overrides.get(key) for job in jobs}) for key in keys}
    return {key: count for key, count in counts.items() if count > 1}


def size(jobs: Sequence[Job], what: str) -> str:
    """Says how many jobs there are and of what they are the product."""
    product = " x ".join(f"{count} {key}" for key, count in swept_keys(jobs).items())
    return f"{len(jobs)} {what}" + (f" ({product})" if product else "")


def check_data(jobs: Sequence[Job]) -> None:
    """Looks for the data that all jobs share, so that a wrong path is said once and at once.

    Raises:
        ValueError: they share a folder that is not there.
    """
    sources = {
        (job.config.dataset.root, job.config.dataset.download)
        for job in jobs
        if job.config is not None
    }
    if len(sources) == 1:
        ((root, download),) = sources
        if root is not None and not download and not Path(root).is_dir():
            raise ValueError(
                f"dataset.root is {root}, which is no folder: all {len(jobs)} runs would fail; set "
                "dataset.root=PATH"
            )


def announce(jobs: Sequence[Job]) -> None:
    """Says how large a sweep is, how much of it is finished, and what it needs on the disk.

    Raises:
        ValueError: the disk is too full, no run would find its data, or `dataset.limit` leaves too
            little for class weights.
    """
    if not jobs:  # of a sweeper that chooses as it goes
        return
    due = [job for job in jobs if not job.finished()]
    finished = f", {len(jobs) - len(due)} finished already" if len(due) < len(jobs) else ""
    print(f"{size(jobs, 'runs')}{finished}", flush=True)
    real = [job for job in due if job.config is not None and not job.config.dry_run]
    if len(real) < 2:  # a single run says itself what it needs
        return
    check_data(real)
    configs = [job.config for job in real if job.config is not None]
    for config in {fingerprint(config): config for config in configs}.values():
        check_limited(config)
    roots: dict[Path, list[Job]] = {}
    for job in real:
        assert job.folder is not None
        roots.setdefault(job.folder.parent, []).append(job)
    sizes = model_bytes(real)
    for root, there in roots.items():
        print(check_disk(root, there, sizes), flush=True)


def check_disk(root: Path, jobs: Sequence[Job], sizes: dict[int, int | None]) -> str:
    """Says what the runs of one folder need there and how much is free.

    Args:
        root: the folder, which may not exist yet.
        jobs: those that are not finished.
        sizes: a job's number -> bytes of its weights, None where they could not be counted.

    Raises:
        ValueError: they need more than is free.
    """
    known = [(job, size) for job in jobs if (size := sizes[job.number]) is not None]
    needs = [tuple(size * copies for copies in _copies(job)) for job, size in known]
    peak = max((more for _, more in needs), default=0)
    there = sum(
        file.stat().st_size for job, _ in known if job.folder for file in job.folder.glob("*.pt")
    )
    need = max(0, sum(staying for staying, _ in needs) + peak - there)
    existing = next(folder for folder in (root, *root.parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if free < need:
        raise ValueError(
            f"{root} has {free / 1e6:.0f} MB free and this sweep needs up to {need / 1e6:.0f} MB; "
            "free some space or set runs=PATH to another disk"
        )
    unknown = f" (without {len(jobs) - len(known)} uncounted)" if len(known) < len(jobs) else ""
    return f"up to {need / 1e6:.0f} MB of weights{unknown}; {free / 1e6:.0f} MB are free"


def _copies(job: Job) -> tuple[int, int]:
    """Returns how many times its weights a run leaves on the disk, and how many more in training.

    Of a finished run stay a checkpoint and the weights evaluated last and best; of a trial a
    checkpoint, where trials are halved, or nothing.
    """
    assert job.config is not None
    (checkpoint, most), tuning = copies_on_disk(job.config.protocol), job.config.tuning
    staying = checkpoint + 2
    if tuning is not None and is_trial(tuning):
        staying = checkpoint if tuning.halving else 0
    return staying, most - staying


def model_bytes(jobs: Sequence[Job]) -> dict[int, int | None]:
    """Counts the bytes of every job's weights in a child process, each network once."""
    networks: dict[str, list[Job]] = {}
    for job in jobs:
        assert job.config is not None
        shape = json.dumps([job.config.arch, job.config.dataset.classes])
        networks.setdefault(shape, []).append(job)
    child = subprocess.run(
        [sys.executable, "-m", "bench.run.model_bytes"],
        input=json.dumps([plain(alike[0].config) for alike in networks.values()]),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # a network that cannot be built says why when it is trained
        text=True,
        check=False,
        env=child_environment(),
    )
    counted = [json.loads(line) for line in child.stdout.splitlines()]
    counted += [None] * (len(networks) - len(counted))
    return {
        job.number: size
        for alike, size in zip(networks.values(), counted, strict=True)
        for job in alike
    }
