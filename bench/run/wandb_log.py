"""Sending a run's numbers to Weights & Biases: an option whose failure never ends a run.

Offline, wandb begins a new folder at every start of a run, and a server that is sent several of
one run keeps the last. So a resumed run writes all that its records hold once more, and removes the
folders before: whatever is sent when, the whole curve arrives.
"""

import hashlib
import json
import shutil
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from bench import records
from bench.config import Config, WandbMode, fingerprint
from bench.losses import read_losses
from bench.metrics.regions import region_scores
from bench.run.monitor import Monitor
from bench.run.schedule import rate_factor
from bench.selection import best_iteration
from bench.typed import plain

Point = tuple[int, dict[str, float]]  # iteration, what was measured


def attach_wandb(monitor: Monitor, config: Config, identity: str, folder: Path) -> None:
    """Has the monitor send what it measures to wandb."""
    import wandb  # noqa: PLC0415 - half a second, for those who use it

    failures = (wandb.errors.Error, OSError)
    before = recorded_points(folder, config)

    def send(iteration: int, values: dict[str, float]) -> None:
        try:
            send_recorded(run, before, iteration)
            run.log(_with_rate(iteration, values, config), step=iteration)
            if "loss" not in values:  # an evaluation
                run.summary.update(selected_scores(folder, config))
        except failures as error:
            monitor.listeners.remove(send)
            monitor.notice(f"wandb is left out from here on: {error}")

    try:
        run = wandb.init(
            project=config.wandb.project,
            mode="offline" if config.wandb.mode == WandbMode.offline else "online",
            id=identity,  # a resumed run goes on in the same place
            name=folder.name,
            group=seeds_group(config),
            job_type="train",
            tags=[config.dataset.name, f"protocol {config.protocol.name}", f"seed {config.seed}"],
            resume="allow",
            config=plain(config),
            dir=folder,
            settings=wandb.Settings(console="off", silent=True),
        )
        if before:
            send_recorded(run, before, trained_iterations(folder))
            if config.wandb.mode == WandbMode.offline:
                remove_earlier(folder / "wandb", Path(run.dir).parent, identity)
    except failures as error:
        monitor.notice(f"wandb is left out: {error}")
        return
    monitor.listeners.append(send)


def seeds_group(config: Config) -> str:
    """Names what the seeds of one network share: its name, arguments and fingerprint."""
    arguments = json.dumps(plain(config)["arch"], sort_keys=True)
    digest = hashlib.sha256(arguments.encode()).hexdigest()[:6]
    return f"{config.arch['name']} {digest} ({fingerprint(config)})"


def selected_scores(folder: Path, config: Config) -> dict[str, float]:
    """Returns the scores of the iteration that validation selects so far, for the summary.

    The last ones are there by themselves. Empty where nothing is selected.
    """
    best = best_iteration(folder, config)
    summary: dict[str, float] = {} if best is None else {"selected/iteration": best}
    for evaluation in records.read_evaluations(folder):
        if evaluation["iteration"] == best:
            scores = _scores(evaluation)
            summary |= {f"selected/{name}": score for name, score in scores.items()}
    return summary


def _scores(evaluation: dict[str, Any]) -> dict[str, float]:
    scores = region_scores(np.array(evaluation["confusion"]))
    return {f"{evaluation['split']}/{name}": score for name, score in scores.items()}


def _with_rate(iteration: int, values: dict[str, float], config: Config) -> dict[str, float]:
    """Adds the learning rate of an iteration, counted from 1, to what is measured of it."""
    if "loss" not in values:
        return values
    factor = rate_factor(config.protocol, iteration - 1, config.max_iterations)
    return {**values, "lr": factor * config.protocol.lr}


def recorded_points(folder: Path, config: Config) -> list[Point]:
    """Returns what an earlier start of a run measured, by iteration."""
    points: list[Point] = []
    for line in read_losses(folder):
        iteration = line["first"] + len(line["losses"]) - 1
        points.append((iteration, _with_rate(iteration, {"loss": line["losses"][-1]}, config)))
    for evaluation in records.read_evaluations(folder):
        points.append((evaluation["iteration"], _scores(evaluation)))
    return sorted(points, key=itemgetter(0))


def trained_iterations(folder: Path) -> int:
    """Returns up to which iteration the losses are recorded."""
    lines = list(read_losses(folder))
    return lines[-1]["first"] + len(lines[-1]["losses"]) - 1 if lines else 0


def send_recorded(run: Any, points: list[Point], iteration: int) -> None:
    """Sends recorded points up to an iteration, and takes them off the list.

    wandb wants iterations in order, and evaluations may be recorded of later ones than the
    checkpoint that the run resumed from. What a server has already is left out.
    """
    while points and points[0][0] <= iteration:
        step, values = points.pop(0)
        if step >= run.starting_step:
            run.log(values, step=step)


def remove_earlier(place: Path, current: Path, identity: str) -> None:
    """Removes the folders of earlier starts, all of whose numbers the current one has."""
    for folder in place.glob(f"offline-run-*-{identity}"):
        if folder.resolve() != current.resolve():
            shutil.rmtree(folder)
