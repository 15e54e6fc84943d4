"""Memory that a network takes, by source, and an estimate of it from shapes alone.

    allocated_bytes      peak of torch's CUDA allocator: the tensors
    reserved_bytes       peak of what the allocator holds for them
    nvml_process_bytes   what the driver counts for the process: context, kernels and cached blocks
                         too; the closest to the paper's nvidia-smi (Table 6)
    resident_bytes       peak resident size of the process, on a CPU; where Linux does not let the
                         peak be forgotten, known once the process exceeds what it reached before

A reading that a device does not have is None, never 0.
"""

import contextlib
import os
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.config import Config
from bench.cost.nvml import Card, match_process
from bench.cost.shapes import shapes_only
from bench.cost.workload import Workload


class MemoryMeter:
    """Reads memory, less what the process and the card held before the network was there."""

    def __init__(self, card: Card | None) -> None:
        """Takes the baselines, so the process must not have used the device before."""
        self.card = card
        forget_peak_resident()
        present, self._earlier_peak = resident_bytes()
        self.baselines = {
            "resident_bytes": present,
            "nvml_device_bytes": card.used_bytes() if card else None,
        }
        self._others = {pid for pid, _ in (card.processes() if card else None) or ()}

    def restart(self, device: torch.device) -> None:
        """Forgets peaks and cached blocks of a GPU, so that a warm-up does not count."""
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)

    def read(self, device: torch.device) -> dict[str, Any]:
        """Returns the peaks and present readings, and how the driver's was found."""
        if device.type != "cuda":
            return {**NO_READINGS, "resident_bytes": self._grown()}
        torch.cuda.synchronize(device)
        before = self.baselines["nvml_device_bytes"]
        now = self.card.used_bytes() if self.card else None
        delta = None if before is None or now is None else now - before
        processes = self.card.processes() if self.card else None
        match = match_process(processes, self._others, os.getpid(), delta)
        return {
            **NO_READINGS,
            "allocated_bytes": torch.cuda.max_memory_allocated(device),
            "reserved_bytes": torch.cuda.max_memory_reserved(device),
            "nvml_process_bytes": match.bytes,
            "nvml_source": match.source,
            "nvml_device_bytes": delta,
        }

    def _grown(self) -> int | None:
        """Returns how far the resident size grew; None where an older peak hides it."""
        present, peak = self.baselines["resident_bytes"], resident_bytes()[1]
        assert present is not None
        hidden = peak == self._earlier_peak and peak - present > HIDING_BYTES
        return None if hidden else peak - present


STATUS = Path("/proc/self/status")
SIZES = ("VmRSS:", "VmHWM:")
HIDING_BYTES = 2**20  # the system counts pages in batches, so peak and present differ by some
NO_READINGS: dict[str, Any] = {
    "nvml_process_bytes": None,
    "nvml_source": None,
    "nvml_device_bytes": None,
    "allocated_bytes": None,
    "reserved_bytes": None,
    "resident_bytes": None,
}


def resident_bytes() -> tuple[int, int]:
    """Returns the present resident size of this process and its peak, in bytes.

    Where the system tells only the peak, it stands for both.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = peak if sys.platform == "darwin" else peak * 1024
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    sizes = {line[:6]: int(line.split()[1]) * 1024 for line in lines if line[:6] in SIZES}
    peak = sizes.get("VmHWM:", peak)
    return sizes.get("VmRSS:", peak), peak


def forget_peak_resident() -> None:
    """Sets the peak to the present size, where Linux allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def free_bytes(device: torch.device) -> int | None:
    """Returns the memory that is free on a device; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    info = Path("/proc/meminfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def estimate_peak(
    network: nn.Module,
    config: Config,
    batch: int,
    *,
    training: bool,
    frozen_statistics: bool = False,
) -> int:
    """Estimates the peak of the allocator from shapes: weights, activations, gradients, momentum.

    What libraries take for themselves (a convolution's workspace, the CUDA context) is not in it.

    Args:
        network: left as it is.
        config: of the run; its protocol decides image size, precision and optimiser.
        batch: images at a time.
        training: a weight update; otherwise inference.
        frozen_statistics: as in `Workload.make`.
    """
    # This import would add a second, and a fifth of a gigabyte, to every measuring process.
    from torch.distributed._tools.mem_tracker import MemTracker  # noqa: PLC0415

    copied, mode = shapes_only(network)
    with mode:
        work = Workload.make(
            copied, config, batch, training=training, frozen_statistics=frozen_statistics
        )
        tracker = MemTracker()
        tracker.track_external(copied, *work.external())
        with tracker:
            work.run()
    peak = tracker.get_tracker_snapshot("peak")
    return max(int(of_device["Total"]) for of_device in peak.values())
