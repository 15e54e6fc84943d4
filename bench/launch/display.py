"""Showing a run's progress: a bar on a terminal, a line now and then in a log file."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bench.launch.processes import Children

POLL_SECONDS = 0.2
LINE_SECONDS = 30.0  # without a terminal: a line of progress this often


def watch(folder: Path, children: Children, silence_seconds: float) -> bool:
    """Shows notices, and progress as a bar on a terminal or as lines elsewhere, until a run ends.

    A run that gives no sign of life for `silence_seconds` hangs, and is killed.

    Returns:
        Whether it was killed for its silence.
    """
    display = Bar() if sys.stderr.isatty() else Lines()
    shown, sign_of_life, heard, silent = 0, None, time.monotonic(), False
    while True:
        ended = children.poll() is not None
        state = _read_progress(folder)
        if state.get("time", sign_of_life) != sign_of_life:
            sign_of_life, heard = state["time"], time.monotonic()
        elif time.monotonic() - heard > silence_seconds and not silent:
            silent = True
            children.kill()
        for text in state.get("notices", [])[shown:]:
            display.clear()
            print(text, flush=True)
            shown += 1
        if "phase" in state:
            display.show(state)
        if ended:
            display.clear()
            return silent
        time.sleep(POLL_SECONDS)


def _read_progress(folder: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((folder / "progress.json").read_text())
    except OSError:  # the child is still starting, or a network disk is away for a moment
        return {}
    return state


class Bar:
    """A progress bar for the phase the run is in."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def show(self, state: dict[str, Any]) -> None:
        """Shows how far the phase is, and the loss while training."""
        if self._bar is None or self._bar.desc != f"{state['phase']}: ":
            self.clear()
            self._bar = tqdm(
                total=state["total"], initial=state["done"], desc=state["phase"], leave=False,
                ncols=100, file=sys.stderr,
            )  # fmt: skip
        if "loss" in state["details"]:
            self._bar.set_postfix_str(f"loss {state['details']['loss']:.4f}", refresh=False)
        self._bar.update(state["done"] - self._bar.n)
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

    def show(self, state: dict[str, Any]) -> None:
        """Prints a line when the last one is old enough."""
        if time.monotonic() - self._last < LINE_SECONDS:
            return
        self._last = time.monotonic()
        text = f"{state['phase']} {state['done']}/{state['total']}"
        if "loss" in state["details"]:
            left = state["details"]["seconds"] * (state["total"] - state["done"])
            text += f", loss {state['details']['loss']:.4f}, about {left / 60:.0f} min left"
        print(text, flush=True)

    def clear(self) -> None:
        """Lines need no clearing."""
