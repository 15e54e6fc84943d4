"""Laying out tables: which columns Tables 1 to 5 have for a group of runs."""

from collections.abc import Sequence

from bench.metrics.scores import HEADLINE
from reports.read.published import (
    BALANCINGS,
    PAPER_CLASSES,
    columns_of,
    has_published,
    is_indoor,
    rows_of,
)
from reports.read.runs import Run
from reports.tables.model import Column

MILESTONES = {"3": (40_000, 80_000), "4": (80_000, 140_000)}  # of Tables 3 and 4


def natural_number(group: Sequence[Run]) -> str:
    """Chooses the table whose shape fits a group: 1, 3 or 4."""
    config = group[0].config
    if is_indoor(config["dataset"]["name"]):
        return "4"
    variants = {run.name for run in group} & set(rows_of("1"))
    selects = config["protocol"]["validation"]["every"] is not None
    return "1" if variants or selects else "3"


def columns_for(number: str, group: Sequence[Run]) -> list[Column]:
    """Lays out a table for runs of one section."""
    if number == "1":
        return _variant_columns(group)
    if number in {"2", "5"}:
        return _class_columns(number, group[0])
    return _milestone_columns(number, group)


def published_columns(number: str) -> list[Column]:
    """Lays out a table for which there is no run at all."""
    parts = [(name, *name.rpartition("/")[::2]) for name in columns_of(number)]
    return [
        Column(group.replace("/", ", "), short, 2, name, ("published",))
        for name, group, short in parts
    ]


def _variant_columns(group: Sequence[Run]) -> list[Column]:
    compared = has_published("1", group[0].config["dataset"]["name"])
    columns: list[Column] = []
    costs = [
        Column("", "Params (M)", 3, "Params (M)" if compared else None, ("parameters",)),
        Column("", "Storage mult.", 0, "Storage multiplier" if compared else None, ("storage",)),
        Column("", "Infer time (ms)", 1, "Infer time (ms)" if compared else None, ("time",)),
    ]
    weightings = dict.fromkeys(str(run.config["protocol"]["class_weights"]) for run in group)
    ordered = [w for w in BALANCINGS if compared or w in weightings]
    ordered += [w for w in weightings if w not in BALANCINGS]
    for weighting in ordered:
        name = BALANCINGS.get(weighting, weighting)
        for split in group[0].config["protocol"]["evaluation_splits"]:
            metrics = HEADLINE if split != "train" else HEADLINE[:3]  # as in Table 1
            columns += [
                Column(
                    f"{name}, {split}",
                    metric,
                    2 if metric == "BF" else 1,
                    f"{name}/{split}/{metric}" if compared else None,
                    ("score", weighting, split, "", metric),
                )
                for metric in metrics
            ]
    return columns + costs


def _milestone_columns(number: str, group: Sequence[Run]) -> list[Column]:
    """Lays out G, C, mIoU and BF at each milestone and at the last iteration."""
    config = group[0].config
    compared = has_published(number, config["dataset"]["name"])
    milestones = sorted({m for run in group for m in run.config["milestones"]})
    names = {f"{m // 1000}K" if m % 1000 == 0 else f"{m}": str(m) for m in milestones}
    last = "last"
    if compared:
        names |= {f"{m // 1000}K": str(m) for m in MILESTONES[number]}
        last = f">{MILESTONES[number][-1] // 1000}K"
    split = config["protocol"]["evaluation_splits"][0]
    known = set(columns_of(number)) if compared else set()
    columns = [
        Column(
            f"{name}, {split}",
            metric,
            2 if metric == "BF" or compared else 1,
            f"{name}/{metric}" if f"{name}/{metric}" in known else None,
            ("score", "", split, iteration, metric),
        )
        for name, iteration in [*sorted(names.items(), key=lambda n: int(n[1])), (last, "")]
        for metric in HEADLINE
    ]
    return [*columns, Column("", "Params (M)", 3, None, ("parameters",))]


def _class_columns(number: str, run: Run) -> list[Column]:
    """Lays out the accuracy of each class, in the paper's order where it has one, and the means."""
    config = run.config
    split = config["protocol"]["evaluation_splits"][0]
    compared = has_published(number, config["dataset"]["name"])
    order = {name.lower(): rank for rank, name in enumerate(columns_of(number))}
    classes = [(PAPER_CLASSES.get(name, name), name) for name in config["dataset"]["classes"]]
    if compared:
        classes.sort(key=lambda pair: order.get(pair[0].lower(), len(order)))
    shown = [(title, f"accuracy/{name}") for title, name in classes]
    shown += [("Class avg.", "C"), ("Global avg.", "G"), ("mIoU", "mIoU"), ("BF", "BF")]
    known = {name.lower(): name for name in columns_of(number)} if compared else {}
    return [
        Column("", title, 2 if title == "BF" or number == "5" else 1, known.get(title.lower()),
               ("score", "", split, "", metric))
        for title, metric in shown
    ]  # fmt: skip
