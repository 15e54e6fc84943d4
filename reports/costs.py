"""What networks cost, beside the published figures: Table 6, and Table 1's time and storage.

It reads cost records (RUNS/cost/*.json). Every figure is derived here from raw samples and
readings; what was not read is n/a, never 0.
"""

import statistics
from collections.abc import Iterator
from typing import Any

import pandas as pd

from reports.published import published

# The paper's unit of storage: one fp32 map of 180x240, the first pooled level of 360x480.
UNIT_BYTES = 180 * 240 * 4
MEMORY = {  # reading -> what is said under the table; the first that was read is shown
    "nvml_process_bytes": "what the driver counts for the process",
    "reserved_bytes": "what torch's allocator reserved",
    "resident_bytes": "peak resident size of the process, less that before the network was built",
}
TIMES = ("forward_ms", "backward_ms", "optimiser_ms", "step_ms")
Record = dict[str, Any]


def print_costs(found: list[Record]) -> None:
    """Prints the tables of cost records."""
    print("\n".join(cost_tables(found)))


def cost_tables(found: list[Record]) -> Iterator[str]:
    """Yields lines of Markdown: one pair of tables for each setting that networks share."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in found:  # what was measured differently is not set side by side
        how = str((record["cost"], record["arithmetic"]))
        groups.setdefault((_setting(record), how), []).append(record)
    for (setting, _), group in groups.items():
        measured = [record for record in group if record["work"]]
        yield ""
        yield f"## Cost at {setting}"
        if measured:
            training = measured[0]["cost"]["backward"]
            row = _table6_row if training else _table1_row
            yield ""
            yield _markdown([row(record) for record in measured])
            yield ""
            yield _markdown([line for record in measured for line in _spread(record)])
            yield ""
            yield from _notes(measured)
        yield from (
            f"{r['arch']['name']}, {r['state']}: {r['reason']}" for r in group if r["reason"]
        )


def _setting(record: Record) -> str:
    height, width = record["image_size"]
    parts = [f"{height}x{width}", f"{record['num_classes']} classes", record["precision"]]
    environment = record["environment"]
    if environment is None:
        return ", ".join(parts)
    threads = f"threads {environment['threads']}"
    cpu = environment["device_type"] == "cpu"
    return ", ".join([*parts, *(["CPU figures", threads] if cpu else []), environment["device"]])


def _table6_row(record: Record) -> dict[str, str]:
    name = record["arch"]["name"]
    return {
        "network": name,
        "forward (ms)": _beside(_median(record, "forward_ms"), 1, "6", name, "Forward pass(ms)"),
        "backward (ms)": _beside(_median(record, "backward_ms"), 1, "6", name, "Backward pass(ms)"),
        "training (MB)": _beside(
            _memory(record, "training"), 0, "6", name, "GPU training memory (MB)"
        ),
        "est.": _figure(_estimate(record, "training"), 0),
        "inference (MB)": _beside(
            _memory(record, "inference"), 0, "6", name, "GPU inference memory (MB)"
        ),
        "est. ": _figure(_estimate(record, "inference"), 0),
        "model (MB)": _beside(record["work"]["model_bytes"] / 1e6, 1, "6", name, "Model size (MB)"),
    }


def _table1_row(record: Record) -> dict[str, str]:
    name, storage = record["arch"]["name"], record["storage"]
    units = {key: None if value is None else value / UNIT_BYTES for key, value in storage.items()}
    return {
        "network": name,
        "params (M)": _beside(record["work"]["parameters"] / 1e6, 3, "1", name, "Params (M)"),
        "storage": _beside(units["retained_bytes_first_level"], 1, "1", name, "Storage multiplier"),
        "all levels": _figure(units["retained_bytes"], 1),
        "infer time (ms)": _beside(_median(record, "forward_ms"), 1, "1", name, "Infer time (ms)"),
    }


def _spread(record: Record) -> Iterator[dict[str, str]]:
    """One line for each time: how sure it is, and what share of the device it uses."""
    timed = record["time"] or {}
    for key in TIMES:
        samples = timed.get(key)
        if not samples or (key == "step_ms" and timed["mode"] == "inference"):
            continue
        if len(samples) > 1:
            low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
        forward = key == "forward_ms"
        yield {
            "network": record["arch"]["name"],
            "time": key.removesuffix("_ms").replace("step", "whole iteration"),
            "median (ms)": _figure(statistics.median(samples), 2),
            "IQR (ms)": _figure(high - low if len(samples) > 1 else None, 2),
            "n": str(len(samples)),
            "convolution": _share(record, "convolution_flops") if forward else "",
            "copy": _share(record, "copy_bytes_per_second") if forward else "",
        }


def _share(record: Record, rate: str) -> str:
    """Formats the rate of the forward pass as a percentage of a rate of the device."""
    rates, work, timed = (record["calibration"] or {}).get(rate), record["work"], record["time"]
    if not rates:
        return "n/a"
    done = {
        "convolution_flops": 2 * work["multiply_accumulates"],
        "copy_bytes_per_second": work["moved_bytes"],
    }
    seconds = statistics.median(timed["forward_ms"]) / 1e3
    return f"{100 * done[rate] * timed['batch'] / seconds / statistics.median(rates):.0f} %"


def _notes(group: list[Record]) -> Iterator[str]:
    first = group[0]
    cost, arithmetic = first["cost"], first["arithmetic"]
    yield "[ ]: published, on the paper's GPU. n/a: not measured, or this device does not tell."
    kind = (
        "Training iterations (gradients kept) with batch norm in evaluation mode, which a batch of "
        "1 needs; the backward pass begins with the loss"
        if cost["backward"]
        else "Inference"
    )
    yield f"Time: medians; batch {cost['batch_size']}. {kind}. Contestants took turns."
    clocks = {"wall": "wall clock", "device": "CUDA events"}
    used = {clocks[r["time"]["clock"]] for r in group if r["time"]}
    switches = ", ".join(f"{key} {str(value).lower()}" for key, value in arithmetic.items())
    yield f"Clock: {', '.join(sorted(used)) or 'n/a'}. {switches}."
    yield (
        "convolution, copy: operations and bytes (unfused, fp32) of the forward pass in a second, "
        "as a share of what a 7x7 convolution and a copy reach on this device."
    )
    yield from _memory_notes(group)
    if not cost["backward"]:
        yield (
            f"storage: bytes kept for the decoder in units of {UNIT_BYTES} (one fp32 map of "
            "180x240), of the largest level as the paper counts, and of all levels. The paper "
            "prints 1 for 2-bit indices, which take 4, and n/a or 0 where nothing is kept."
        )
    yield from _warnings(group)


def _memory_notes(group: list[Record]) -> Iterator[str]:
    shown = {_source(r, mode) for r in group for mode in ("training", "inference")} - {None}
    if not shown:
        return
    cost = group[0]["cost"]
    batches = f"training batch {cost['training_batch']}, inference batch {cost['inference_batch']}"
    yield (
        f"Memory: {batches}, each in a fresh process: {'; '.join(MEMORY[s] for s in shown if s)}. "
        "est.: tensors alone, from shapes. 1 MB = 1e6 bytes."
    )


def _warnings(group: list[Record]) -> Iterator[str]:
    for record in group:
        timed, name = record["time"], record["arch"]["name"]
        if timed is None:
            continue
        if timed["stopped_because"] == "timeout":
            yield f"{name}: stopped by the time limit before the medians were steady."
        if timed["dropped_samples"]:
            yield f"{name}: {timed['dropped_samples']} samples dropped, the card was throttled."
        if not record["timed_with"] and len(group) > 1:
            yield f"{name}: timed alone, not in turns with the others."


def _median(record: Record, key: str) -> float | None:
    samples = (record["time"] or {}).get(key)
    return statistics.median(samples) if samples else None


def _source(record: Record, mode: str) -> str | None:
    readings = (record["memory"][mode] or {}).get("readings") or {}
    return next((key for key in MEMORY if readings.get(key) is not None), None)


def _memory(record: Record, mode: str) -> float | None:
    source = _source(record, mode)
    return None if source is None else record["memory"][mode]["readings"][source] / 1e6


def _estimate(record: Record, mode: str) -> float | None:
    estimate = (record["memory"][mode] or {}).get("estimate_bytes")
    return None if estimate is None else estimate / 1e6


def _beside(value: float | None, digits: int, table: str, row: str, column: str) -> str:
    """Formats our figure with the paper's as printed in brackets."""
    printed = published().get((table, row, column))
    ours = _figure(value, digits)
    return ours if printed is None else f"{ours} [{printed.text}]"


def _figure(value: float | None, digits: int) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"


def _markdown(rows: list[dict[str, str]]) -> str:
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True) if rows else ""
