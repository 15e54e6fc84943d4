"""The cost tables: figures beside the published ones, and n/a for what was not read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handmade import configuration

from reports.__main__ import COMMANDS, FORMATS
from reports.__main__ import tables as tables_command
from reports.after_run import print_costs
from reports.options import parser
from reports.read.costs import costs_of, read_costs
from reports.read.runs import Run
from reports.render.text import text
from reports.tables.choice import context_of, numbered_table
from reports.tables.model import Cell, Table
from reports.tables.of_costs import cost_tables

pytest_plugins = ["run_fixtures"]
Make = Callable[..., Path]
UNIT = 180 * 240 * 4  # the paper's: one fp32 map of half of 360x480
MEASURED = {"nvml_process_bytes": None, "reserved_bytes": None, "resident_bytes": 7_000_000}
BEFORE = {"resident_bytes": 600_000_000, "nvml_device_bytes": None}
INFERENCE = {"backward": False, "batch_size": 1, "training_batch": None, "inference_batch": None}
SLIDING = {"inference": {"mode": "slide", "crop": [360, 360], "stride": [180, 240]}}
# 2e9 operations and 1e9 bytes in 0.1 s, against 4e10 and 2e10 a second.
DETAILS: dict[str, Any] = {
    "environment": {"device_type": "cpu", "device": "A processor", "threads": 2, "torch": "2.15"},
    "arithmetic": {"precision": "fp32", "tf32": False},
    "cost": {"backward": True, "batch_size": 1, "tolerance": 0.02},
    "work": {
        "parameters": 10_000_000, "trainable_parameters": 9_000_000, "model_bytes": 40_000_000,
        "file_bytes": 41_000_000, "multiply_accumulates": 10**9, "moved_bytes": 10**9,
    },
    "storage": {"retained_bytes": 6 * UNIT, "retained_bytes_first_level": 4 * UNIT},
    "memory": {
        "training": {
            "batch": 4, "readings": MEASURED, "baselines": BEFORE, "estimate_bytes": 5_000_000,
            "state": "measured",
        },
        "inference": {
            "batch": 1, "readings": None, "estimate_bytes": 1_000_000, "state": "out_of_memory",
        },
    },
    "time": {
        "batch": 1, "clock": "wall", "stopped_because": "steady", "dropped_samples": 0,
        "forward_ms": [90.0, 100.0, 110.0], "backward_ms": [190.0, 200.0, 210.0],
        "optimiser_ms": [1.0, 2.0, 3.0], "step_ms": [290.0, 300.0, 310.0],
    },
    "calibration": {"convolution_flops": [4e10], "copy_bytes_per_second": [2e10], "reason": None},
    "timed_with": ["others"],
}  # fmt: skip


@pytest.fixture
def tables(make_cost: Make, tmp_path: Path) -> Callable[..., list[Table]]:
    """Makes the tables of one record, changed as told."""

    def fill(name: str = "SegNet", **changes: Any) -> list[Table]:
        make_cost(name, [], **{**DETAILS, **changes})
        return cost_tables(read_costs(tmp_path / "runs"), rows_without_runs=False)

    return fill


def figures(table: Table, name: str) -> dict[str, Cell]:
    row = next(row for section in table.sections for row in section.rows if row.label == name)
    return dict(zip((column.name for column in table.columns), row.cells, strict=True))


def notes(table: Table) -> str:
    return "\n".join(note for section in table.sections for note in section.notes)


def marks(table: Table) -> str:
    rows = [row for section in table.sections for row in section.rows]
    return "\n".join(mark for row in rows for mark in row.marks)


def test_table_6_has_medians_quartiles_and_what_could_not_be_measured(
    make_cost: Make, tmp_path: Path
) -> None:
    make_cost("SegNet", [10.0, 20.0, 30.0, 40.0, 50.0])
    failed = {"state": "out_of_memory", "reason": "90 GB", "time": None, "memory": None}
    make_cost("DeconvNet", [], cost={"backward": True}, **failed)
    make_cost("FCN (learnt deconv)", [5.0], memory={"training": {"readings": None}})
    table, _ = numbered_table("6", [], context_of(tmp_path / "runs"))
    forward, backward, training, inference, model = figures(table, "SegNet").values()
    assert (forward.value, forward.low, forward.high, forward.published) == (30, 20, 40, 422.5)
    assert backward.value == 60
    assert (training.value, inference.value, model.value) == (6000, 1000, 5.7)
    assert figures(table, "DeconvNet")["Forward (ms)"].text == "out of memory"
    assert figures(table, "DeepLab-LargeFOV")["Forward (ms)"].text == "no run"
    single = figures(table, "FCN (learnt deconv)")
    assert (single["Forward (ms)"].low, single["Train. mem. (MB)"].text) == (None, "n/a")
    assert "Training memory, batch 4, a fresh process: NVML" in notes(table)
    assert "out of memory: 90 GB" in marks(table)


def test_without_a_measurement_table_6_has_the_papers_rows_alone(tmp_path: Path) -> None:
    (table,) = numbered_table("6", [], context_of(tmp_path))
    assert [row.ours for row in table.sections[0].rows] == [False] * 4


def test_details_follow_the_papers_columns(tables: Callable[..., list[Table]]) -> None:
    table, details = tables()
    assert figures(table, "SegNet")["Train. mem. (MB)"].value == 7
    assert figures(table, "SegNet")["Infer. mem. (MB)"].text == "out of memory"
    shown = {name: cell.value for name, cell in figures(details, "SegNet").items()}
    assert shown == {
        "Optimiser (ms)": 2.0,
        "Iteration (ms)": 300.0,
        "Train. mem., est. (MB)": 5.0,
        "Infer. mem., est. (MB)": 1.0,
        "Params (M)": 10.0,
        "Trainable (M)": 9.0,
        "Model file (MB)": 41.0,
        "Storage mult.": 4.0,
        "Storage, all levels": 6.0,
        "Storage, all (MB)": 6 * UNIT / 1e6,
        "GMAC": 1.0,
        "Of convolution (%)": 50.0,
        "Of copying (%)": 50.0,
    }  # no energy, and no second clock, on a CPU


def test_inference_alone_gives_table_1s_columns(tables: Callable[..., list[Table]]) -> None:
    memory = {"training": None, "inference": None}
    table, _ = tables("SegNet-Basic", cost=INFERENCE, memory=memory)
    assert table.number == "1"
    shown = figures(table, "SegNet-Basic")
    assert {name: (cell.value, cell.published) for name, cell in shown.items()} == {
        "Params (M)": (10.0, 1.425),
        "Storage mult.": (4.0, 1.0),
        "Infer time (ms)": (100.0, 52.6),
    }


def test_a_network_without_a_bottleneck_has_no_storage(tables: Callable[..., list[Table]]) -> None:
    storage = {"retained_bytes": None, "retained_bytes_first_level": None}
    table, _ = tables("Other", cost=INFERENCE, storage=storage)
    assert figures(table, "Other")["Storage mult."].text == "n/a"


def test_a_gpu_shows_both_clocks_and_energy(tables: Callable[..., list[Table]]) -> None:
    wall = {"forward_ms": [130.0], "backward_ms": [230.0], "step_ms": [330.0]}
    timed = {**DETAILS["time"], "clock": "device", "clocks": {"device": {}, "wall": wall}}
    place = {"device_type": "cuda", "device": "A card", "threads": 2}
    table, details = tables(time=timed, environment=place, energy={"joules_per_image": 1.5})
    shown = figures(details, "SegNet")
    assert figures(table, "SegNet")["Forward (ms)"].value == 100
    assert shown["Forward, wall (ms)"].value == 130
    assert shown["Energy (J/image)"].value == 1.5
    assert table.sections[0].title.startswith("A card, 360x480")
    assert "CUDA events" in notes(table)


@pytest.mark.parametrize(
    ("nvml_source", "words"),
    [
        ("pid", "NVML, this process."),
        ("only new process", "NVML, the only process that came since."),
        ("device delta", "NVML, growth of the whole card, less 3 MB"),
    ],
)
def test_the_drivers_reading_is_preferred_and_how_it_was_found_is_said(
    tables: Callable[..., list[Table]], nvml_source: str, words: str
) -> None:
    readings = {"nvml_process_bytes": 9e6, "nvml_source": nvml_source, "reserved_bytes": 8e6}
    part = {"batch": 4, "readings": readings, "baselines": {"nvml_device_bytes": 3e6}}
    table, _ = tables(memory={"training": part, "inference": None})
    assert figures(table, "SegNet")["Train. mem. (MB)"].value == 9
    assert words in notes(table)


def test_a_cpu_is_called_one_and_its_baseline_is_shown(tables: Callable[..., list[Table]]) -> None:
    table, _ = tables()
    title = "A processor, CPU figures, threads 2, 360x480, 3 classes, fp32, as in training, batch 1"
    assert table.sections[0].title == title
    assert "peak resident size, less 600 MB" in notes(table)


def test_a_reading_of_nothing_is_0_and_not_missing(tables: Callable[..., list[Table]]) -> None:
    part = {"batch": 4, "readings": {"resident_bytes": 0}, "state": "measured"}
    table, _ = tables(memory={"training": part, "inference": None})
    assert figures(table, "SegNet")["Train. mem. (MB)"].value == 0


def test_what_failed_is_a_row_with_its_reason(tables: Callable[..., list[Table]]) -> None:
    tables()
    nothing = {"work": None, "time": None, "calibration": None, "memory": None, "storage": None}
    table, details = tables("Mine", state="failed", reason="network: no such layer", **nothing)
    assert figures(table, "Mine")["Forward (ms)"].text == "failed"
    assert figures(details, "Mine")["GMAC"].text == "failed"
    assert "failed: network: no such layer" in marks(table)
    assert len(table.sections) == 1


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"image_size": [720, 960]}, "360x480 / 720x960"),
        ({"precision": "bf16"}, "fp32 / bf16"),
        ({"environment": {**DETAILS["environment"], "threads": 1}}, "threads 2 / threads 1"),
        ({"environment": {**DETAILS["environment"], "device": "Other"}}, "A processor / Other"),
        ({"protocol": {"compile": True}}, "none / compile"),
        ({"protocol": SLIDING}, "none / windows 360x360 every 180x240"),
        ({"protocol": {"optimiser": "adamw"}}, "none / adamw"),
        ({"protocol": {"dice_weight": 0.5}}, "none / with Dice loss"),
    ],
)
def test_settings_are_not_mixed(
    tables: Callable[..., list[Table]], change: dict[str, Any], difference: str
) -> None:
    tables()
    table, _ = tables(**change)
    assert len(table.sections) == 2
    assert table.sections[1].difference == difference


def test_an_update_is_no_part_of_inference(tables: Callable[..., list[Table]]) -> None:
    tables(cost=INFERENCE)
    table, _ = tables(cost=INFERENCE, protocol={"optimiser": "adamw", "dice_weight": 0.5})
    assert len(table.sections) == 1


def test_a_run_has_the_costs_of_how_its_network_sees_an_image(
    make_cost: Make, tmp_path: Path
) -> None:
    """Older records, without a word of it, are of whole images."""
    make_cost("SegNet", [1.0])
    make_cost("SegNet", [5.0], protocol=SLIDING)
    costs = read_costs(tmp_path / "runs")
    for protocol, forward in (({}, 1.0), ({"inference": {"mode": "whole"}}, 1.0), (SLIDING, 5.0)):
        config = configuration("SegNet", **protocol)
        (found,) = costs_of(costs, Run(tmp_path, config, "f", "finished", ""))
        assert found.samples["forward_ms"] == [forward]


def test_doubt_is_said(tables: Callable[..., list[Table]]) -> None:
    doubt = {"stopped_because": "timeout", "dropped_samples": 3}
    table, _ = tables(time={**DETAILS["time"], **doubt}, timed_with=[])
    details = {"samples": "3", "stopped": "time limit", "timed": "alone"}
    assert table.sections[0].rows[0].details == details
    assert "known to 2 %" in notes(table)
    assert "3 samples dropped" in marks(table)


def by_clock(clock: str, taken: float, wall: float, process: float) -> dict[str, Any]:
    """The times of one forward pass that took so much by two clocks; the first is reported."""
    clocks = {"wall": {"forward_ms": [wall] * 3}, "process": {"forward_ms": [process] * 3}}
    return {
        **DETAILS["time"], **clocks[clock], "clock": clock, "clocks": clocks, "cores_taken": taken,
    }  # fmt: skip


def test_where_one_row_is_by_process_time_all_of_its_section_are(
    make_cost: Make, tmp_path: Path
) -> None:
    """B took twice as long as A by the wall, because other programs had the cores meanwhile."""
    make_cost("A", [], **{**DETAILS, "time": by_clock("wall", 0.01, 100.0, 99.0)})
    make_cost("B", [], **{**DETAILS, "time": by_clock("process", 0.5, 200.0, 98.0)})
    table, details = cost_tables(read_costs(tmp_path / "runs"), rows_without_runs=False)
    shown = [figures(table, name)["Forward (ms)"].value for name in "AB"]
    assert shown == [99, 98]
    wall = [figures(details, name)["Forward, wall (ms)"].value for name in "AB"]
    assert wall == [100, 200]
    assert "Clock: process time of all threads together." in notes(table)
    assert "Other programs had the cores for 1 to 50 % of the time" in notes(table)
    assert "Of convolution (%)" not in figures(details, "A")  # rates are by the wall clock


@pytest.mark.parametrize(("eager", "bound"), [(100.0, False), (109.0, False), (111.0, True)])
def test_a_forward_pass_that_waits_for_the_host_is_marked(
    tables: Callable[..., list[Table]], eager: float, bound: bool
) -> None:
    """Where launched one by one it takes over 10 % longer than as one CUDA graph."""
    clocks = {"device": {}, "wall": {}, "graph": {"forward_ms": [100.0] * 3}}
    timed = {**DETAILS["time"], "clock": "device", "clocks": clocks, "forward_ms": [eager] * 3}
    table, details = tables(time=timed)
    assert ("bound by launches" in marks(table)) == bound
    assert figures(details, "SegNet")["Forward, graph (ms)"].value == 100


def test_a_measurement_ends_in_the_papers_table_100_columns_wide(
    make_cost: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("SegNet", "A network whose name goes on", "DeconvNet")
    print_costs([make_cost(name, [], **DETAILS) for name in names])
    lines = capsys.readouterr().out.splitlines()
    headings = [line for line in lines if line.startswith("Table 6")]
    assert headings == ["Table 6: time and memory, in detail", "Table 6: time and memory"]
    assert max(map(len, lines)) <= 100
    assert any("422.50" in line for line in lines)


def test_as_many_digits_are_shown_as_fit(tables: Callable[..., list[Table]]) -> None:
    timed = {**DETAILS["time"], "forward_ms": [3.11, 3.12, 3.13], "backward_ms": [1e4, 2e4, 3e4]}
    shown = text(tables(time=timed)[0])
    assert "3.12 [3.12, 3.12]" in shown
    assert "20000 [15000, 25000]" in shown


def test_reports_show_the_same_table_without_any_run(
    make_cost: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_cost("SegNet", [], **DETAILS)
    print_costs([path])
    measured = capsys.readouterr().out.split("Table 6: ")[-1].splitlines()
    options = parser("", COMMANDS, FORMATS).parse_args(["tables", str(tmp_path / "runs")])
    assert tables_command(options) == 0
    shown = capsys.readouterr().out.splitlines()
    figures = [line for line in measured if line.startswith(("SegNet", "  paper"))]
    assert len(figures) >= 4
    assert [line for line in figures if line not in shown] == []


def test_reports_of_neither_runs_nor_costs_say_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run"):
        tables_command(parser("", COMMANDS, FORMATS).parse_args(["tables", str(tmp_path)]))
