"""One run from configuration to record: the page to read first.

    python -m bench.run FOLDER

is the process that `python -m bench` starts; several can share a run (bench/distributed.py).
FOLDER/config.json says what to do; everything the run has to say goes into FOLDER (see
bench/records.py). In order: read and check the data, build the network, train to each stop,
re-estimate batch-norm statistics, evaluate, and at the end evaluate the best network that
validation found.
"""

import ctypes
import logging
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from bench import checkpoints, distributed, records
from bench.children import PARENT
from bench.config import identity
from bench.data.splits import load_splits
from bench.device import prepare_device
from bench.launch import locked
from bench.milestones import evaluate_best, evaluate_missing, patience_exhausted
from bench.monitor import InterruptedRunError, Monitor
from bench.postprocess import postprocess
from bench.preparation import (
    announce,
    check_pictures,
    prepare_training,
    record_start,
    resume,
    wanted_splits,
)
from bench.training import DivergedError, train
from bench.wandb_log import attach_wandb

EXIT_CODES = {
    records.FINISHED: 0,
    records.FAILED: 1,
    records.DIVERGED: 3,
    records.OUT_OF_MEMORY: 4,
    records.INTERRUPTED: 75,  # EX_TEMPFAIL: the same command goes on
}


def run(folder: Path, monitor: Monitor) -> dict[str, Any]:
    """Executes the run of a folder and returns how it ended."""
    start = time.time()
    config = records.read_json(folder / "config.json")["config"]
    distributed.join(config["silence_minutes"])
    device = prepare_device(config)
    splits = distributed.first_alone(
        lambda: load_splits(config, wanted_splits(config), device, monitor.beat)
    )
    check_pictures(config, splits)
    training = prepare_training(config, folder, splits, device, monitor)
    announce(training, splits)
    if config["dry_run"]:
        return {"iteration": 0}
    resume(training)
    record_start(training, splits)
    if distributed.is_first():
        attach_wandb(monitor, config, identity(config), folder)

    reason = None
    for iteration in stops(config):
        if iteration < training.iteration:
            continue
        train(training, iteration)
        evaluate_missing(training, splits, due_splits(config, iteration))
        reason = distributed.agreed(patience_exhausted(folder, config))
        if reason:
            evaluate_missing(training, splits, config["protocol"]["evaluation_splits"])
            break
    evaluate_best(training, splits)
    if not distributed.is_first():
        return {}
    postprocessed = postprocess(training, splits)
    checkpoints.prune(folder)
    return {
        "iteration": training.iteration,
        "max_iterations": config["max_iterations"],
        "postprocessed": postprocessed,
        "reason": reason,
        "seconds": round(time.time() - start, 1),
    }


def stops(config: dict[str, Any]) -> list[int]:
    """Lists the iterations at which training stops to validate or to evaluate."""
    last, every = config["max_iterations"], config["protocol"]["validation"]["every"]
    validations = range(every, last + 1, every) if every else ()
    return sorted({*(m for m in config["milestones"] if m < last), *validations, last})


def due_splits(config: dict[str, Any], iteration: int) -> list[str]:
    """Names the splits that are evaluated at a stop, validation first."""
    protocol, validation = config["protocol"], config["protocol"]["validation"]
    last = iteration == config["max_iterations"]
    due = []
    if validation["every"] and (last or iteration % validation["every"] == 0):
        due.append(validation["split"])
    if last or iteration in config["milestones"]:
        due += protocol["evaluation_splits"]
    return list(dict.fromkeys(due))


def execute(folder: Path) -> int:
    """Runs, records how it ended, and returns the exit code."""
    monitor = Monitor(folder, heard=distributed.is_first())
    monitor.catch_signals()
    try:
        end = {"state": records.FINISHED, **run(folder, monitor)}
    except InterruptedRunError:
        end = {
            "state": records.INTERRUPTED,
            "reason": "stopped by a signal; the same command goes on",
        }
    except DivergedError as error:
        end = {"state": records.DIVERGED, "reason": str(error)}
    except torch.OutOfMemoryError as error:
        end = {"state": records.OUT_OF_MEMORY, "reason": str(error).split(". ")[0]}
    except ValueError as error:
        end = {"state": records.FAILED, "reason": str(error)}
        traceback.print_exc()
    except Exception as error:  # noqa: BLE001 - whatever a user's network raises is recorded
        lines = traceback.format_exception(error)
        end = {"state": records.FAILED, "reason": lines[-1].strip(), "traceback": lines[-8:]}
        traceback.print_exc()
    # Whoever fails first knows the reason; the others only see it gone.
    told = distributed.size() > 1 and (folder / "end.json").exists()
    if not told and (distributed.is_first() or end["state"] != records.FINISHED):
        records.write_json(folder / "end.json", end)
    return EXIT_CODES[end["state"]]


def main() -> None:
    """The entry of the child process."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m bench.run FOLDER")
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    folder = Path(sys.argv[1])
    if PARENT in os.environ:
        end_with_parent()
        sys.exit(execute(folder))
    if not distributed.is_first():
        sys.exit(execute(folder))
    with locked(folder):  # started by torchrun
        (folder / "end.json").unlink(missing_ok=True)
        sys.exit(execute(folder))


def end_with_parent() -> None:
    """Asks Linux for SIGTERM when the parent dies, however it dies."""
    if sys.platform == "linux" and os.getppid() != 1:
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


if __name__ == "__main__":
    main()
