"""Stands in for a run's process, without torch: its score is known from network and rate.

    python -m stand_in_trial FOLDER

A network's score falls off with the distance, in decades, of its rate from BEST; rates of 1 and
more diverge. Every start is a line of $STARTS; $STOP is the number of the start after which Ctrl-C
comes, $FAIL the line of the one that fails.
"""

import math
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from bench import records
from bench.config import Config, read_config
from bench.losses import append_losses
from bench.records import End, State

BEST = {"SegNet-Basic": 0.1, "FCN-Basic": 0.001}  # FCN-Basic's is at the edge
PIXELS = 1000


def evidence(config: Config, share: float) -> dict[str, np.ndarray]:
    """Makes one image of which a share of the pixels of two classes is right."""
    size = len(config.dataset.classes) + 1
    right = round(share * PIXELS)
    confusion = np.zeros((1, size, size), np.int32)
    confusion[0, 0, 0] = confusion[0, 1, 1] = right
    confusion[0, 0, 1] = confusion[0, 1, 0] = PIXELS - right
    boundaries = np.full((1, size - 1, 5), right, np.int32)
    return {"names": np.array(["one"]), "confusion": confusion, "boundaries": boundaries}


def score(config: Config) -> float:
    """Returns the share of pixels that a run gets right."""
    distance = abs(math.log10(config.protocol.lr / BEST[config.arch["name"]]))
    return 0.8 - 0.1 * distance


def main() -> None:
    """Records what a run of the folder's configuration would have recorded."""
    folder = Path(sys.argv[1])
    config = read_config(folder)
    started = Path(os.environ["STARTS"])
    line = f"{config.arch['name']} {config.protocol.lr:g} {config.max_iterations}"
    with started.open("a") as file:
        file.write(f"{line}\n")
    if line == os.environ.get("FAIL"):
        records.write_end(folder, End(State.failed, "no space left"))
        return
    if config.protocol.lr >= 1:
        records.write_end(folder, End(State.diverged, "as told"))
        return
    last = config.max_iterations
    append_losses(folder, 1, [1.0] * last, 1.0)
    for split in config.protocol.evaluation_splits:
        summary = {"split": split, "iteration": last, "images": 1}
        records.write_evaluation(folder, summary, evidence(config, score(config)))
    for name in ("checkpoint.pt", "weights-last.pt"):
        (folder / name).write_bytes(b"weights")
    records.write_end(folder, End(State.finished, iteration=last, max_iterations=last))
    if len(started.read_text().splitlines()) == int(os.environ.get("STOP", "0")):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent passes it on
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
