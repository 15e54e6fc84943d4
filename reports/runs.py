"""Reading runs for the tables: one row for each evaluation, or for a run that has none yet."""

import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd

from bench import records

STALE_SECONDS = 600.0  # without a sign of life for so long, a run that has not ended is not running


def read_runs(folders: list[Path]) -> list[dict[str, Any]]:
    """Reads the records of runs; one that cannot be read is passed over with a warning.

    Returns:
        For each run: folder, config, fingerprint, state, reason, network, environment, evaluations.
    """
    found = []
    for folder in folders:
        try:
            found.append(_read_run(folder))
        except (ValueError, KeyError) as error:
            print(f"passed over {folder.name}: {error}", file=sys.stderr)
    return found


def _read_run(folder: Path) -> dict[str, Any]:
    content = records.read_json(folder / "config.json")
    if content["version"] > records.VERSION:
        raise ValueError(
            f"its records are of version {content['version']}, newer than this program"
        )
    state, reason = _state(folder)
    return {
        "folder": folder,
        "config": content["config"],
        "fingerprint": content["fingerprint"],
        "state": state,
        "reason": reason,
        "network": _read_if_there(folder / "network.json"),
        "environment": _read_if_there(folder / "environment.json"),
        "evaluations": records.read_evaluations(folder),
    }


def _read_if_there(path: Path) -> dict[str, Any]:
    return records.read_json(path) if path.exists() else {}


def _state(folder: Path) -> tuple[str, str | None]:
    end = records.read_end(folder)
    if end is not None:
        return end["state"], end.get("reason")
    progress = _read_if_there(folder / "progress.json")
    if not progress:
        return "pending", None
    silent = time.time() - progress["time"]
    if silent > STALE_SECONDS:
        return "silent", f"no sign of life for {silent / 60:.0f} min"
    return "running", f"{progress.get('phase')} {progress.get('done')}/{progress.get('total')}"


def evaluation_frame(runs: list[dict[str, Any]], split: str) -> pd.DataFrame:
    """Returns the evaluations of a split as rows, runs without one as a row with their state."""
    rows = []
    for run in runs:
        config = run["config"]
        evaluations = [e for e in run["evaluations"] if e["split"] == split]
        for evaluation in evaluations or [None]:
            rows.append(
                {
                    "run": run,
                    "network": config["arch"]["name"],
                    "seed": config["seed"],
                    "iteration": evaluation["iteration"] if evaluation else None,
                    "evaluation": evaluation,
                }
            )
    return pd.DataFrame(rows)
