"""Showing a run's progress: a bar on a terminal, a line now and then in a log file."""

import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bench import records
from bench.launch.processes import Children
from bench.records import Progress
from bench.words import duration

POLL_SECONDS = 0.2
AWAKE_SECONDS = 5.0  # a longer time between two looks was not spent awake
LINE_SECONDS = 30.0  # without a terminal: a line of progress this often


def watch(folder: Path, children: Children, silence_seconds: float) -> bool:
    """Shows notices, and progress as a bar on a terminal or as lines elsewhere, until a run ends.

    A run that gives no sign of life for `silence_seconds` hangs, and is killed. Only time counts in
    which both it and this process could run: neither a laptop's sleep nor SIGSTOP is silence.

    Returns:
        Whether it was killed for its silence.
    """
    display = Bar() if sys.stderr.isatty() else Lines()
    shown, sign_of_life, silence, silent = 0, None, 0.0, False
    looked = time.monotonic()
    while True:
        ended = children.poll() is not None
        progress = _read_progress(folder)
        now, before = time.monotonic(), looked
        looked = now
        if not children.stopped():
            silence += min(now - before, AWAKE_SECONDS)
        if progress is not None:
            if progress.time != sign_of_life:
                sign_of_life, silence = progress.time, 0.0
            for text in progress.notices[shown:]:
                display.clear()
                print(text, flush=True)
            shown = len(progress.notices)
            display.show(progress)
        if silence > silence_seconds and not silent:
            silent = True
            children.kill()
        if ended:
            display.clear()
            return silent
        time.sleep(POLL_SECONDS)


def _read_progress(folder: Path) -> Progress | None:
    try:
        return records.read_progress(folder)
    except ValueError:  # the child is still starting, or a network disk is away for a moment
        return None


class Bar:
    """A progress bar for the phase the run is in."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def show(self, progress: Progress) -> None:
        """Shows how far the phase is, and the loss while training."""
        if progress.phase is None:
            return
        if self._bar is None or self._bar.desc != f"{progress.phase}: ":
            self.clear()
            self._bar = tqdm(
                total=progress.total, initial=progress.done, desc=progress.phase, leave=False,
                ncols=100, file=sys.stderr,
            )  # fmt: skip
        if progress.loss is not None:
            self._bar.set_postfix_str(f"loss {progress.loss:.4f}", refresh=False)
        self._bar.update(progress.done - self._bar.n)
        self._bar.refresh()

    def clear(self) -> None:
        """Removes the bar, so that text can be printed."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Lines:
    """A line now and then, for log files."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def show(self, progress: Progress) -> None:
        """Prints a line when the last one is old enough."""
        if progress.phase is None or time.monotonic() - self._last < LINE_SECONDS:
            return
        self._last = time.monotonic()
        text = f"{progress.phase} {progress.done}/{progress.total}"
        if progress.loss is not None and progress.seconds is not None:
            left = progress.seconds * (progress.total - progress.done)
            text += f", loss {progress.loss:.4f}, about {duration(left)} left"
        print(text, flush=True)

    def clear(self) -> None:
        """Lines need no clearing."""
