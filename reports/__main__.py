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
python -m reports merge RUNS OTHERS --source LAB    another laboratory's runs beside these
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from bench import records
from bench.console import outlive_consoles
from bench.tuning.schema import Criterion
from reports.compute.context import Context
from reports.options import conventions_of, parser
from reports.read.given import read_given
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
        options = parser(__doc__, COMMANDS, [*FORMATS, *COLLECTIONS]).parse_args(words)
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
    literature, given = (getattr(options, name, None) for name in ("literature", "given"))
    return context_of(
        _root(options.runs),
        conventions_of(options),
        read_literature(literature) if literature else None,
        mixed=getattr(options, "mix_pretraining", False),
        given=read_given(given) if given else (),
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

    limits = Limits(options.max_ms, options.max_mb, options.min_miou, options.within)
    context = _context(options)
    print("\n".join(choices(_read(options.runs), context, limits)))
    context.estimates.save()
    return 0


def claims(options: argparse.Namespace) -> int:
    """Tests the paper's sentences on the runs."""
    from reports.compute.claims import claim_lines  # noqa: PLC0415 - only this command needs it

    if not 0 < options.margin < 100:
        raise ValueError(f"--margin {options.margin:g} must lie between 0 and 100 points")
    context = _context(options)
    lines = claim_lines(
        _read(options.runs), context, every=options.all, tuned=options.tuned, margin=options.margin
    )
    print("\n".join(lines))
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


def merge(options: argparse.Namespace) -> int:
    """Copies another laboratory's runs beside these, where they are sound and comparable."""
    from reports.merge import merge as merged  # noqa: PLC0415 - only this command needs it

    lines, complete = merged(options.runs, options.others, options.source)
    print("\n".join(lines))
    return 0 if complete else EXIT_WORSE


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
    "merge": merge,
}


if __name__ == "__main__":
    main()
