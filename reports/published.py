"""The published figures: Tables 1 to 6 of Badrinarayanan, Kendall and Cipolla (TPAMI 2017).

published.csv holds every cell as printed (`value`) and as a number where it is one (`number`).
"""

from functools import cache
from pathlib import Path

import pandas as pd

SOURCE = (
    "V. Badrinarayanan, A. Kendall, R. Cipolla: SegNet: A Deep Convolutional Encoder-Decoder "
    "Architecture for Image Segmentation. IEEE TPAMI 39 (12), 2017"
)

# The columns of Table 3 by the iteration they report.
TABLE3_COLUMNS = {40_000: "40K", 80_000: "80K"}


@cache
def published() -> pd.DataFrame:
    """Returns all published cells: table, row, column, value, number, note."""
    return pd.read_csv(Path(__file__).with_name("published.csv"), dtype={"table": str})


def published_score(
    network: str, metric: str, split: str, iteration: int, balancing: str
) -> tuple[str, float] | None:
    """Returns (table, percent) of a network on CamVid, or None where the paper has no figure.

    Table 1 has the Basic family by balancing and split; Table 3 the others on the test images by
    iteration, of which the last column is each network's last.

    Args:
        network: the row's name in the paper.
        metric: G, C, mIoU or BF.
        split: test or train.
        iteration: of the evaluation; anything but 40K and 80K is compared with the last column.
        balancing: `protocol.class_weights`.
    """
    cells = published()
    kind = "natural" if balancing == "none" else "median"
    last = TABLE3_COLUMNS.get(iteration, ">80K")
    candidates = [("1", f"{kind}/{split}/{metric}")]
    if split == "test":
        candidates.append(("3", f"{last}/{metric}"))
    for table, column in candidates:
        chosen = (cells.table == table) & (cells.row == network) & (cells.column == column)
        numbers = cells[chosen].number.dropna()
        if len(numbers):
            return table, float(numbers.iloc[0])
    return None


def published_parameters(network: str) -> float | None:
    """Returns the parameters in millions that Table 1 prints for a network, or None."""
    cells = published()
    chosen = (cells.table == "1") & (cells.row == network) & (cells.column == "Params (M)")
    numbers = cells[chosen].number.dropna()
    return float(numbers.iloc[0]) if len(numbers) else None
