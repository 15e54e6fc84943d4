"""The cost tables: figures beside the published ones, and n/a for what was not read."""

from typing import Any

from reports.costs import UNIT_BYTES, cost_tables


def record(name: str, **changes: Any) -> dict[str, Any]:
    wall = {"forward_ms": [90.0, 100.0, 110.0], "backward_ms": [190.0, 200.0, 210.0]}
    readings = {"nvml_process_bytes": None, "reserved_bytes": None, "resident_bytes": 7_000_000}
    return {
        "state": "measured",
        "reason": None,
        "arch": {"name": name},
        "num_classes": 11,
        "image_size": [360, 480],
        "precision": "fp32",
        "environment": {"device_type": "cpu", "device": "A processor", "threads": 2},
        "arithmetic": {"tf32": False},
        "cost": {"backward": True, "batch_size": 1, "training_batch": 4, "inference_batch": 1},
        "work": {
            "parameters": 10_000_000,
            "model_bytes": 40_000_000,
            "multiply_accumulates": 10**9,
            "moved_bytes": 10**9,
        },
        "storage": {
            "retained_bytes": 6 * UNIT_BYTES,
            "retained_bytes_first_level": 4 * UNIT_BYTES,
        },
        "memory": {
            "training": {"readings": readings, "estimate_bytes": 5_000_000},
            "inference": None,
        },
        "time": {
            "batch": 1, "mode": "training", "clock": "wall", **wall,
            "stopped_because": "steady", "dropped_samples": 0,
        },
        "calibration": {"convolution_flops": [4e10], "copy_bytes_per_second": [2e10]},
        "timed_with": ["others"],
        **changes,
    }  # fmt: skip


def cells(lines: list[str], name: str) -> list[list[str]]:
    rows = [line for line in lines if line.startswith(f"| {name} ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_ours_stand_beside_the_published_figures() -> None:
    lines = "\n".join(cost_tables([record("SegNet")])).splitlines()
    first, forward, backward = cells(lines, "SegNet")
    assert first[1:] == [
        "100.0 [422.50]", "200.0 [488.71]", "7 [6803]", "5", "n/a [1,052]", "n/a", "40.0 [117]",
    ]  # fmt: skip
    # 2e9 operations and 1e9 bytes in 0.1 s, against 4e10 and 2e10 a second.
    assert forward[1:] == ["forward", "100.00", "10.00", "3", "50 %", "50 %"]
    assert backward[1:] == ["backward", "200.00", "10.00", "3", "", ""]


def test_a_cpu_is_called_one() -> None:
    lines = "\n".join(cost_tables([record("SegNet")]))
    assert "360x480, 11 classes, fp32, CPU figures, threads 2, A processor" in lines
    assert "resident size" in lines


def test_the_drivers_reading_is_preferred() -> None:
    readings = {"nvml_process_bytes": 9e6, "reserved_bytes": 8e6, "resident_bytes": None}
    memory = {"training": {"readings": readings, "estimate_bytes": None}, "inference": None}
    lines = "\n".join(cost_tables([record("SegNet", memory=memory)])).splitlines()
    assert cells(lines, "SegNet")[0][3:5] == ["9 [6803]", "n/a"]


def test_inference_alone_gives_table_1s_columns() -> None:
    cost = {"backward": False, "batch_size": 1, "training_batch": None, "inference_batch": None}
    lines = "\n".join(cost_tables([record("SegNet-Basic", cost=cost)])).splitlines()
    assert cells(lines, "SegNet-Basic")[0][1:] == [
        "10.000 [1.425]", "4.0 [1]", "6.0", "100.0 [52.6]",
    ]  # fmt: skip


def test_a_network_without_a_bottleneck_has_no_storage() -> None:
    cost = {"backward": False, "batch_size": 1, "training_batch": None, "inference_batch": None}
    storage = {"retained_bytes": None, "retained_bytes_first_level": None}
    lines = "\n".join(cost_tables([record("Other", cost=cost, storage=storage)])).splitlines()
    assert cells(lines, "Other")[0][2:4] == ["n/a", "n/a"]


def test_what_failed_is_a_line_with_its_reason() -> None:
    failed = record("U-Net", state="killed", reason="killed by SIGKILL", time=None)
    lines = "\n".join(cost_tables([record("SegNet"), failed])).splitlines()
    assert cells(lines, "U-Net")[0][1:3] == ["n/a", "n/a"]
    assert "U-Net, killed: killed by SIGKILL" in lines


def test_a_network_that_could_not_be_built_is_a_line_too() -> None:
    nothing = {"work": None, "time": None, "environment": None, "calibration": None}
    failed = record("Mine", state="failed", reason="network: no such layer", **nothing)
    assert "Mine, failed: network: no such layer" in "\n".join(cost_tables([failed]))


def test_settings_are_not_mixed() -> None:
    large = record("SegNet", image_size=[720, 960])
    lines = "\n".join(cost_tables([record("SegNet"), large])).splitlines()
    assert sum(line.startswith("## ") for line in lines) == 2


def test_doubt_is_said_under_the_table() -> None:
    timed = {**record("SegNet")["time"], "stopped_because": "timeout", "dropped_samples": 3}
    doubtful = record("SegNet", time=timed, timed_with=[])
    lines = "\n".join(cost_tables([doubtful, record("DeconvNet")]))
    assert "stopped by the time limit" in lines
    assert "3 samples dropped" in lines
    assert "timed alone" in lines
