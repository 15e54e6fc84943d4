"""The table "as deployed", what is chosen from it, given times, and the Pareto figure."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handmade import evidence
from matplotlib.figure import Figure

from bench import records
from reports.compute.deployed import beaten, deployed_rows, highest
from reports.export import frame
from reports.figures.of_report import drawings
from reports.figures.pareto import Point, accuracy_against_latency
from reports.read.deployed import deployed_of
from reports.read.given import read_given
from reports.read.runs import read_runs
from reports.tables.choice import context_of, fitting_tables
from reports.tables.model import Row, Table
from reports.verify import verify_run

pytest_plugins = ["run_fixtures"]

Write = Callable[..., Path]


def write_deployed(
    run: Path, runtime: str, precision: str, share: float | None, forward: list[float], **more: Any
) -> Path:
    """Writes what `bench.export` leaves of a graph, or of the network itself without a share."""
    folder = run / "deployed"
    folder.mkdir(exist_ok=True)
    itself = share is None
    variant = "" if itself else f"{runtime}-{precision}"
    record = {
        "kind": "deployed", "variant": variant, "runtime": runtime, "runtime_version": "1.0",
        "precision": precision, "bytes": 5_000_000, "split": "test", "iteration": 100,
        "image_size": [360, 480], "any_size": False, "state": "measured", "reason": None,
        "environment": {"device": "Test CPU", "threads": 1},
        "time": {"clock": "wall", "forward_ms": forward,
                 "clocks": {"process": {"forward_ms": [2 * f for f in forward]}}},
        "memory": {"batch": 1, "readings": {"resident_bytes": 50_000_000}},
    }  # fmt: skip
    if share is not None:
        content = f"{run.name} {variant}".encode()
        (folder / f"{precision}.onnx").write_bytes(content)
        record["file"] = f"{precision}.onnx"
        record["file_sha256"] = hashlib.sha256(content).hexdigest()
        record["parity"] = {
            "images": 8, "largest_difference": 2e-6, "largest_logit": 9.0, "labels": 0.99998,
            "agrees": True,
        }  # fmt: skip
        summary = {"split": "test", "iteration": 100, "images": 120, "variant": variant}
        records.write_evaluation(run, summary | {"deployed": True}, evidence(share))
    path = folder / f"{variant or runtime}.json"
    records.write_json(path, record | more)
    return path


@pytest.fixture
def deployed(make_run: Write) -> Path:
    """Two networks; int8 costs the first one two points of accuracy, and the second nothing."""
    for name, share, int8, slow in (("SegNet", 0.8, 0.78, 2.0), ("Bilinear", 0.7, 0.7, 1.0)):
        run = make_run(name, share)
        write_deployed(run, "PyTorch", "fp32", None, [9 * slow, 10 * slow, 11 * slow])
        write_deployed(run, "onnxruntime", "fp32", share, [5 * slow] * 3)
        write_deployed(run, "onnxruntime", "int8", int8, [2 * slow] * 3)
    return run.parent


def tables(root: Path, *given: Path) -> list[Table]:
    context = context_of(root, given=read_given(given[0]) if given else ())
    return fitting_tables(read_runs(records.run_folders(root)), context)


def rows(root: Path, *given: Path) -> dict[str, Row]:
    (table,) = (table for table in tables(root, *given) if table.part == "deployed")
    return {row.label: row for section in table.sections for row in section.rows}


def test_each_runtime_stands_beside_pytorch_with_a_paired_difference(deployed: Path) -> None:
    found = rows(deployed)
    kinds = ("PyTorch fp32", "onnxruntime fp32", "onnxruntime int8")
    assert [*found] == [f"{net}, {kind}" for net in ("SegNet", "Bilinear") for kind in kinds]
    size, miou, change, latency, memory = found["SegNet, onnxruntime int8"].cells
    assert size.value == 5.0
    assert memory.value == 50.0
    assert (latency.value, latency.low, latency.high) == (4.0, 4.0, 4.0)
    own = found["SegNet, PyTorch fp32"].cells
    assert own[2].value is None
    assert own[3].value == 20.0
    assert own[1].value is not None
    assert miou.value is not None
    assert change.value == pytest.approx(miou.value - own[1].value)
    assert change.value == pytest.approx(100 * (78 / 122 - 80 / 120))
    # Every image loses the same: the difference is sure where the two intervals are not.
    assert change.high == pytest.approx(change.value, abs=1e-6)
    assert found["SegNet, onnxruntime fp32"].cells[2].value == 0.0
    assert found["SegNet, onnxruntime int8"].details["logits within"] == "2.0e-06"


def test_what_was_exported_is_no_row_of_the_other_tables(deployed: Path) -> None:
    labels = [
        row.label
        for table in tables(deployed)
        if table.part != "deployed"
        for section in table.sections
        for row in section.rows
        if row.ours
    ]
    assert sorted(labels) == ["Bilinear", "SegNet"]


def test_all_rows_of_a_place_are_by_one_clock(deployed: Path) -> None:
    """Where another program took the cores from one of them, all are by process time."""
    run = next(deployed.glob("segnet-*"))
    taken = {"clock": "process", "forward_ms": [7.0] * 3}
    clocks = {"process": {"forward_ms": [7.0] * 3}}
    write_deployed(run, "onnxruntime", "int8", 0.78, [], time=taken | {"clocks": clocks})
    found = rows(deployed)
    assert found["SegNet, onnxruntime int8"].cells[3].value == 7.0
    assert found["Bilinear, onnxruntime int8"].cells[3].value == 4.0  # twice its wall time
    assert len(next(t for t in tables(deployed) if t.part == "deployed").sections) == 1


def test_fp32_that_does_not_agree_is_marked(deployed: Path) -> None:
    run = next(deployed.glob("segnet-*"))
    parity = {
        "images": 8, "largest_difference": 0.5, "largest_logit": 9.0, "labels": 0.9,
        "agrees": False,
    }  # fmt: skip
    write_deployed(run, "onnxruntime", "fp32", 0.8, [1.0], parity=parity)
    assert "does not" in rows(deployed)["SegNet, onnxruntime fp32"].marks[0]


def csv(folder: Path, *lines: str) -> Path:
    path = folder / "times.csv"
    head = "model_sha256,device,runtime,latency_ms,lower_ms,upper_ms,memory_mb"
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def digest(root: Path) -> str:
    file = next(root.glob("segnet-*")) / "deployed" / "int8.onnx"
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_given_times_stand_in_the_table_and_are_marked(deployed: Path, tmp_path: Path) -> None:
    times = csv(tmp_path, f"{digest(deployed)},Phone,CoreML,3.5,3.4,3.7,20")
    found = rows(deployed, times)
    row = found["SegNet, CoreML int8 (given)"]
    assert (row.cells[3].value, row.cells[3].low, row.cells[3].high) == (3.5, 3.4, 3.7)
    assert row.cells[4].value == 20.0
    assert row.cells[1].value == found["SegNet, onnxruntime int8"].cells[1].value
    assert row.marks == ["given: times.csv, line 2; scored as onnxruntime int8"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{},Phone,CoreML,fast,,,", "times.csv, line 2: latency_ms is 'fast'; it must be a number"),
        ("{},Phone,CoreML,-1,,,", "latency_ms is '-1'; it must be a number above 0"),
        ("{},Phone,CoreML,,,,", "latency_ms is empty; fill it in or remove the line"),
        ("{},,CoreML,3.5,,,", "device is empty"),
        ("0123456789abcdef,Phone,CoreML,3.5,,,", "0123456789ab... is of no file exported from"),
    ],
)
def test_a_wrong_line_is_told(deployed: Path, tmp_path: Path, line: str, sentence: str) -> None:
    times = csv(tmp_path, line.format(digest(deployed)))
    with pytest.raises(ValueError, match=r"times\.csv, line 2") as told:
        rows(deployed, times)
    assert sentence in str(told.value)


def test_old_times_of_a_changed_model_are_told(deployed: Path, tmp_path: Path) -> None:
    """Changed on the disk alone, or exported again."""
    times = csv(tmp_path, f"{digest(deployed)},Phone,CoreML,3.5,,,")
    run = next(deployed.glob("segnet-*"))
    file = run / "deployed" / "int8.onnx"
    file.write_bytes(b"another model")
    with pytest.raises(ValueError, match=r"int8.onnx: not the file that was exported"):
        rows(deployed, times)
    new = hashlib.sha256(file.read_bytes()).hexdigest()
    write_deployed(run, "onnxruntime", "int8", 0.78, [1.0], file_sha256=new)
    with pytest.raises(ValueError, match=f"the new file has to be timed .*{new[:12]}"):
        rows(deployed, times)


def test_the_long_table_has_scores_and_latency_of_every_variant(deployed: Path) -> None:
    found = frame(deployed)
    of_network = found[found["network"] == "SegNet"]
    scores = of_network[(of_network["metric"] == "G") & (of_network["run"] != "")]
    assert dict(zip(scores["variant"], scores["value"], strict=True)) == pytest.approx(
        {"": 80.0, "onnxruntime-fp32": 80.0, "onnxruntime-int8": 78.0}
    )
    latency = of_network[of_network["metric"] == "latency_ms"]
    assert dict(zip(latency["variant"], latency["value"], strict=True)) == {
        "PyTorch fp32": 20.0, "onnxruntime-fp32": 10.0, "onnxruntime-int8": 4.0,
    }  # fmt: skip
    taken = found[found["metric"].isin(["latency_ms", "deployed_memory", "deployed_size"])]
    whose = ["dataset", "fingerprint", "split", "pretraining", "weighting", "seeds"]
    assert {*taken[whose].itertuples(index=False, name=None)} == {
        ("CamVid", "f-none", "test", "none", "none", "0")
    }
    assert {*taken["unit"]} == {"ms", "MB"}
    assert taken["protocol"].str.contains("batch 1").all()


def test_verify_holds_exported_files_to_their_records(deployed: Path) -> None:
    run = next(deployed.glob("segnet-*"))
    before = verify_run(run).problems
    (run / "deployed" / "int8.onnx").write_bytes(b"another model")
    (run / "deployed" / "fp32.onnx").unlink()
    new = [problem for problem in verify_run(run).problems if problem not in before]
    assert ["fp32.onnx: missing" in new[0], "int8.onnx: not the file" in new[1]] == [True, True]


def test_a_csv_without_its_columns_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("device,latency_ms\nPhone,1\n")
    with pytest.raises(ValueError, match=r"a.csv: has no column model_sha256, runtime; it needs"):
        read_given(tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"no.csv: no such file; --given takes a CSV"):
        read_given(tmp_path / "no.csv")


def test_choose_names_the_fastest_within_a_point(deployed: Path) -> None:
    """SegNet's int8 loses 2.7 points of mIoU: too much for one, not for three."""
    command = [sys.executable, "-m", "reports", "choose", str(deployed)]
    one, three = (
        subprocess.run([*command, *more], capture_output=True, text=True, check=True).stdout
        for more in ([], ["--within", "3"])
    )
    assert "as deployed; Test CPU, CPU, threads 1, 360x480, batch 1, wall time" in one
    assert (
        "Fastest within 1 point of mIoU of the best (66.7): SegNet, onnxruntime fp32, 66.7, 10.0 ms"
    ) in one
    assert (
        "Fastest within 3 points of mIoU of the best (66.7): SegNet, onnxruntime int8, 63.9, 4.0 ms"
    ) in three


def test_the_line_joins_those_higher_than_any_as_fast() -> None:
    points = [(10.0, 60.0), (5.0, 50.0), (5.0, 55.0), (7.0, 54.0), (20.0, 60.0)]
    assert highest(points) == [2, 0]


def lost(root: Path) -> set[str]:
    """The labels of the rows that another one beats."""
    runs = read_runs(records.run_folders(root))
    context = context_of(root)
    found = {run.folder: deployed_of(run) for run in runs}
    (rows,) = deployed_rows(runs, found, context.estimates).values()
    return {rows[place].label for place in beaten(rows, context.estimates)}


def test_a_network_is_beaten_only_where_the_difference_holds(
    deployed: Path, make_run: Write
) -> None:
    """SegNet's int8, 4 ms, is above Bilinear in PyTorch, 10 ms, and in fp32, 5 ms: with 3 seeds."""
    assert lost(deployed) == set()
    for seed in (1, 2):
        for name, share, int8 in (("SegNet", 0.8, 0.78), ("Bilinear", 0.7, 0.7)):
            run = make_run(name, share + seed / 100, seed=seed)
            write_deployed(run, "PyTorch", "fp32", None, [1.0])
            write_deployed(run, "onnxruntime", "fp32", share + seed / 100, [1.0])
            write_deployed(run, "onnxruntime", "int8", int8 + seed / 100, [1.0])
    assert lost(deployed) == {"Bilinear, PyTorch fp32", "Bilinear, onnxruntime fp32"}
    for seed, share in enumerate((0.5, 0.8, 0.95)):  # higher in the mean, and not separated
        folder = next(deployed.glob(f"segnet-*seed{seed}"))
        write_deployed(folder, "onnxruntime", "int8", share, [4.0])
        write_deployed(folder, "onnxruntime", "fp32", share, [10.0])
    assert lost(deployed) == set()


def test_a_file_is_beaten_by_another_of_the_same_weights(deployed: Path) -> None:
    """What costs accuracy and gains no time; the same mIoU in half the time beats nothing."""
    run = next(deployed.glob("segnet-*"))
    write_deployed(run, "onnxruntime", "int8", 0.78, [15.0])
    assert lost(deployed) == {"SegNet, onnxruntime int8"}
    write_deployed(run, "onnxruntime", "int8", 0.78, [9.0, 10.0, 11.0])  # quartiles not apart
    assert lost(deployed) == set()


def legends(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_the_figure_joins_the_front(deployed: Path) -> None:
    found = drawings(read_runs(records.run_folders(deployed)), context_of(deployed))
    (drawing,) = (one for one in found if one.name.startswith("deployed"))
    (axes,) = drawing.figure.axes
    line = axes.get_lines()[0]
    assert [round(x) for x in line.get_xdata()] == [2, 4, 10]
    assert "Test CPU" in drawing.caption
    assert "point estimates" in drawing.caption
    assert "beaten in both" not in legends(drawing.figure)
    points = [
        Point("a", "b", (1.0, None, None), 50.0, None, True),
        Point("c", "b", (2.0,) * 3, 60.0, None),
    ]
    hollow = accuracy_against_latency(points)
    assert "beaten in both" in legends(hollow)
    faces = [line.get_markerfacecolor() for line in hollow.axes[0].get_lines()[1:]]
    assert [face == "none" for face in faces] == [True, False]
    assert accuracy_against_latency([Point("a", "b", (1.0, None, None), 50.0, None)]) is None
