"""The measurement of one network, and the record it leaves. This file imports no torch.

    state, reason      measured | out_of_memory | killed | failed: the first part that failed
    arch, num_classes, image_size, precision, protocol, cost, device    what was measured
    environment, arithmetic    where, and with which switches
    work               parameters, trainable_parameters, model_bytes, file_bytes,
                       multiply_accumulates, moved_bytes
    storage            retained_bytes, retained_bytes_first_level (null without a bottleneck)
    memory.training, memory.inference    batch, state, readings by source, baselines,
                       estimate_bytes from shapes alone
    time               raw samples in milliseconds by one clock: forward_ms, backward_ms,
                       optimiser_ms, step_ms. `clock` says which: CUDA events, on a CPU the wall or,
                       where other programs took the cores (`cores_taken`, the part of the time that
                       was needed), process time. Those of every clock are under `clocks`, with the
                       time waiting for a core and, on a GPU, the forward pass as a CUDA graph;
                       warm_up, dropped, card (as it was during each turn), stopped_because
    timed_with         the networks it took turns with
    calibration        samples of the device's rates, taken in the same turns
    energy             joules_per_image of inference

What was not read, or does not exist on a device, is null.
"""

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import records
from bench.config import Config, variant_of
from bench.cost.measuring_process import WORKER, MeasurementError, MeasuringProcess
from bench.typed import plain

MEASURED = "measured"
# What makes two measurements the same measurement.
IDENTITY = ("arch", "num_classes", "image_size", "protocol", "cost", "device")
# Of the environment: two GPUs of one machine, or two numbers of threads, have a record each.
PLACE = ("device", "threads")
# What must not have changed for an earlier record to be kept.
CIRCUMSTANCES = ("torch", "device", "threads", "sources", "host")


@dataclass
class Measurement:
    """One network in one setting, with what has been measured so far.

    Attributes:
        worker: the module, and its arguments, of the process in which it is measured.
    """

    config: Config
    record: dict[str, Any]
    log: Path
    estimates: dict[str, int | None] = field(default_factory=dict)
    free_bytes: int | None = None
    worker: tuple[str, ...] = WORKER

    def process(self, *, timing: bool) -> MeasuringProcess:
        """Starts a process that measures it."""
        return MeasuringProcess(self.config, self.log, timing=timing, worker=self.worker)

    @property
    def name(self) -> str:
        """The network's name."""
        return str(self.record.get("arch", self.config.arch)["name"])

    @property
    def path(self) -> Path:
        """Where the record goes: readable parts, then a hash of its identity."""
        record = self.record
        place = record["environment"] or {}
        identity = {
            **{key: record[key] for key in IDENTITY},
            "environment": [place.get(key) for key in PLACE],
        }
        text = json.dumps(identity, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        name = "".join(c if c.isalnum() else "_" for c in self.name).lower()
        size = "x".join(map(str, record["image_size"]))
        file = f"{name}-{size}-{record['precision']}-{record['device']}-{digest}.json"
        return self.log.parent / file

    def is_sound(self) -> bool:
        """Says whether nothing has failed yet."""
        return bool(self.record["state"] == MEASURED)

    def was_measured(self) -> bool:
        """Says whether a record is there, of this machine and these sources."""
        if not self.is_sound() or not self.path.exists():
            return False
        before, now = records.read_json(self.path), self.record["environment"]
        return before["state"] == MEASURED and all(
            before["environment"][key] == now[key] for key in CIRCUMSTANCES
        )

    def fail(self, error: MeasurementError, part: str) -> None:
        """Notes the first failure as the record's state."""
        if self.is_sound():
            self.record.update(state=error.state, reason=f"{part}: {error.reason}")
        print(f"{self.name}: {part} {error.state}: {error.reason}", flush=True)


def new_measurement(config: Config) -> Measurement:
    """Starts a record in RUNS/cost; what is not known is null in it."""
    folder = Path(config.runs).absolute() / "cost"
    folder.mkdir(parents=True, exist_ok=True)
    name = "-".join(filter(None, [config.arch["name"], variant_of(config.postprocess)]))
    record = {
        "kind": "cost",
        "state": MEASURED,
        "reason": None,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "arch": config.arch | {"name": name},
        "num_classes": len(config.dataset.classes),
        "image_size": config.protocol.measured_size,
        "precision": config.protocol.precision,
        "device": config.device,
        "protocol": plain(config.protocol),
        "cost": plain(config.cost),
        "command": config.command,
        "environment": None,
        "arithmetic": None,
        "work": None,
        "storage": None,
        "memory": {"training": None, "inference": None},
        "time": None,
        "calibration": None,
        "energy": {"joules_per_image": None},
    }
    return Measurement(config, record, folder / "log.txt")
