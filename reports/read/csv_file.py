"""Reading a CSV that a user has written: every row as wide as its head, or one sentence."""

import csv
import io
from collections.abc import Collection
from math import isfinite
from pathlib import Path

from bench.sound_files import JSON_BYTES, read_bytes


def read_rows(path: Path, needed: Collection[str], option: str) -> list[tuple[int, dict[str, str]]]:
    """Reads the rows by the names of their columns, with the lines on which they end.

    Args:
        path: the file.
        needed: columns that it must have.
        option: that names the file, for the message.

    Raises:
        ValueError: the file is missing, no CSV, lacks a column, or a row does not fit its head.
    """
    listed = ", ".join(needed)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; {option} takes a CSV with the columns {listed}")
    try:
        text = read_bytes(path, JSON_BYTES).decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        lines = [(reader.line_num, row) for row in reader if row]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: not a readable CSV file ({error})") from error
    if not lines:
        raise ValueError(f"{path}: not a readable CSV file (it is empty)")
    (_, head), *rows = lines
    missing = [name for name in needed if name not in head]
    if missing:
        raise ValueError(
            f"{path}: has no column {', '.join(missing)}; it needs {listed}, and may have others"
        )
    if len(set(head)) < len(head):
        raise ValueError(f"{path}: names a column twice; its first line is {', '.join(head)}")
    for number, row in rows:
        if len(row) != len(head):
            raise ValueError(
                f"{path}:{number}: has {len(row)} cells for {len(head)} columns; put a cell that "
                "holds a comma into quotation marks"
            )
        if not all(cell.isprintable() for cell in row):
            raise ValueError(f"{path}:{number}: holds a line break or a control character")
    return [(number, dict(zip(head, row, strict=True))) for number, row in rows]


def number_of(text: str) -> float | None:
    """Returns a finite number as people write them; None for other text."""
    try:
        number = float(text) if text.isascii() and "_" not in text else float("nan")
    except ValueError:
        return None
    return number if isfinite(number) else None
