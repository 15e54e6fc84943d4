"""A driver that is not there: answers such as NVML gives, written down, in the place of pynvml."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

GIGABYTE = 10**9
UUID = "8f3e2a10-0000-4000-8000-0000000000aa"


class RecordedDriver:
    """Stands in for the functions of pynvml; an answer that is an exception is raised."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        """Takes the driver's place.

        Args:
            monkeypatch: undoes it.
            names: the UUIDs that the driver knows; that of the whole card if none is given.
        """
        self.names = names or (f"GPU-{UUID}",)
        self.answers: dict[str, Any] = {
            "MemoryInfo": SimpleNamespace(used=GIGABYTE),
            "ComputeRunningProcesses": [],
            "MigMode": pynvml.NVMLError_NotSupported(),
            "TotalEnergyConsumption": 5_000,  # mJ
            "PowerUsage": 250_000,  # mW
            "CurrentClocksEventReasons": 0,
            "ClockInfo": 1410,
            "Temperature": 51,
        }
        monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", self._handle)
        for what in self.answers:
            monkeypatch.setattr(pynvml, f"nvmlDeviceGet{what}", self._asked(what))

    def processes(self, *listed: Sequence[int | None]) -> None:
        """Has the driver list process ids with their bytes."""
        self.answers["ComputeRunningProcesses"] = [
            SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in listed
        ]

    def _handle(self, name: str) -> str:
        if name not in self.names:
            raise pynvml.NVMLError_NotFound
        return name

    def _asked(self, what: str) -> Any:
        def answer(handle: str, *arguments: Any) -> Any:
            assert handle in self.names
            given = self.answers[what]
            if isinstance(given, Exception):
                raise given
            return given

        return answer
