"""A GPU's clock, power and throttling while it works, read by a thread in short intervals.

A reading after the work shows a card that is idle again: its clock has risen or fallen, and the
reason for which it was throttled is gone.
"""

import statistics
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from bench.cost.nvml import Card

INTERVAL_SECONDS = 0.02  # a reading takes some tenths of a millisecond of another core


class CardWatch:
    """Watches a card, or none, while its `with` block is executed."""

    def __init__(self, card: Card | None) -> None:
        self._card = card
        self._states: list[dict[str, Any]] = []
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self) -> "CardWatch":
        if self._card is not None:
            self._reading = self._pool.submit(self._read, self._card)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._pool.shutdown()
        if self._card is not None:
            self._reading.result()  # raises what reading raised

    def summary(self) -> dict[str, Any] | None:
        """Returns what was read, see `summarised`; None without a card."""
        return summarised(self._states) if self._states else None

    def _read(self, card: Card) -> None:
        while not self._over.wait(INTERVAL_SECONDS):
            self._states.append(card.state())
        if not self._states:  # the work was shorter than an interval
            self._states.append(card.state())


def summarised(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Makes one state of several: medians, the highest temperature, every reason that occurred.

    Args:
        states: as `Card.state` returns them.
    """
    columns = {key: [s[key] for s in states if s[key] is not None] for key in states[0]}
    summary: dict[str, Any] = {"readings": len(states)}
    for key, values in columns.items():
        if not values:
            summary[key] = None
        elif key in ("throttled", "noted"):
            summary[key] = sorted({reason for reasons in values for reason in reasons})
        else:
            middle = max if key == "temperature_celsius" else statistics.median
            summary[key] = middle(values)
    return summary
