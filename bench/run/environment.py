"""Where a run ran: machine, versions, commit and the sources themselves."""

import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from bench import sources
from bench.config import Config
from bench.run import distributed

# What must not change between a checkpoint and its resumption, or results would mix silently.
BINDING = ("torch", "device", "threads", "processes", "sources")


def describe_environment(
    config: Config, device: torch.device, rooms: Iterable[str] = sources.ROOMS
) -> dict[str, Any]:
    """Describes the machine and the software; a reading that is missing is None, never 0.

    Args:
        config: of the run.
        device: where it computes.
        rooms: the parts of bench whose code decides the result.
    """
    cuda, code = device.type == "cuda", sources.code_of(config, rooms)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "driver": _driver() if cuda else None,
        "device": torch.cuda.get_device_name(device) if cuda else _cpu_name(),
        "device_type": device.type,
        "threads": torch.get_num_threads(),
        "processes": distributed.size(),
        "commit": _commit(),
        "sources": sources.total(code),
        "code": code,
        "host": platform.node(),
    }


def changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Says in words what differs between two environments and could change results."""
    before = {"processes": 1, **then}  # records older than the key are of one process
    # On a GPU the CPU's threads change no number; that the device did is said by itself.
    binding = [key for key in BINDING if key != "threads" or now["device_type"] == "cpu"]
    return [f"{key} was {before[key]}, is {now[key]}" for key in binding if before[key] != now[key]]


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _driver() -> str | None:
    import pynvml  # noqa: PLC0415 - only machines with a GPU need it

    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return None


def _commit() -> str | None:
    """Returns the commit of the sources, with a + when they changed since; None outside git."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        dirty = subprocess.run(
            [*git, "status", "--porcelain"], capture_output=True, text=True, check=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")
