"""`python -m reports RUNS`: the tables of all runs below a folder, at any moment of a sweep."""

import argparse
import sys
from pathlib import Path

from bench.records import run_folders
from reports.tables import print_tables


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m reports", description=__doc__)
    parser.add_argument("runs", type=Path, help="the folder of the runs, or of one run")
    arguments = parser.parse_args()
    try:
        folders = run_folders(arguments.runs)
        if not folders:
            raise ValueError(f"{arguments.runs}: holds no run")
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    print_tables(folders)
    sys.exit(0)


if __name__ == "__main__":
    main()
