"""Comparison tables, figures and one page from the records of runs, at any moment of a sweep.

python -m reports RUNS                          the tables that suit the runs
python -m reports RUNS --table 3 --format latex --out table3.tex
python -m reports status RUNS                   where every run is now
python -m reports page RUNS                     everything, as one HTML page
python -m reports compare RUN_A RUN_B           paired differences, and a verdict
python -m reports choose RUNS --max-ms 50       networks for a device
python -m reports claims RUNS                   the paper's sentences, tested; --all: in detail
python -m reports tuning RUNS --criterion C     what was tried, and what C would have chosen
python -m reports export RUNS --csv all.csv     every figure in one long table (or --parquet)
python -m reports verify RUNS                   is every record sound? 1 if one is not
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from bench import records
from bench.console import outlive_consoles
from bench.tuning.schema import Criterion
from reports.conventions import add_conventions, conventions_of
from reports.read.published import read_literature
from reports.read.runs import Run, read_runs, reading_from
from reports.read.tuning import trial_folders
from reports.render import latex
from reports.render import text as formats
from reports.render.cells import csv
from reports.render.html import html
from reports.status import status
from reports.tables.brief import brief, more_words
from reports.tables.choice import context_of, fitting_tables, numbered_table
from reports.tables.model import Table
from reports.tables.of_scores import Context

FORMATS: dict[str, Callable[[Table], str]] = {
    "text": formats.text,
    "markdown": formats.markdown,
    "latex": latex.latex,
    "html": html,
}
COLLECTIONS = ("macros", "bibtex", "csv")
EXIT_WORSE = 1


def main() -> None:
    """Runs a subcommand; `tables` where none is named."""
    outlive_consoles(essential=True)
    words = sys.argv[1:]
    try:
        if words and words[0] not in {*COMMANDS, "-h", "--help"}:
            _require_folder(words[0])
            words.insert(0, "tables")
        options = parser().parse_args(words)
        code = COMMANDS[options.subcommand](options)
        sys.stdout.flush()
        sys.exit(code)
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def _require_folder(word: str) -> None:
    """Tells a mistyped command from a folder of runs.

    Raises:
        ValueError: it is neither.
    """
    if not word.startswith("-") and not Path(word).exists():
        raise ValueError(
            f"{word}: no such folder, and none of the commands {', '.join(COMMANDS)}; "
            "give the folder that holds the runs"
        )


def parser() -> argparse.ArgumentParser:
    """Describes the command line."""
    whole = argparse.ArgumentParser(
        prog="python -m reports",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = whole.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    parts = {name: commands.add_parser(name, help=act.__doc__) for name, act in COMMANDS.items()}
    for name, part in parts.items():
        if name != "compare":
            part.add_argument("runs", type=Path, help="the folder of the runs, or of one run")
        if name not in {"status", "tuning", "verify"}:
            add_conventions(part)
    tables = parts["tables"]
    tables.add_argument("--table", choices=list("123456"), help="this table of the paper only")
    tables.add_argument("--format", choices=[*FORMATS, *COLLECTIONS], default="text")
    tables.add_argument("--out", type=Path, help="a file instead of the terminal")
    for part in (tables, parts["page"]):
        part.add_argument("--literature", type=Path, help="CSV: table, row, column, value")
    parts["page"].add_argument("--out", type=Path, help="folder; RUNS/report if not given")
    parts["page"].add_argument(
        "--data", type=Path, help="where the images lie, if not where the runs read them"
    )
    choose = parts["choose"]
    choose.add_argument("--max-ms", type=float, help="forward pass at batch 1")
    choose.add_argument("--max-mb", type=float, help="inference memory, in 1e6 bytes")
    choose.add_argument("--min-miou", type=float, help="in percent")
    export = parts["export"].add_mutually_exclusive_group(required=True)
    export.add_argument("--csv", type=Path, metavar="FILE", help="the long table as CSV")
    export.add_argument("--parquet", type=Path, metavar="FILE", help="as Parquet; needs pyarrow")
    parts["claims"].add_argument("--all", action="store_true", help="every comparison, too")
    parts["claims"].add_argument("--tuned", action="store_true", help="of tuned networks alone")
    parts["tuning"].add_argument(
        "--criterion", choices=list(Criterion), help="choose once more, from the trials' records"
    )
    compare = parts["compare"]
    compare.add_argument("first", type=Path, help="a run, or a folder of its seeds")
    compare.add_argument("second", type=Path)
    compare.add_argument("--split", default="test")
    compare.add_argument(
        "--fail-if-worse",
        type=float,
        metavar="POINTS",
        help="exit with 1 if the whole interval says that the second loses more points of mIoU, "
        "with 2 if there can be no verdict",
    )
    return whole


def _read(root: Path) -> list[Run]:
    """Reads the runs of a folder.

    Raises:
        ValueError: there is none.
    """
    runs = read_runs(records.run_folders(root))
    if not runs:
        raise ValueError(f"{root}: holds no run; give the folder that `runs=` named")
    return runs


def _context(options: argparse.Namespace) -> Context:
    literature = getattr(options, "literature", None)
    return context_of(
        _root(options.runs),
        conventions_of(options),
        read_literature(literature) if literature else None,
    )


def _root(folder: Path) -> Path:
    """Returns the folder that holds all runs, also where one run was given."""
    return folder.parent if (folder / "config.json").is_file() else folder


def tables(options: argparse.Namespace) -> int:
    """Prints tables, or writes them to a file."""
    if options.out and options.out.is_dir():
        raise ValueError(f"--out {options.out} is a folder; give the name of a file in it")
    context = _context(options)
    runs = [] if context.costs and not records.run_folders(options.runs) else _read(options.runs)
    if options.table:
        found = numbered_table(options.table, runs, context)
    else:
        found = fitting_tables(runs, context)
    if options.format == "macros":
        content = latex.macros(found)
    elif options.format == "bibtex":
        content = latex.bibtex(found, {run.config["dataset"]["name"] for run in runs})
    elif options.format == "csv":
        content = csv(found)
    elif options.format == "text" and not options.table:
        content = "\n\n".join(formats.text(brief(table)) for table in found)
        content += f"\n{more_words(options.runs, found)}\n"
    else:
        content = "\n\n".join(FORMATS[options.format](table).rstrip() for table in found) + "\n"
    if options.out:
        records.write_bytes(options.out, content.encode())
        print(f"written to {options.out}")
    else:
        print(content, end="")
    context.estimates.save()
    return 0


def show_status(options: argparse.Namespace) -> int:
    """Prints where every run is now, and every trial."""
    trials = read_runs(trial_folders(options.runs))
    print(status([*trials, *read_runs(records.run_folders(options.runs))] or _read(options.runs)))
    return 0


def page(options: argparse.Namespace) -> int:
    """Writes everything as one HTML page, with tables and figures beside it."""
    from reports.render.page import write_report  # noqa: PLC0415 - matplotlib is slow to import

    out = options.out or _root(options.runs) / "report"
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; give a folder")
    if options.data and not options.data.is_dir():
        raise ValueError(f"--data {options.data}: no such folder; give the data set's")
    context, runs = _context(options), _read(options.runs)
    if options.data:
        runs = [reading_from(options.data, run) for run in runs]
    try:
        print(f"written to {write_report(runs, context, out)}")
    except (OSError, ValueError) as error:
        raise ValueError(f"{error}; --out FOLDER writes the page elsewhere") from error
    context.estimates.save()
    return 0


def compare(options: argparse.Namespace) -> int:
    """Compares two networks, image by image."""
    from reports.compare import compare_runs  # noqa: PLC0415 - only this command needs it

    first, second = _read(options.first), _read(options.second)
    context = context_of(_root(options.first), conventions_of(options))
    compared = compare_runs(first, second, context, options.split)
    print("\n".join(compared.lines))
    context.estimates.save()
    points = options.fail_if_worse
    return EXIT_WORSE if points is not None and compared.is_worse_by(points) else 0


def choose(options: argparse.Namespace) -> int:
    """Lists the networks that meet limits of time, memory and accuracy, for each device."""
    from reports.choose import Limits, choices  # noqa: PLC0415 - only this command needs it

    limits = Limits(options.max_ms, options.max_mb, options.min_miou)
    context = _context(options)
    print("\n".join(choices(_read(options.runs), context, limits)))
    context.estimates.save()
    return 0


def claims(options: argparse.Namespace) -> int:
    """Tests the paper's sentences on the runs."""
    from reports.compute.claims import claim_lines  # noqa: PLC0415 - only this command needs it

    context = _context(options)
    runs = _read(options.runs)
    print("\n".join(claim_lines(runs, context, every=options.all, tuned=options.tuned)))
    context.estimates.save()
    return 0


def tuning(options: argparse.Namespace) -> int:
    """Prints the trials of tuned networks, and what another criterion would have chosen."""
    from reports.compute.tuned import tuning_lines  # noqa: PLC0415 - only this command needs it

    criterion = Criterion(options.criterion) if options.criterion else None
    print("\n".join(tuning_lines(_read(options.runs), criterion)))
    return 0


def export(options: argparse.Namespace) -> int:
    """Writes every figure of the runs into one long table."""
    from reports.export import frame, write  # noqa: PLC0415 - only this command needs it

    out = options.csv or options.parquet
    if out.is_dir():
        raise ValueError(f"{out} is a folder; give the name of a file in it")
    found = frame(options.runs, conventions_of(options))
    write(found, out, parquet=options.parquet is not None)
    print(f"{len(found)} rows written to {out}")
    return 0


def verify(options: argparse.Namespace) -> int:
    """Checks that nothing in the records is damaged, lost or exchanged."""
    from reports.verify import verify as verified  # noqa: PLC0415 - only this command needs it

    lines, sound = verified(options.runs)
    print("\n".join(lines))
    return 0 if sound else EXIT_WORSE


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "tables": tables,
    "status": show_status,
    "page": page,
    "compare": compare,
    "choose": choose,
    "claims": claims,
    "tuning": tuning,
    "export": export,
    "verify": verify,
}


if __name__ == "__main__":
    main()
