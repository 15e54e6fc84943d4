"""Asking the process in which a network is measured, and noticing when it has died."""

import json
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.config import Config
from bench.launch.processes import child_environment
from bench.records import State
from bench.typed import plain

ANSWER_SECONDS = 900.0  # no task takes so long, unless something hangs
WORKER = ("bench.cost.worker",)


class MeasurementError(Exception):
    """A network could not be measured."""

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state, self.reason = state, reason


class MeasuringProcess:
    """A fresh process for one network, ended when the `with` block is left."""

    def __init__(
        self, config: Config, log: Path, *, timing: bool, worker: Sequence[str] = WORKER
    ) -> None:
        """Starts it.

        Args:
            config: of the run.
            log: its standard error is appended there.
            timing: keep freed memory as runs do; memory is measured without, so that the peak is
                that of tensors and not of what the C library holds back.
            worker: the module that runs in it, and its arguments.
        """
        with log.open("a") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *worker],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # Ctrl-C reaches the parent, which ends its children
                env=child_environment(keep_memory=timing),
            )
        self._log = log
        self._send(plain(config))

    def ask(self, task: str, **arguments: Any) -> dict[str, Any]:
        """Has a task of bench/cost/worker.py done and returns its answer.

        Raises:
            MeasurementError: it failed, ran out of memory, died, or gave no answer.
        """
        self._send({"task": task, **arguments})
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], ANSWER_SECONDS)[0]:
            raise MeasurementError(
                State.failed, f"{task}: no answer in {ANSWER_SECONDS / 60:.0f} minutes"
            )
        line = self._process.stdout.readline()
        if not line:
            raise MeasurementError(*_died(self._process.wait(), task, self._log))
        reply: dict[str, Any] = json.loads(line)
        if "answer" not in reply:
            raise MeasurementError(reply["state"], reply["reason"])
        answer: dict[str, Any] = reply["answer"]
        return answer

    def _send(self, content: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(content) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # it is dead: reading its answer will say so
            return

    def __enter__(self) -> "MeasuringProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()


def _died(code: int, task: str, log: Path) -> tuple[str, str]:
    """Returns state and reason of a process that ended without an answer."""
    if code == -signal.SIGKILL:
        return State.killed, (
            f"{task}: killed by SIGKILL, which the kernel sends when memory runs out"
        )
    if code < 0:
        return State.killed, f"{task}: killed by {signal.Signals(-code).name}"
    return State.failed, f"{task}: ended with exit code {code}; {log} has the rest"
