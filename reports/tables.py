"""Tables of runs: what was trained under one protocol stands together, published figures beside.

Rows of different fingerprints are never set side by side: each group says in what its protocol or
data differ from those of the group before it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench import records
from bench.metrics.boundaries import boundary_f1
from bench.metrics.regions import region_score
from reports.published import published_score
from reports.runs import evaluation_frame, read_runs

METRICS = ("G", "C", "mIoU", "BF")
# What stands under every table, because the same words mean different numbers elsewhere.
CONVENTIONS = """\
In percent. G: labelled pixels that are right; C: mean accuracy of all classes; mIoU: mean over all
classes of the intersection over union on the whole set; void pixels do not count. BF: F1 of
boundaries within 0.75 % of the diagonal, matched one to one, mean over the classes with a boundary
in an image's truth, then over images; edges of void regions count."""
TABLE_NOTES = {
    "1": "Table 1: 360x480, trained until convergence on CamVid's 367 images",
    "3": "Table 3: 360x480, trained on 3,433 road images, tested on CamVid",
}


def print_tables(folders: list[Path]) -> None:
    """Prints the tables of runs, for a terminal 100 columns wide."""
    print("\n".join(tables(read_runs(folders))))


def tables(runs: list[dict[str, Any]]) -> Iterator[str]:
    """Yields lines of Markdown: one table for each fingerprint and split."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(run["fingerprint"], []).append(run)
    before: dict[str, Any] | None = None
    for fingerprint, group in groups.items():
        config = group[0]["config"]
        yield ""
        yield f"## {_title(config)}, fingerprint {fingerprint}"
        if before is not None:
            yield "Not comparable with the table above: " + "; ".join(differences(before, config))
        before = config
        for split in config["protocol"]["evaluation_splits"]:
            frame = evaluation_frame(group, split)
            yield from _split_table(frame, split)
        yield from _notes(group)


def _title(config: dict[str, Any]) -> str:
    protocol = config["protocol"]
    height, width = protocol["image_size"]
    return f"{config['dataset']['name']}, protocol {protocol['name']}, trained at {height}x{width}"


def _split_table(frame: pd.DataFrame, split: str) -> Iterator[str]:
    lines = [{str(key): value for key, value in line.items()} for line in frame.to_dict("records")]
    images = next((line["evaluation"]["images"] for line in lines if line["evaluation"]), None)
    yield ""
    yield f"{split}, {images} images" if images else split
    yield ""
    rows = [_row(line, split) for line in lines]
    yield pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


def _row(line: dict[str, Any], split: str) -> dict[str, str]:
    run, evaluation = line["run"], line["evaluation"]
    parameters = run["network"].get("parameters")
    row = {
        "network": line["network"],
        "seed": str(line["seed"]),
        "params (M)": f"{parameters / 1e6:.3f}" if parameters else "n/a",
        "iteration": _iteration(run, evaluation),
    }
    for metric in METRICS:
        row[metric] = _cell(run, evaluation, split, metric) if evaluation else ""
    return row


def _iteration(run: dict[str, Any], evaluation: dict[str, Any] | None) -> str:
    """Says which iteration was evaluated, and the state of a run that has not finished."""
    if evaluation is None:
        return str(run["state"])
    text = str(evaluation["iteration"])
    if evaluation["iteration"] == best_iteration(run):
        text += " best"
    return text if run["state"] == records.FINISHED else f"{text} ({run['state']})"


def best_iteration(run: dict[str, Any]) -> int | None:
    """Returns the iteration that validation selected, or None where nothing is selected."""
    validation = run["config"]["protocol"]["validation"]
    if validation["every"] is None:
        return None
    scores = [
        (region_score(np.array(e["confusion"]), validation["criterion"]), -e["iteration"])
        for e in run["evaluations"]
        if e["split"] == validation["split"]
    ]
    return -max(scores)[1] if scores else None


def _cell(run: dict[str, Any], evaluation: dict[str, Any], split: str, metric: str) -> str:
    """Formats our figure, and the published one in brackets where the paper has it."""
    ours = f"{100 * _score(run, evaluation, metric):.1f}"
    paper = _paper(run["config"], evaluation["iteration"], split, metric)
    return ours if paper is None else f"{ours} [{paper[1]:.1f}]"


def _score(run: dict[str, Any], evaluation: dict[str, Any], metric: str) -> float:
    if metric == "BF":
        counts = records.read_evidence(run["folder"], evaluation)["boundaries"]
        return boundary_f1(counts, matching="one_to_one", classes="ground_truth")
    return region_score(np.array(evaluation["confusion"]), metric)


def _paper(
    config: dict[str, Any], iteration: int, split: str, metric: str
) -> tuple[str, float] | None:
    if config["dataset"]["name"] != "CamVid":
        return None
    balancing = config["protocol"]["class_weights"]
    return published_score(config["arch"]["name"], metric, split, iteration, balancing)


def _notes(group: list[dict[str, Any]]) -> Iterator[str]:
    config = group[0]["config"]
    yield ""
    yield CONVENTIONS
    papers = [_paper(r["config"], r["config"]["max_iterations"], "test", "G") for r in group]
    quoted = sorted({paper[0] for paper in papers if paper})
    if quoted:
        yield (
            "[ ]: published, under the paper's own protocol. "
            + ". ".join(TABLE_NOTES[table] for table in quoted)
            + "."
        )
    if config["protocol"]["validation"]["every"] is not None:
        criterion = config["protocol"]["validation"]["criterion"]
        yield f"best: the iteration with the highest {criterion} on the validation split."
    starts = {r["config"]["arch"]["name"]: r["network"].get("initialisation") for r in group}
    for start in sorted({s for s in starts.values() if s}):
        yield f"Started from {start}: {', '.join(n for n, s in starts.items() if s == start)}."
    machines = {
        f"{e['device']}, {e['threads']} threads, torch {e['torch']}, commit {e['commit'] or 'n/a'}"
        for e in (run["environment"] for run in group)
        if e
    }
    yield from sorted(machines)
    for run in group:
        if run["reason"] and run["state"] != records.FINISHED:
            yield f"{run['config']['arch']['name']}, seed {run['config']['seed']}: {run['reason']}"


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Says in which keys of `dataset` and `protocol` two configurations differ."""
    flat = [
        {**_flatten("dataset", c["dataset"]), **_flatten("protocol", c["protocol"])}
        for c in (one, other)
    ]
    keys = sorted(flat[0].keys() | flat[1].keys())
    return [
        f"{key} {flat[0].get(key)} / {flat[1].get(key)}"
        for key in keys
        if flat[0].get(key) != flat[1].get(key) and key not in {"dataset.root", "dataset.note"}
    ]


def _flatten(prefix: str, node: Any) -> dict[str, Any]:
    if not isinstance(node, dict):
        return {prefix: node}
    return {k: v for key, n in node.items() for k, v in _flatten(f"{prefix}.{key}", n).items()}
