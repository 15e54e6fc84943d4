"""Reading cost records: RUNS/cost/*.json, one measurement of one network on one machine each.

A reading that is missing is None and shows as n/a; it never becomes 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from bench import records
from bench.sound_files import require
from reports.read.cost_settings import INFERENCE, setting_of, windows
from reports.read.runs import Run, warn
from reports.read.shapes import COST

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
TRAINING = "training"
TIMES = ("forward_ms", "backward_ms", "optimiser_ms", "step_ms")
WALL = "wall_"  # before the name of a time: by the wall clock, where another is the first
GRAPH = "graph_"  # likewise: of the forward pass as a CUDA graph, without the host's launches
# A forward pass that takes this many times as long as its graph is bound by the host's launches.
LAUNCH_BOUND = 1.1
# What a rate of the device is compared with, and how many of its unit are in one of that.
RATES = {
    "convolution_flops": ("multiply_accumulates", 2),
    "copy_bytes_per_second": ("moved_bytes", 1),
}


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
        setting: see `setting_of`; equal ones are comparable.
        windows: through which the network sees an image; empty: whole.
        state: measured, out_of_memory, killed or failed.
        reason: why it was not measured.
        samples: milliseconds by forward_ms, backward_ms, optimiser_ms and step_ms, where they are
            not wall time the same by the wall clock with `wall_` before them, and on a GPU
            graph_forward_ms.
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
    windows: str = ""

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

    def storage_in_maps(self, key: str) -> float | None:
        """What is kept for the decoder in the paper's unit (Table 1).

        It is one fp32 map of half the image's height and width: 180x240 for 360x480.
        """
        kept, (height, width) = self.storage.get(key), self.image_size
        return None if kept is None else float(kept) / (4 * -(-height // 2) * -(-width // 2))

    def share(self, rate: str) -> float | None:
        """What the forward pass reaches of a rate of the device, in percent.

        None by process time: rates are by the wall clock.
        """
        if self.clock == "process":
            return None
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
    def clock(self) -> str | None:
        """Which clock the times are by: device, wall or process; None without times."""
        return self.timing.get("clock")

    def by_clock(self, clock: str) -> "Cost":
        """Returns the same measurement by another of the clocks that it was taken by."""
        times = (self.timing.get("clocks") or {}).get(clock)
        if not times:
            return self
        timing = {**self.timing, "clock": clock, **times}
        return replace(self, timing=timing, samples=_samples(timing))

    @property
    def bound_by_launches(self) -> bool | None:
        """Says whether the forward pass waits for the host; None where no graph was captured."""
        eager, graph = self.samples.get("forward_ms"), self.samples.get(f"{GRAPH}forward_ms")
        if not eager or not graph:
            return None
        return bool(median(eager) > LAUNCH_BOUND * median(graph))


def read_costs(root: Path) -> list[Cost]:
    """Reads all cost records of a folder of runs."""
    return costs_in(sorted((root / "cost").glob("*.json"), key=lambda p: p.stat().st_mtime))


def costs_in(paths: Iterable[Path]) -> list[Cost]:
    """Reads cost records; unreadable ones are passed over, with a warning.

    Of several measurements of one network in one setting, the last counts. All of a setting are by
    process time where one of them is, so that they can be compared.
    """
    found: dict[tuple[Any, ...], Cost] = {}
    for path in paths:
        try:
            cost = read_cost(path)
        except ValueError as error:
            warn(str(error))
        else:
            found[(*cost.setting, str(sorted(cost.arch.items(), key=str)))] = cost
    process = {cost.setting for cost in found.values() if cost.clock == "process"}
    return [c.by_clock("process") if c.setting in process else c for c in found.values()]


def read_cost(path: Path) -> Cost:
    """Reads one cost record; raises ValueError where it is unsound."""
    content = records.read_json(path)
    require(path, content, COST)
    arch, size = content["arch"], content["image_size"]
    if len(size) != 2:
        raise ValueError(f"{path}: image_size={size} is no height and width; remove the file")
    time, memory = content.get("time") or {}, content.get("memory") or {}
    parts = {mode: memory.get(mode) or {} for mode in (TRAINING, INFERENCE)}
    return Cost(
        path=path,
        arch=arch,
        setting=setting_of(content),
        image_size=(size[0], size[1]),
        state=str(content.get("state", "measured")),
        reason=str(content.get("reason") or ""),
        samples=_samples(time),
        memory={mode: reading(part) for mode, part in parts.items()},
        memory_states={mode: part.get("state") for mode, part in parts.items()},
        estimates={mode: part.get("estimate_bytes") for mode, part in parts.items()},
        work=content.get("work") or {},
        storage=content.get("storage") or {},
        environment=content.get("environment") or {},
        timing=time,
        rates={k: v for k, v in (content.get("calibration") or {}).items() if k in RATES and v},
        joules=(content.get("energy") or {}).get("joules_per_image"),
        how=content.get("cost") or {},
        switches=content.get("arithmetic") or {},
        company=tuple(content.get("timed_with") or ()),
        windows=windows(content.get("protocol") or {}),
    )


def _samples(time: dict[str, Any]) -> dict[str, list[float]]:
    clocks = time.get("clocks") or {}
    wall = clocks.get("wall") if time.get("clock") not in {None, "wall"} else None
    named = (("", time), (WALL, wall or {}), (GRAPH, clocks.get("graph") or {}))
    found = {f"{prefix}{name}": times.get(name) for prefix, times in named for name in TIMES}
    return {name: samples for name, samples in found.items() if samples}


def reading(part: dict[str, Any]) -> Memory | None:
    """Returns the first source of MEMORY_SOURCES that a part of a record was read by."""
    readings, baselines = part.get("readings") or {}, part.get("baselines") or {}
    for key, source in MEMORY_SOURCES.items():
        if readings.get(key) is None:
            continue
        found = readings.get("nvml_source") if key == "nvml_process_bytes" else None
        subtracted = "nvml_device_bytes" if found == "device delta" else key
        words = f"{source}, {NVML_SOURCES[found]}" if found in NVML_SOURCES else source
        return Memory(float(readings[key]), words, baselines.get(subtracted), part.get("batch"))
    return None


def costs_of(costs: Iterable[Cost], run: Run) -> list[Cost]:
    """Finds the measurements of a run's network as it sees an image, one for each setting.

    Arguments that only mirror the protocol (dropout, epsilon) do not change what it costs. Where
    images have their own sizes, a crop is measured.
    """
    protocol = run.config["protocol"]
    size = protocol["image_size"] or protocol.get("augmentation", {}).get("crop")
    wanted = size, _structure(run.config["arch"]), windows(protocol)
    return [c for c in costs if ([*c.image_size], _structure(c.arch), c.windows) == wanted]


def cost_of(costs: Iterable[Cost], run: Run) -> Cost | None:
    """Finds one measurement of a run's network, or None.

    One of inference first, as Table 1 has it, then by name, so that a column mixes none by chance.
    """
    found = costs_of(costs, run)
    return min(found, key=lambda one: (INFERENCE not in one.setting, one.setting), default=None)


def _structure(arch: dict[str, Any]) -> dict[str, Any]:
    without = {
        "dropout", "batch_norm_eps", "weights", "input_size", "weights_match", "pretraining",
        "weights_backbone", "encoder_weights",
    }  # fmt: skip
    return {key: value for key, value in arch.items() if key not in without}
