"""Reading cost records: RUNS/cost/*.json, one measurement of one network on one machine each.

A reading that is missing is None and shows as n/a; it never becomes 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import records
from reports.runs import warn

# From what a driver sees down to what the allocator handed out: the first that was read is shown.
MEMORY_SOURCES = {
    "nvml_process_bytes": "NVML, this process",
    "reserved_bytes": "allocator, reserved",
    "allocated_bytes": "allocator, allocated",
    "resident_bytes": "resident set",
}
INFERENCE = "inference"
TIMES = ("forward_ms", "backward_ms", "step_ms")


@dataclass(frozen=True)
class Cost:
    """What one network costs on one machine.

    Attributes:
        path: the record.
        arch: the network's configuration, with its name.
        setting: device, image size, classes, precision, mode, batch; equal ones are comparable.
        state: measured, out_of_memory or failed.
        reason: why it was not measured.
        samples: milliseconds by forward_ms, backward_ms and step_ms.
        memory: bytes and their source by `training` and `inference`.
        work: parameters, model_bytes, multiply_accumulates.
        storage: bytes kept for the decoder.
        environment: machine, versions, commit.
    """

    path: Path
    arch: dict[str, Any]
    setting: tuple[str, ...]
    image_size: tuple[int, int]
    state: str
    reason: str
    samples: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, tuple[float, str] | None] = field(default_factory=dict)
    work: dict[str, Any] = field(default_factory=dict)
    storage: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The network's display name."""
        return str(self.arch["name"])

    @property
    def device(self) -> str:
        """The machine's name."""
        return self.setting[0]

    def quartiles(self, time: str) -> tuple[float, float, float] | None:
        """Median and quartiles of a time in milliseconds: (median, lower, upper)."""
        samples = self.samples.get(time)
        if not samples:
            return None
        lower, median, upper = np.quantile(samples, [0.25, 0.5, 0.75]).tolist()
        return median, lower, upper

    def megabytes(self, mode: str) -> float | None:
        """Peak memory in 1e6 bytes, training or inference."""
        reading = self.memory.get(mode)
        return reading[0] / 1e6 if reading else None

    @property
    def storage_multiplier(self) -> float | None:
        """What the first level keeps for the decoder, in fp32 maps of its size (Table 1)."""
        kept = self.storage.get("retained_bytes_first_level")
        if kept is None:
            return None
        height, width = self.image_size
        return float(kept) / (4 * -(-height // 2) * -(-width // 2))


def read_costs(root: Path) -> list[Cost]:
    """Reads all cost records of a folder of runs; unreadable ones are passed over, with a warning.

    Of several measurements of one network in one setting, the newest file counts.
    """
    found: dict[tuple[Any, ...], Cost] = {}
    for path in sorted((root / "cost").glob("*.json"), key=lambda p: p.stat().st_mtime):
        try:
            cost = _read_cost(path)
        except ValueError as error:
            warn(str(error))
        else:
            found[(*cost.setting, str(sorted(cost.arch.items(), key=str)))] = cost
    return list(found.values())


def _read_cost(path: Path) -> Cost:
    content = records.read_json(path)
    arch, size = content.get("arch"), content.get("image_size")
    if content.get("version", 0) > records.VERSION:
        raise ValueError(f"{path}: its version {content['version']} is newer than this program")
    if not isinstance(arch, dict) or "name" not in arch or not isinstance(size, list):
        raise ValueError(f"{path}: not a cost record (no arch.name or no image_size)")
    environment = content.get("environment") or {}
    how = content.get("cost") or {}
    backward = how.get("backward", bool((content.get("time") or {}).get("backward_ms")))
    setting = (
        environment.get("device") or content.get("device") or "unknown device",
        f"{size[0]}x{size[1]}",
        f"{content.get('num_classes', 'n/a')} classes",
        content.get("precision") or "precision n/a",
        "as in training" if backward else INFERENCE,
        f"batch {how.get('batch_size', 1)}",
    )
    memory = content.get("memory") or {}
    time = content.get("time") or {}
    return Cost(
        path=path,
        arch=arch,
        setting=tuple(map(str, setting)),
        image_size=(size[0], size[1]),
        state=str(content.get("state", "measured")),
        reason=str(content.get("reason") or ""),
        samples={name: time[name] for name in TIMES if time.get(name)},
        memory={mode: _reading(memory.get(mode) or {}) for mode in ("training", "inference")},
        work=content.get("work") or {},
        storage=content.get("storage") or {},
        environment=environment,
    )


def _reading(memory: dict[str, Any]) -> tuple[float, str] | None:
    readings = memory.get("readings") or {}
    for key, source in MEMORY_SOURCES.items():
        if readings.get(key):
            return float(readings[key]), source
    return None


def costs_of(costs: Iterable[Cost], arch: dict[str, Any], size: list[int]) -> list[Cost]:
    """Finds the measurements of a network at an image size, one for each setting.

    The arguments that only mirror the protocol (dropout, epsilon) do not change what it costs.
    """
    return [
        cost
        for cost in costs
        if list(cost.image_size) == list(size) and _structure(cost.arch) == _structure(arch)
    ]


def cost_of(costs: Iterable[Cost], arch: dict[str, Any], size: list[int]) -> Cost | None:
    """Finds one measurement of a network, or None.

    One of inference is preferred, as Table 1 has it; of several the first by name is taken, so that
    a column mixes none by chance.
    """
    return min(
        costs_of(costs, arch, size),
        key=lambda cost: (INFERENCE not in cost.setting, cost.setting),
        default=None,
    )


def _structure(arch: dict[str, Any]) -> dict[str, Any]:
    without = {"dropout", "batch_norm_eps", "weights", "input_size"}
    return {key: value for key, value in arch.items() if key not in without}
