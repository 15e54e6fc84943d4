"""What the records of runs do not hold, and what a report of them therefore cannot show."""

from collections.abc import Sequence
from pathlib import Path

from bench.records import State
from reports.compute.context import Context
from reports.read.costs import cost_of
from reports.read.runs import Run, without_postprocessings

NAMED = 4  # networks that a sentence names before it only counts


def gaps(runs: Sequence[Run], context: Context) -> list[str]:
    """Says in sentences what is missing; nothing where all is there."""
    runs = without_postprocessings(runs)
    finished = [run for run in runs if run.state == State.finished]
    found = []
    roots = {run.config["dataset"]["name"]: run.config["dataset"].get("root") for run in runs}
    for name, root in roots.items():
        if root is not None and not Path(root).is_dir():
            found.append(
                f"The images of {name} (dataset.root is {root}, which is no folder here): "
                "predictions stand without the image and the truth."
            )
    for what, lacking in {
        "Kept predictions": [run for run in finished if not _holds(run, "predictions/*/*.png")],
        "The evidence by image, and so intervals and BF": [
            run for run in finished if not _holds(run, "evaluations/*.npz")
        ],
        "Measured time and memory": [run for run in finished if not _is_measured(run, context)],
        "The log": [run for run in finished if not (run.folder / "log.txt").exists()],
        "Trained weights": [run for run in finished if not _holds(run, "*.pt")],
    }.items():
        if lacking:
            found.append(f"{what}, of {_named(lacking, finished)}.")
    return found


def _holds(run: Run, pattern: str) -> bool:
    return any(True for _ in run.folder.glob(pattern))


def _is_measured(run: Run, context: Context) -> bool:
    return cost_of(context.costs, run) is not None


def _named(lacking: Sequence[Run], finished: Sequence[Run]) -> str:
    names = list(dict.fromkeys(run.name for run in lacking))
    if len(lacking) == len(finished):
        return "all networks" if len(names) > 1 else names[0]
    return ", ".join(names) if len(names) <= NAMED else f"{len(names)} networks"
