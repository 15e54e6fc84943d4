"""How a run talks to whoever watches it: progress, notices, signals and the heartbeat.

The run writes RUN/progress.json, renamed into place so that readers never see half of it; the
process that started the run, or `python -m reports status` in another shell, reads it.
"""

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

from bench import records
from bench.typed import plain

log = logging.getLogger("bench")

# Ctrl-C, the polite kill, and what SLURM sends before it preempts a job.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


INTERVAL_SECONDS = 0.5  # between two times that progress is written


class InterruptedRunError(Exception):
    """A signal asked the run to stop; everything needed to resume is on the disk."""


class Monitor:
    """Reports where a run is, and knows whether it was asked to stop.

    Of several processes that share a run, only the first `reports`.
    """

    def __init__(self, folder: Path, *, reports: bool = True) -> None:
        self.folder, self.reports = folder, reports
        self.stop_requested = False
        self.listeners: list[Callable[[int, dict[str, float]], None]] = []
        self._progress = records.Progress(time.time())
        self._written = 0.0

    def catch_signals(self) -> None:
        """Turns the stop signals into a request that the run honours at its next safe point."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._request_stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # those that came before now come

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        self.stop_requested = True

    def beat(
        self,
        phase: str,
        done: int,
        total: int,
        *,
        loss: float | None = None,
        seconds: float | None = None,
    ) -> None:
        """Says that the run is alive: `done` of `total` in a phase such as training."""
        self._progress = replace(
            self._progress, phase=phase, done=done, total=total, loss=loss, seconds=seconds
        )
        if time.monotonic() - self._written >= INTERVAL_SECONDS or done == total:
            self._write()

    def check_stop(self) -> None:
        """Leaves the run where nothing would be lost.

        Raises:
            InterruptedRunError: a stop was requested.
        """
        if self.stop_requested:
            raise InterruptedRunError

    def measure(self, iteration: int, values: dict[str, float]) -> None:
        """Hands named numbers to whoever listens, such as wandb; the records have their own."""
        for listener in list(self.listeners):
            listener(iteration, values)

    def notice(self, text: str) -> None:
        """Tells the user something once, in the console and in the log."""
        if self.reports:
            log.info(text)
        self._progress.notices.append(text)
        self._write()

    def _write(self) -> None:
        if not self.reports:
            return
        content = plain(replace(self._progress, time=time.time()))
        records.write_json(self.folder / "progress.json", content, durable=False)
        self._written = time.monotonic()
