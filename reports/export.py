"""Every figure of runs in one long frame: `reports.frame(runs)`, `python -m reports export RUNS`.

One row a figure. The columns, of schema version 2:

| column | type | holds |
|---|---|---|
| schema | int | 2; it grows when columns change (2 added arch) |
| run | str | the run's folder; empty for the mean over the seeds of a network |
| network, dataset, protocol, fingerprint | str | whose figure it is, under which conditions |
| arch | str | JSON: arguments, code, tuned values; tells networks of one name apart |
| weighting | str | class weighting of the loss |
| seeds | str | the seed, or the seeds of a mean, in ascending order |
| split, iteration, variant | str, int, str | of the evaluation; variant: post-processing, runtime |
| metric | str | G, C, mIoU, BF, NSD, ECE, ...; forward_ms, ... of costs; latency_ms, ... deployed |
| convention | str | the reading of the metric, as key=value; empty where there is but one |
| class | str | of metrics by class |
| value, low, high | float | with the tables' 95 % interval, or a time's quartiles; else NaN |
| unit | str | percent, ms, MB, million |
| pretraining | str | what its weights were learned from before; none: from scratch |
| published | float | the paper's figure, where it has one of this network, split and iteration |

Means over seeds are of the evaluation that tables report, under the chosen conventions.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench import records
from bench.metrics import regions
from bench.metrics.boundaries import BOUNDARY_CLASSES, MATCHINGS
from bench.metrics.regions import ABSENT_CLASSES
from bench.metrics.scores import OTHERS, PAPER, Conventions, all_scores
from bench.metrics.uncertainty import Interval
from reports.compute.context import Context
from reports.compute.groups import CONDITION_OF_COLUMNS, contestants, groups, identity, pretraining
from reports.compute.kept import Evaluated
from reports.compute.resamples import evidence_of
from reports.read.costs import TIMES, Cost
from reports.read.deployed import Deployed, deployed_of
from reports.read.runs import Evaluation, Run, matrix, read_runs, without_postprocessings
from reports.render.cells import inert
from reports.tables.choice import context_of, score_tables

SCHEMA = 2
COLUMNS = (
    "schema", "run", "network", "dataset", "protocol", "fingerprint", "arch", "weighting",
    "seeds", "split", "iteration", "variant", "metric", "convention", "class",
    "value", "low", "high", "unit", "pretraining", "published",
)  # fmt: skip
PUBLISHED_CONVENTIONS = {
    "", f"absent_classes={PAPER.absent_classes}",
    f"matching={PAPER.matching}, boundary_classes={PAPER.boundary_classes}",
}  # fmt: skip
Figure = dict[str, Any]  # metric, convention, class, value


def frame(root: str | Path, conventions: Conventions | None = None) -> pd.DataFrame:
    """Returns all figures of a folder of runs, or of one run, see the head of this file.

    `conventions` are of the figures that have an interval; the paper's if not given.

    Raises:
        ValueError: the folder is missing.
    """
    root = Path(root)
    runs = read_runs(records.run_folders(root))
    place = root.parent if (root / "config.json").is_file() else root
    context = context_of(place, conventions or Conventions())
    found = pd.DataFrame(list(_rows(runs, context)), columns=COLUMNS)
    context.estimates.save()
    floats = dict.fromkeys(["value", "low", "high", "published"], float)
    return found.astype({"schema": int, "iteration": "Int64", **floats})


def write(found: pd.DataFrame, path: Path, *, parquet: bool) -> None:
    """Writes the frame whole or not at all; in CSV, no cell is a formula (see `cells.inert`).

    Raises:
        ValueError: Parquet is asked for and pyarrow is not installed.
    """
    words = found.select_dtypes(exclude="number")
    inertly = words.map(lambda cell: inert(cell) if isinstance(cell, str) else cell)
    try:
        content = (
            found.to_parquet(index=False)
            if parquet
            else found.assign(**inertly).to_csv(index=False, lineterminator="\n").encode()
        )
    except ImportError as error:
        remedy = '--parquet needs pyarrow; pip install -e ".[parquet]", or use --csv'
        raise ValueError(remedy) from error
    records.write_bytes(path, content)


def _rows(runs: Sequence[Run], context: Context) -> Iterator[dict[str, Any]]:
    papers = _published(runs, context)
    for run in runs:
        for evaluation in run.evaluations:
            yield from _evaluation_rows(run, evaluation, context, papers)
    for run in without_postprocessings(runs):
        for deployed in deployed_of(run):
            yield from _deployed_rows(run, deployed, context, papers)
    for seeds in _reported(runs):
        for (metric, convention, label), interval in _intervals(seeds, context).items():
            one: Figure = {"metric": metric, "convention": convention, "class": label}
            one["value"] = 100 * interval.estimate
            yield _row(seeds, "", one, _ends(interval), papers)
    for cost in context.costs:
        yield from _cost_rows(cost)


def _evaluation_rows(
    run: Run, evaluation: Evaluation, context: Context, papers: dict[tuple[str, ...], float]
) -> Iterator[dict[str, Any]]:
    intervals = _intervals([(run, evaluation)], context)
    for one in _figures(run, evaluation):
        key = one["metric"], one["convention"], one["class"]
        yield _row([(run, evaluation)], run.folder.name, one, _ends(intervals.get(key)), papers)


def _deployed_rows(
    run: Run, deployed: Deployed, context: Context, papers: dict[tuple[str, ...], float]
) -> Iterator[dict[str, Any]]:
    """Yields the scores of what was exported, and what it takes; the variant names it."""
    variant = deployed.record["variant"]
    if variant and deployed.evaluation is not None:
        yield from _evaluation_rows(run, deployed.evaluation, context, papers)
    memory = deployed.memory and (deployed.memory.bytes / 1e6, None, None)
    for metric, unit, values in (
        ("latency_ms", "ms", deployed.latency),
        ("deployed_memory", "MB", memory),
        ("deployed_size", "MB", (deployed.bytes / 1e6, None, None)),
    ):
        if values:
            value, low, high = values
            one = {"metric": metric, "convention": "", "class": "", "value": value}
            row = _row([(run, deployed.record)], run.folder.name, one, (low, high), {})
            title = {"variant": variant or deployed.title, "unit": unit}
            yield {**row, **title, "protocol": ", ".join(deployed.setting)}


def _row(
    seeds: Sequence[Evaluated],
    folder: str,
    one: Figure,
    ends: tuple[float | None, float | None],
    papers: dict[tuple[str, ...], float],
) -> dict[str, Any]:
    run, evaluation = seeds[0]
    weighting = str(run.config["protocol"]["class_weights"])
    reported = run.evaluation(evaluation["split"], None)
    last = reported is not None and reported["iteration"] == evaluation["iteration"]
    keys = [str(evaluation["iteration"]), *([""] if last else [])]
    metric = f"accuracy/{one['class']}" if one["class"] and one["metric"] == "accuracy" else (
        "" if one["class"] else one["metric"]
    )  # fmt: skip
    read_so = one["convention"] in PUBLISHED_CONVENTIONS
    paper = [papers.get((run.name, weighting, evaluation["split"], key, metric)) for key in keys]
    return {
        "schema": SCHEMA,
        "run": folder,
        "network": run.name,
        **{key: run.config[key]["name"] for key in ("dataset", "protocol")},
        "fingerprint": run.fingerprint,
        "arch": identity(run),
        "weighting": weighting,
        "seeds": ", ".join(str(seed) for seed in sorted(run.seed for run, _ in seeds)),
        "split": evaluation["split"],
        "iteration": evaluation["iteration"],
        "variant": evaluation.get("variant", ""),
        **one,
        **dict(zip(("low", "high"), ends, strict=True)),
        "unit": "percent",
        "pretraining": pretraining(run),
        "published": next((n for n in paper if read_so and n is not None), None),
    }


def _figures(run: Run, evaluation: Evaluation) -> Iterator[Figure]:
    """Yields all scores of an evaluation under every convention; without evidence, no BF."""
    classes = run.config["dataset"]["classes"]
    evidence = evidence_of(run.folder, evaluation)
    found = _of_matrix(matrix(evaluation)) if evidence is None else all_scores(evidence)
    yield _figure("G", found["G"])
    for metric in ("C", "mIoU"):
        for rule in ABSENT_CLASSES:
            yield _figure(metric, found[metric][rule], f"absent_classes={rule}")
    for name, value in found["other"].items():
        yield _figure(name, value)
    for metric in (m for m in found["per_class"] if m != "BF"):
        for name, value in zip(classes, found["per_class"][metric], strict=True):
            yield _figure(metric, value, label=name)
    for matching in MATCHINGS if evidence is not None else ():
        for rule in BOUNDARY_CLASSES:
            convention = f"matching={matching}, boundary_classes={rule}"
            yield _figure("BF", found["BF"][matching][rule], convention)
            of_classes = found["per_class"]["BF"][matching][rule]
            for name, value in zip(classes, of_classes, strict=True):
                yield _figure("BF", value, convention, name)


def _of_matrix(confusion: Any) -> dict[str, Any]:
    return {
        "G": float(regions.global_accuracy(confusion)),
        "C": {rule: float(regions.mean_class_accuracy(confusion, rule)) for rule in ABSENT_CLASSES},
        "mIoU": {rule: float(regions.mean_iou(confusion, rule)) for rule in ABSENT_CLASSES},
        "other": {
            "FWIoU": float(regions.frequency_weighted_iou(confusion)),
            "micro IoU": float(regions.micro_iou(confusion)),
        },
        "per_class": {
            "accuracy": regions.class_accuracy(confusion).tolist(),
            "IoU": regions.class_iou(confusion).tolist(),
            "precision": regions.class_precision(confusion).tolist(),
            "Dice": regions.class_dice(confusion).tolist(),
        },
    }


def _figure(metric: str, value: float | None, convention: str = "", label: str = "") -> Figure:
    value = np.nan if value is None else 100 * value
    return {"metric": metric, "convention": convention, "class": label, "value": value}


def _intervals(
    seeds: Sequence[Evaluated], context: Context
) -> dict[tuple[str, str, str], Interval]:
    """Estimates scores and names them as the frame does: (metric, convention, class)."""
    read = context.estimates.conventions
    absent = f"absent_classes={read.absent_classes}"
    boundary = f"matching={read.matching}, boundary_classes={read.boundary_classes}"
    words = {"G": "", "C": absent, "mIoU": absent, "BF": boundary, **dict.fromkeys(OTHERS, "")}
    found = context.estimates.of(seeds) | context.estimates.others(seeds)
    return {
        (name, words[name], "") if name in words else ("accuracy", "", name.partition("/")[2]): one
        for name, one in found.items()
    }


def _ends(interval: Interval | None) -> tuple[float, float]:
    return (np.nan, np.nan) if interval is None else (100 * interval.low, 100 * interval.high)


def _reported(runs: Sequence[Run]) -> Iterator[list[Evaluated]]:
    """Yields the evaluations of the seeds of each network that tables report, split by split."""
    for group in groups(runs):
        for one in contestants(group):
            for split in one.first.config["protocol"]["evaluation_splits"]:
                seeds = [(r, e) for r in one.runs if (e := r.evaluation(split, None)) is not None]
                if len(seeds) > 1:
                    yield seeds


def _published(runs: Sequence[Run], context: Context) -> dict[tuple[str, ...], float]:
    """Returns the paper's figures by network, weighting, split, iteration and metric.

    They are those that the tables set beside the runs; an empty iteration is the reported one.
    """
    found: dict[tuple[str, ...], float] = {}
    for group in groups(runs, (CONDITION_OF_COLUMNS,)):
        weightings = {str(run.config["protocol"]["class_weights"]) for run in group}
        for table in score_tables(group, context, classes=True):
            for row in (row for section in table.sections for row in section.rows if row.ours):
                for column, cell in zip(table.columns, row.cells, strict=True):
                    if column.source[0] == "score" and cell.published is not None:
                        _, weighting, *rest = column.source
                        for own in [weighting] if weighting else weightings:
                            found.setdefault((row.label, own, *rest), cell.published)
    return found


def _cost_rows(cost: Cost) -> Iterator[dict[str, Any]]:
    shared = dict.fromkeys(COLUMNS, "") | {
        "schema": SCHEMA,
        "run": cost.path.name,
        "network": cost.name,
        "protocol": ", ".join(cost.setting),
        "iteration": None,
        "published": None,
    }
    figures: list[tuple[str, str, float | None, float | None, float | None]] = []
    for time in TIMES:
        quartiles = cost.quartiles(time)
        if quartiles:
            figures.append((time, "ms", *quartiles))
    figures += [(f"{m}_memory", "MB", cost.megabytes(m), None, None) for m in cost.memory]
    parameters = cost.work.get("parameters")
    figures.append(("parameters", "million", parameters and parameters / 1e6, None, None))
    for metric, unit, value, low, high in figures:
        if value is not None:
            measured = {"metric": metric, "unit": unit, "value": value, "low": low, "high": high}
            yield shared | measured
