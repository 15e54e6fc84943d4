"""Reading cost records: RUNS/cost/*.json, one measurement of one network on one machine each.

A reading that is missing is None and shows as n/a; it never becomes 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from bench import records
from reports.read.runs import warn

# From what a driver sees down to what the allocator handed out: the first that was read is shown.
MEMORY_SOURCES = {
    "nvml_process_bytes": "NVML",
    "reserved_bytes": "allocator, reserved",
    "allocated_bytes": "allocator, allocated",
    "resident_bytes": "peak resident size",
}
NVML_SOURCES = {
    "pid": "this process",
    "only new process": "the only process that came since",
    "device delta": "growth of the whole card",
}
PUBLISHED_SIZE, PUBLISHED_DEVICE = (360, 480), "titan"
TRAINING, INFERENCE = "training", "inference"
TIMES = ("forward_ms", "backward_ms", "optimiser_ms", "step_ms")
WALL = "wall_"  # before the name of a time: by the wall clock, where another is the first
# What a rate of the device is compared with, and how many of its unit are in one of that.
RATES = {
    "convolution_flops": ("multiply_accumulates", 2),
    "copy_bytes_per_second": ("moved_bytes", 1),
}
SWITCHES = ("channels_last", "compile", "deterministic")  # of the protocol, that change a time


class Memory(NamedTuple):
    """A reading of memory in bytes.

    Attributes:
        bytes: with the baseline subtracted where there is one.
        source: who counted.
        baseline: what was there before the network, where it was subtracted.
        batch: images at a time.
    """

    bytes: float
    source: str
    baseline: float | None
    batch: int | None


@dataclass(frozen=True)
class Cost:
    """What one network costs on one machine.

    Attributes:
        path: the record.
        arch: the network's configuration, with its name.
        setting: device, image size, classes, precision, mode, batch, switches; equal ones are
            comparable.
        state: measured, out_of_memory, killed or failed.
        reason: why it was not measured.
        samples: milliseconds by forward_ms, backward_ms, optimiser_ms and step_ms, and on a GPU
            the same by the wall clock with `wall_` before them.
        memory: readings by `training` and `inference`.
        memory_states: measured, out_of_memory and so on, by the same.
        estimates: bytes from shapes alone, by the same.
        work: parameters, model_bytes, file_bytes, multiply_accumulates, moved_bytes.
        storage: bytes kept for the decoder.
        environment: machine, versions, commit.
        timing: clock, stopped_because, dropped_samples and the rest of the record's `time`.
        rates: samples of what the device reaches: convolution_flops, copy_bytes_per_second.
        joules: energy of inference on one image.
        how: the measurement's configuration.
        switches: precision, tf32, compile and the like.
        company: who took turns with it.
    """

    path: Path
    arch: dict[str, Any]
    setting: tuple[str, ...]
    image_size: tuple[int, int]
    state: str
    reason: str
    samples: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, Memory | None] = field(default_factory=dict)
    memory_states: dict[str, str | None] = field(default_factory=dict)
    estimates: dict[str, float | None] = field(default_factory=dict)
    work: dict[str, Any] = field(default_factory=dict)
    storage: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, Any] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)
    joules: float | None = None
    how: dict[str, Any] = field(default_factory=dict)
    switches: dict[str, Any] = field(default_factory=dict)
    company: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The network's display name."""
        return str(self.arch["name"])

    def quartiles(self, time: str) -> tuple[float, float | None, float | None] | None:
        """Median and quartiles of a time in milliseconds: (median, lower, upper).

        A single sample has no quartiles.
        """
        samples = self.samples.get(time)
        if not samples:
            return None
        lower, middle, upper = np.quantile(samples, [0.25, 0.5, 0.75]).tolist()
        return (middle, lower, upper) if len(samples) > 1 else (middle, None, None)

    def megabytes(self, mode: str) -> float | None:
        """Peak memory in 1e6 bytes, training or inference."""
        reading = self.memory.get(mode)
        return reading.bytes / 1e6 if reading else None

    @property
    def storage_multiplier(self) -> float | None:
        """What the first level keeps for the decoder, in the paper's unit (Table 1)."""
        return self._in_maps(self.storage.get("retained_bytes_first_level"))

    @property
    def storage_of_all_levels(self) -> float | None:
        """What all levels keep for the decoder, in the same unit."""
        return self._in_maps(self.storage.get("retained_bytes"))

    def _in_maps(self, kept: float | None) -> float | None:
        """Counts in fp32 maps of half the image's height and width: 180x240 for 360x480."""
        height, width = self.image_size
        return None if kept is None else float(kept) / (4 * -(-height // 2) * -(-width // 2))

    def share(self, rate: str) -> float | None:
        """What the forward pass reaches of a rate of the device, in percent."""
        counted, factor = RATES[rate]
        forward, work = self.samples.get("forward_ms"), self.work.get(counted)
        if not forward or not work or not self.rates.get(rate):
            return None
        images = self.timing.get("batch", 1)
        reached = factor * work * images / (median(forward) / 1e3)
        return float(100 * reached / median(self.rates[rate]))

    @property
    def is_like_published(self) -> bool:
        """Whether times and memory were taken as the paper's, on a Titan at 360x480 (Table 6)."""
        return self.image_size == PUBLISHED_SIZE and PUBLISHED_DEVICE in self.setting[0].lower()

    @property
    def computing(self) -> float | None:
        """The share of the wall time for which a CPU computed; None on other devices."""
        clocks = self.timing.get("clocks") or {}
        wall, process = (sum((clocks.get(c) or {}).get("step_ms", [])) for c in ("wall", "process"))
        return float(process / wall) if wall and process else None


def read_costs(root: Path) -> list[Cost]:
    """Reads all cost records of a folder of runs."""
    return costs_in(sorted((root / "cost").glob("*.json"), key=lambda p: p.stat().st_mtime))


def costs_in(paths: Iterable[Path]) -> list[Cost]:
    """Reads cost records; unreadable ones are passed over, with a warning.

    Of several measurements of one network in one setting, the last counts.
    """
    found: dict[tuple[Any, ...], Cost] = {}
    for path in paths:
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
    time, memory = content.get("time") or {}, content.get("memory") or {}
    parts = {mode: memory.get(mode) or {} for mode in (TRAINING, INFERENCE)}
    return Cost(
        path=path,
        arch=arch,
        setting=_setting(content, size),
        image_size=(size[0], size[1]),
        state=str(content.get("state", "measured")),
        reason=str(content.get("reason") or ""),
        samples=_samples(time),
        memory={mode: _reading(part) for mode, part in parts.items()},
        memory_states={mode: part.get("state") for mode, part in parts.items()},
        estimates={mode: part.get("estimate_bytes") for mode, part in parts.items()},
        work=content.get("work") or {},
        storage=content.get("storage") or {},
        environment=content.get("environment") or {},
        timing=time,
        rates={k: v for k, v in (content.get("calibration") or {}).items() if k != "reason"},
        joules=(content.get("energy") or {}).get("joules_per_image"),
        how=content.get("cost") or {},
        switches=content.get("arithmetic") or {},
        company=tuple(content.get("timed_with") or ()),
    )


def _setting(content: dict[str, Any], size: list[int]) -> tuple[str, ...]:
    environment = content.get("environment") or {}
    how, protocol = content.get("cost") or {}, content.get("protocol") or {}
    backward = how.get("backward", bool((content.get("time") or {}).get("backward_ms")))
    place = [environment.get("device") or content.get("device") or "unknown device"]
    if environment.get("device_type") == "cpu":
        place += ["CPU figures", f"threads {environment.get('threads', 'n/a')}"]
    what = [
        f"{size[0]}x{size[1]}",
        f"{content.get('num_classes', 'n/a')} classes",
        content.get("precision") or "precision n/a",
        "as in training" if backward else INFERENCE,
        f"batch {how.get('batch_size', 1)}",
    ]
    return tuple(map(str, [*place, *what, *(s for s in SWITCHES if protocol.get(s))]))


def _samples(time: dict[str, Any]) -> dict[str, list[float]]:
    wall = (time.get("clocks") or {}).get("wall") or {}
    others = wall if time.get("clock") not in {None, "wall"} else {}
    return {
        **{name: time[name] for name in TIMES if time.get(name)},
        **{f"{WALL}{name}": others[name] for name in TIMES if others.get(name)},
    }


def _reading(part: dict[str, Any]) -> Memory | None:
    readings, baselines = part.get("readings") or {}, part.get("baselines") or {}
    for key, source in MEMORY_SOURCES.items():
        if readings.get(key) is None:
            continue
        found = readings.get("nvml_source") if key == "nvml_process_bytes" else None
        subtracted = "nvml_device_bytes" if found == "device delta" else key
        words = f"{source}, {NVML_SOURCES[found]}" if found in NVML_SOURCES else source
        return Memory(float(readings[key]), words, baselines.get(subtracted), part.get("batch"))
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
