"""Records in, tables, figures and frames out; `reports.frame(runs)` for those who compute on."""

from pathlib import Path
from typing import TYPE_CHECKING

from bench.memory_limits import tell_refused_memory

if TYPE_CHECKING:
    import pandas as pd

tell_refused_memory()


def frame(runs: str | Path) -> "pd.DataFrame":
    """Returns all figures of a folder of runs as one long frame; see reports/export.py.

    Args:
        runs: the folder of the runs, or of one run.

    Raises:
        ValueError: the folder is missing.
    """
    from reports.export import frame as whole_frame  # noqa: PLC0415 - pandas is slow to import

    return whole_frame(runs)
