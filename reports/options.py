"""The options of `python -m reports`, command by command."""

import argparse
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from bench.metrics.boundaries import BOUNDARY_CLASSES, MATCHINGS
from bench.metrics.regions import ABSENT_CLASSES, PEERS
from bench.metrics.scores import PAPER, Conventions
from bench.tuning.schema import Criterion
from reports.compute.paper_claims import EQUAL_POINTS


def parser(
    text: str | None, commands: Mapping[str, Callable[..., int]], formats: Collection[str]
) -> argparse.ArgumentParser:
    """Describes the command line.

    Args:
        text: what the help begins with.
        commands: what each subcommand calls; the first line of its docstring is its help.
        formats: of tables.
    """
    whole = argparse.ArgumentParser(
        prog="python -m reports",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added = whole.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    parts = {name: added.add_parser(name, help=act.__doc__) for name, act in commands.items()}
    for name, part in parts.items():
        if name != "compare":
            part.add_argument("runs", type=Path, help="the folder of the runs, or of one run")
        if name not in {"status", "tuning", "verify", "merge"}:
            _add_conventions(part)
    _add_tables(parts["tables"], parts["page"], parts["choose"], formats)
    export = parts["export"].add_mutually_exclusive_group(required=True)
    export.add_argument("--csv", type=Path, metavar="FILE", help="the long table as CSV")
    export.add_argument("--parquet", type=Path, metavar="FILE", help="as Parquet; needs pyarrow")
    _add_merging(parts["merge"])
    _add_judging(parts["claims"])
    parts["tuning"].add_argument(
        "--criterion", choices=list(Criterion), help="choose once more, from the trials' records"
    )
    _add_sides(parts["compare"])
    return whole


def _add_tables(
    tables: argparse.ArgumentParser,
    page: argparse.ArgumentParser,
    choose: argparse.ArgumentParser,
    formats: Collection[str],
) -> None:
    tables.add_argument("--table", choices=[*"123456", "further"], help="this table only")
    tables.add_argument("--format", choices=[*formats], default="text")
    tables.add_argument("--out", type=Path, help="a file instead of the terminal")
    for part in (tables, page):
        part.add_argument("--literature", type=Path, help="CSV: table, row, column, value")
        part.add_argument(
            "--mix-pretraining",
            action="store_true",
            help="set rows from scratch and pretrained ones side by side",
        )
    for part in (tables, page, choose):
        part.add_argument("--given", type=Path, help="CSV of times of exported files, see GUIDE.md")
    page.add_argument("--out", type=Path, help="folder; RUNS/report if not given")
    page.add_argument(
        "--data", type=Path, help="where the images lie, if not where the runs read them"
    )
    choose.add_argument("--max-ms", type=float, help="forward pass at batch 1")
    choose.add_argument("--max-mb", type=float, help="inference memory, in 1e6 bytes")
    choose.add_argument("--min-miou", type=float, help="in percent")
    choose.add_argument(
        "--within", type=float, default=1.0, metavar="POINTS", help="of mIoU, for the fastest"
    )


def _add_sides(part: argparse.ArgumentParser) -> None:
    part.add_argument("first", type=Path, help="a run, or a folder of its seeds")
    part.add_argument("second", type=Path)
    part.add_argument("--split", default="test")
    part.add_argument(
        "--fail-if-worse",
        type=float,
        metavar="POINTS",
        help="exit with 1 if the whole interval says that the second loses more points of mIoU, "
        "with 2 if there can be no verdict",
    )


def _add_merging(part: argparse.ArgumentParser) -> None:
    part.add_argument("others", type=Path, help="the runs to copy into RUNS, or one of them")
    part.add_argument("--source", required=True, metavar="LAB", help="whose they are, for tables")


def _add_judging(part: argparse.ArgumentParser) -> None:
    part.add_argument("--all", action="store_true", help="every comparison, too")
    part.add_argument("--tuned", action="store_true", help="of tuned networks alone")
    part.add_argument(
        "--margin",
        type=float,
        default=EQUAL_POINTS,
        metavar="POINTS",
        help="no further apart than this counts as equally well (default: %(default)g)",
    )


def _add_conventions(part: argparse.ArgumentParser) -> None:
    part.add_argument(
        "--absent-classes", choices=[*ABSENT_CLASSES, *PEERS], default=PAPER.absent_classes
    )
    part.add_argument("--matching", choices=MATCHINGS, default=PAPER.matching)
    part.add_argument(
        "--boundary-classes", choices=BOUNDARY_CLASSES, default=PAPER.boundary_classes
    )


def conventions_of(options: argparse.Namespace) -> Conventions:
    """Returns the conventions that options ask for."""
    return Conventions(options.absent_classes, options.matching, options.boundary_classes)
