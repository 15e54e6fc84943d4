"""The readings of the metrics as options, the same for every command that reports scores."""

import argparse

from bench.metrics.boundaries import BOUNDARY_CLASSES, MATCHINGS
from bench.metrics.regions import ABSENT_CLASSES, PEERS
from bench.metrics.scores import PAPER, Conventions


def add_conventions(part: argparse.ArgumentParser) -> None:
    """Adds an option for each convention; without, it is the paper's."""
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
