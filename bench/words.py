"""Numbers and lists in words, for whoever reads a terminal or a log."""

from collections.abc import Iterable, Mapping
from math import isnan

DAY = 86400.0  # seconds


def figure(value: float, digits: int) -> str:
    """Formats a number with so many decimals: 0.475, or n/a where it is undefined."""
    return "n/a" if isnan(value) else f"{value:.{digits}f}"


def figures(values: Mapping[str, float], digits: int, scale: float = 1.0) -> str:
    """Lists numbers with their names: G 0.475, C n/a."""
    return ", ".join(f"{name} {figure(scale * value, digits)}" for name, value in values.items())


def duration(seconds: float) -> str:
    """Formats a time for people: 45 s, 12 min, 3.4 h, 2.1 days."""
    for unit, length in (("days", DAY), ("h", 3600.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def ranges(numbers: Iterable[int]) -> str:
    """Lists whole numbers in order, four or more in a row as a range: 0, 1, 4-7."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = (f"{run[0]}-{run[-1]}" if len(run) > 3 else ", ".join(map(str, run)) for run in runs)
    return ", ".join(parts)
