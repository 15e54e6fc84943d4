"""Numbers and lists in words, for whoever reads a terminal or a log."""

DAY = 86400.0  # seconds


def duration(seconds: float) -> str:
    """Formats a time for people: 45 s, 12 min, 3.4 h, 2.1 days."""
    for unit, length in (("days", DAY), ("h", 3600.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
