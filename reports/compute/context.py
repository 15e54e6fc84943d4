"""What figures, claims and tables are made from, beside the runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from reports.compute.estimates import Estimates
from reports.read.costs import Cost
from reports.read.given import Given
from reports.read.published import Printed


@dataclass(frozen=True)
class Context:
    """What every table is filled from, beside the runs.

    Attributes:
        estimates: figures with their intervals.
        costs: measured costs.
        literature: a user's own figures.
        rows_without_runs: also list the networks of the paper's table that have no run.
        mixed: rows from scratch and pretrained ones stand in one section.
        given: times of exported files that a user has measured elsewhere.
    """

    estimates: Estimates
    costs: Sequence[Cost] = ()
    literature: dict[tuple[str, str, str], Printed] = field(default_factory=dict)
    rows_without_runs: bool = True
    mixed: bool = False
    given: Sequence[Given] = ()
