"""What NVIDIA's driver says of a GPU: memory by process, clocks, power, throttling, energy.

A reading that the driver does not give is None, and `Card.missing` says why.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pynvml
import torch

# Reasons for which the clock is not what the work would get on a healthy card. A power cap is not
# among them: a network that draws the full power runs at that clock on every such card.
THROTTLED = {
    "hardware slowdown": pynvml.nvmlClocksThrottleReasonHwSlowdown,
    "hardware thermal slowdown": pynvml.nvmlClocksThrottleReasonHwThermalSlowdown,
    "power brake": pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown,
    "software thermal slowdown": pynvml.nvmlClocksThrottleReasonSwThermalSlowdown,
}
NOTED = {"power cap": pynvml.nvmlClocksThrottleReasonSwPowerCap}


class Match(NamedTuple):
    """The memory of a process on a GPU, and how it was told from that of others."""

    bytes: int | None
    source: str | None  # pid | only process | device delta


def match_process(
    processes: Iterable[tuple[int, int | None]], pid: int, delta: int | None
) -> Match:
    """Finds a process among those that NVML lists.

    In a container NVML lists the host's process ids, which are not ours; a single process is then
    ours. Where there are several, what the whole card holds more than before we began stands in.

    Args:
        processes: process id and bytes (None where the driver does not tell) of each.
        pid: ours.
        delta: bytes in use on the card, minus those before our process used it.
    """
    known = [(number, used) for number, used in processes if used is not None]
    for number, used in known:
        if number == pid:
            return Match(used, "pid")
    if len(known) == 1:
        return Match(known[0][1], "only process")
    return Match(delta, None if delta is None else "device delta")


def throttle_reasons(bits: int) -> list[str]:
    """Names the reasons in NVML's bit field for which samples are dropped."""
    return [name for name, bit in THROTTLED.items() if bits & bit]


def nvml_uuid(cuda_uuid: str, visible: str | None) -> str:
    """Returns the name that NVML has for a CUDA device; its indices are not CUDA's.

    Args:
        cuda_uuid: as torch gives it, with or without the prefix.
        visible: CUDA_VISIBLE_DEVICES, which names a MIG slice where one is used.
    """
    if visible and visible.startswith("MIG-"):
        return visible.split(",")[0]
    return cuda_uuid if cuda_uuid.startswith(("GPU-", "MIG-")) else f"GPU-{cuda_uuid}"


class Card:
    """One GPU, or one MIG slice of it, as the driver sees it."""

    def __init__(self, cuda_uuid: str) -> None:
        """Finds the card.

        Raises:
            pynvml.NVMLError: there is no driver, no such card, or no permission.
        """
        pynvml.nvmlInit()
        self.uuid = nvml_uuid(cuda_uuid, os.environ.get("CUDA_VISIBLE_DEVICES"))
        self.missing: dict[str, str] = {}
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(self.uuid)

    def used_bytes(self) -> int | None:
        """Returns what all processes together hold on the card."""
        memory = self._ask("memory", pynvml.nvmlDeviceGetMemoryInfo)
        return None if memory is None else int(memory.used)

    def processes(self) -> list[tuple[int, int | None]]:
        """Lists the processes that compute on the card, with their bytes where known."""
        found = self._ask("processes", pynvml.nvmlDeviceGetComputeRunningProcesses)
        return [(p.pid, p.usedGpuMemory) for p in found or []]

    def process_bytes(self, baseline: int | None) -> Match:
        """Returns the memory of this process; `baseline` is `used_bytes` before it began."""
        used = self.used_bytes()
        delta = None if used is None or baseline is None else used - baseline
        return match_process(self.processes(), os.getpid(), delta)

    def energy_joules(self) -> float | None:
        """Returns the energy used since the driver was loaded; differences have a meaning."""
        energy = self._ask("energy", pynvml.nvmlDeviceGetTotalEnergyConsumption)
        return None if energy is None else energy / 1000

    def is_mig(self) -> bool:
        """Says whether the card is divided into slices."""
        mode = self._ask("MIG mode", pynvml.nvmlDeviceGetMigMode)
        return self.uuid.startswith("MIG-") or bool(mode and mode[0])

    def state(self) -> dict[str, Any]:
        """Returns clock, power, temperature and throttling now."""
        power = self._ask("power", pynvml.nvmlDeviceGetPowerUsage)
        bits = self._ask("throttling", pynvml.nvmlDeviceGetCurrentClocksThrottleReasons)
        return {
            "sm_clock_mhz": self._ask(
                "SM clock", pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM
            ),
            "power_watts": None if power is None else power / 1000,
            "temperature_celsius": self._ask(
                "temperature", pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU
            ),
            "throttled": None if bits is None else throttle_reasons(bits),
            "noted": None if bits is None else [n for n, bit in NOTED.items() if bits & bit],
        }

    def _ask(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(self._handle, *arguments)
        except pynvml.NVMLError as error:
            self.missing[what] = str(error)
            return None


def cuda_card(device: str) -> tuple[Card | None, str | None]:
    """Returns the card of a device (auto, cpu, cuda, cuda:N), or None and the reason in words.

    Nothing is put on the device, so that a baseline can be read before anything is.
    """
    if device == "cpu":
        return None, "no GPU is asked for"
    if not torch.cuda.is_available():
        return None, f"torch finds no GPU ({_driver_words()})"
    index = torch.device("cuda" if device == "auto" else device).index or 0
    try:
        return Card(str(torch.cuda.get_device_properties(index).uuid)), None
    except pynvml.NVMLError as error:
        return None, f"NVML: {error}"


def _driver_words() -> str:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return f"NVML: {error}"
    return f"the driver lists {pynvml.nvmlDeviceGetCount()}; is this torch built for the CPU alone?"
