"""What NVIDIA's driver says of a GPU: memory by process, clocks, power, throttling, energy.

A reading that the driver does not give is None, and `Card.missing` says why.
"""

import os
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import pynvml
import torch

# Reasons for which the clock is not what the work would get on a healthy card. A power cap is not
# among them: a network that draws the full power runs at that clock on every such card.
THROTTLED = {
    "hardware slowdown": pynvml.nvmlClocksEventReasonHwSlowdown,
    "hardware thermal slowdown": pynvml.nvmlClocksEventReasonHwThermalSlowdown,
    "power brake": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
    "software thermal slowdown": pynvml.nvmlClocksEventReasonSwThermalSlowdown,
}
NOTED = {"power cap": pynvml.nvmlClocksEventReasonSwPowerCap}
# The second is raised for a function that the installed driver is too old for.
REFUSALS = (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError)

Process = tuple[int, int | None]  # process id and bytes; None where the driver does not tell


class Match(NamedTuple):
    """The memory of a process on a GPU, and how it was told from that of others."""

    bytes: int | None
    source: str | None  # pid | only new process | device delta


def match_process(
    processes: Sequence[Process] | None, before: Collection[int], pid: int, delta: int | None
) -> Match:
    """Finds our process among those that NVML lists.

    In a container NVML lists the host's process ids: ours is not among them, and the same number
    may be another's. What was there before we began is therefore never ours, and a single process
    that came since is. Otherwise what the whole card has gained since then stands in.

    Args:
        processes: on the card now; None where the driver does not tell.
        before: ids of those that were on the card before our process used it.
        pid: ours.
        delta: bytes in use on the card, minus those before our process used it.
    """
    new = {number: used for number, used in processes or () if number not in before}
    if pid in new:
        match = Match(new[pid], "pid")
    elif len(new) == 1:
        match = Match(next(iter(new.values())), "only new process")
    else:
        match = Match(None, None)
    if match.bytes is not None:
        return match
    return Match(delta, None if delta is None else "device delta")


def throttle_reasons(bits: int) -> list[str]:
    """Names the reasons in NVML's bit field for which samples are dropped."""
    return [name for name, bit in THROTTLED.items() if bits & bit]


def nvml_names(cuda_uuid: str, visible: str | None) -> list[str]:
    """Returns the names that NVML may have for a CUDA device, the narrowest first.

    It goes by UUID: NVML's indices are not CUDA's. A MIG slice has a UUID of its own, by which
    CUDA_VISIBLE_DEVICES may name it (CUDA then uses the first alone); torch gives it without a
    prefix, and older drivers give that of the whole card.

    Args:
        cuda_uuid: as torch gives it, with or without a prefix.
        visible: CUDA_VISIBLE_DEVICES.
    """
    bare = cuda_uuid.removeprefix("GPU-").removeprefix("MIG-")
    first = (visible or "").split(",")[0].strip()
    slices = [first] if first.startswith("MIG-") else []
    return [*slices, f"GPU-{bare}", f"MIG-{bare}"]


class Card:
    """One GPU, or one MIG slice of it, as the driver sees it."""

    def __init__(self, cuda_uuid: str) -> None:
        """Finds the card.

        Raises:
            pynvml.NVMLError: there is no driver, no such card, or no permission.
        """
        pynvml.nvmlInit()
        self.missing: dict[str, str] = {}
        names = nvml_names(cuda_uuid, os.environ.get("CUDA_VISIBLE_DEVICES"))
        self.uuid, self._handle = _first_known(names)

    def used_bytes(self) -> int | None:
        """Returns what all processes together hold on the card."""
        memory = self._ask("memory", pynvml.nvmlDeviceGetMemoryInfo)
        return None if memory is None else int(memory.used)

    def processes(self) -> list[Process] | None:
        """Lists the processes that compute on the card; None where the driver does not tell."""
        processes = self._ask("processes", pynvml.nvmlDeviceGetComputeRunningProcesses)
        return None if processes is None else [(p.pid, p.usedGpuMemory) for p in processes]

    def energy_joules(self) -> float | None:
        """Returns the energy used since the driver was loaded; differences have a meaning."""
        energy = self._ask("energy", pynvml.nvmlDeviceGetTotalEnergyConsumption)
        return None if energy is None else energy / 1000

    def is_mig(self) -> bool:
        """Says whether the card is divided into slices."""
        if self.uuid.startswith("MIG-"):
            return True
        try:
            current, _ = pynvml.nvmlDeviceGetMigMode(self._handle)
        except REFUSALS:  # what most cards answer
            return False
        return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)

    def state(self) -> dict[str, Any]:
        """Returns clock, power, temperature and throttling now."""
        power = self._ask("power", pynvml.nvmlDeviceGetPowerUsage)
        bits = self._ask("throttling", pynvml.nvmlDeviceGetCurrentClocksEventReasons)
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
        except REFUSALS as error:
            self.missing[what] = str(error)
            return None


def _first_known(names: Sequence[str]) -> tuple[str, Any]:
    """Returns the first name that NVML knows, with its handle."""
    refused: Exception | None = None
    for name in names:
        try:
            return name, pynvml.nvmlDeviceGetHandleByUUID(name)
        except (pynvml.NVMLError_NotFound, pynvml.NVMLError_InvalidArgument) as error:
            refused = refused or error
    assert refused is not None
    raise refused


def cuda_card(device: str) -> tuple[Card | None, str | None]:
    """Returns the card of a device (auto, cpu, cuda, cuda:N), or None and the reason in words.

    Nothing is put on the device, so that a baseline can be read before anything is.
    """
    if device != "auto" and not device.startswith("cuda"):
        return None, "no GPU is asked for"
    if not torch.cuda.is_available():
        return None, f"torch finds no GPU ({_driver_words()})"
    index = torch.device("cuda" if device == "auto" else device).index or 0
    if index >= torch.cuda.device_count():
        return None, f"torch finds {torch.cuda.device_count()} GPUs, no {device}"
    try:
        return Card(str(torch.cuda.get_device_properties(index).uuid)), None
    except REFUSALS as error:
        return None, f"NVML: {error}"


def _driver_words() -> str:
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except REFUSALS as error:
        return f"NVML: {error}"
    return f"the driver lists {count}; is this torch built for the CPU alone?"
