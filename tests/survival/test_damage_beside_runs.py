"""Damage to what lies beside the records of runs: exports, trials, and what a user has written."""

import csv
import hashlib
import sys
from pathlib import Path

import pytest
from surviving import survives, words_and

sys.path += [str(Path(__file__).parents[1] / room) for room in ("reports", "tuning")]
import stand_in_trial
from handmade import evidence, whole_configuration, write_run
from tiny_run import TINY

from bench import records
from bench.command_line import compose_config
from bench.config import run_folder, write_config
from bench.data import road_scenes
from bench.records import End, State
from reports.read.deployed import deployed_of
from reports.read.given import read_given
from reports.read.published import read_literature
from reports.read.runs import read_runs
from reports.read.tuning import trials_of

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which a graph was exported, scored and timed."""
    runs = tmp_path_factory.mktemp("runs")
    made = write_run(runs, whole_configuration(), {("test", 4): 0.8}, images=6)
    (made / "deployed").mkdir()
    content, variant = b"a graph", "onnxruntime-int8"
    (made / "deployed" / "int8.onnx").write_bytes(content)
    times = {
        "clock": "wall",
        "forward_ms": [1.0, 2.0],
        "clocks": {"process": {"forward_ms": [3.0]}},
    }
    record = {
        "variant": variant, "runtime": "onnxruntime", "precision": "int8", "bytes": 7,
        "split": "test", "iteration": 4, "image_size": [32, 48], "any_size": False,
        "runtime_version": "1", "file": "int8.onnx", "state": "measured", "reason": None,
        "file_sha256": hashlib.sha256(content).hexdigest(), "time": times,
        "environment": {"device": "a CPU", "threads": 1},
        "memory": {"batch": 1, "readings": {"resident_bytes": 50_000_000}},
        "parity": {"images": 6, "largest_difference": 1e-6, "largest_logit": 9.0, "labels": 1.0,
                   "agrees": True},
    }  # fmt: skip
    records.write_json(made / "deployed" / f"{variant}.json", record)
    summary = {"split": "test", "iteration": 4, "images": 6, "variant": variant, "deployed": True}
    records.write_evaluation(made, summary, evidence(0.7, images=6))
    return made


@pytest.mark.parametrize(
    "name", ["deployed/onnxruntime-int8.json", "evaluations/test.onnxruntime-int8-0000004.json"]
)
def test_records_of_exported_graphs(exported: Path, count: int, name: str) -> None:
    (run,) = read_runs([exported])
    survives(count, exported / name, lambda: [vars(one) for one in deployed_of(run)])


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose learning rate two trials have chosen."""
    runs = tmp_path_factory.mktemp("runs")
    overrides = [*TINY, "tuning=lr", "tuning.trials=2", f"runs={runs}"]
    for number, share in enumerate((0.3, 0.6)):
        trial = compose_config([*overrides, f"tuning.trial={number}"])
        folder = run_folder(trial)
        folder.mkdir(parents=True)
        write_config(folder, trial)
        arrays = stand_in_trial.evidence(trial, share)
        records.write_evaluation(folder, {"split": "val", "iteration": 6, "images": 1}, arrays)
        records.write_end(folder, End(State.finished, iteration=6, max_iterations=6))
    config = compose_config(overrides)
    folder = run_folder(config)
    folder.mkdir(parents=True)
    write_config(folder, config)
    return folder


@pytest.mark.parametrize("name", ["config.json", "end.json", "evaluations/val-0000006.json"])
def test_records_of_trials(tuned: Path, count: int, name: str) -> None:
    trial = tuned.parent / "trials" / sorted(p.name for p in (tuned.parent / "trials").iterdir())[0]
    survives(count // 5, trial / name, lambda: trials_of(tuned))  # all of them are read each time


def test_a_tuned_run(tuned: Path, count: int) -> None:
    survives(count // 5, tuned / "config.json", lambda: trials_of(tuned))


def test_given_times(tmp_path: Path, count: int) -> None:
    path = tmp_path / "given.csv"
    path.write_text(
        "model_sha256,device,runtime,precision,latency_ms,lower_ms,upper_ms,memory_mb\n"
        'ab12,"Board, small",TFLite,int8,12.5,12,13.25,80\ncd34,Phone,Core ML,,3.5,,,\n'
    )
    survives(count, path, lambda: read_given(path), is_json=False, has_digest=False)


def test_literature(tmp_path: Path, count: int) -> None:
    path = tmp_path / "literature.csv"
    path.write_text(
        "table,row,column,value,source\n3,Some Net,>80K/G,81.5,their paper\n"
        "6,Some Net,Forward pass(ms),12,the same\n"
    )
    survives(count, path, lambda: read_literature(path), is_json=False, has_digest=False)


def test_a_manifest_of_road_scenes(tmp_path: Path, count: int) -> None:
    rows = [["image", "label", "source", "split"]]
    for number in range(12):
        names = [f"images/picture{number}.png", f"labels/picture{number}.png"]
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        rows.append([*names, "kitti_semantics", "train" if number % 3 else "test"])
    path = tmp_path / "manifest.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    classes = compose_config(["dataset=road_scenes", f"dataset.root={tmp_path}"]).dataset.classes

    def read() -> list[tuple[str, tuple[Path, ...]]]:
        pairs = road_scenes.read(str(tmp_path), "train", classes=classes, void=11)
        return [(pair.name, pair.files) for pair in pairs]

    survives(count, path, read, is_json=False, has_digest=False)
    path.write_text(path.read_text().replace(",test", ",tset"))
    assert "split 'tset' is none of" in words_and(read)[0]


TIMES = "model_sha256,device,runtime,latency_ms,lower_ms,upper_ms\n"
CELLS = "table,row,column,value\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TIMES + "ab,Board, small,R,5,4,6\n", r"given\.csv:2: has 7 cells for 6 columns"),
        (TIMES + "ab,D,R,5,4\n", r"given\.csv:2: has 5 cells for 6 columns"),
        (TIMES + "ab,D,R,1_0,,\n", r"latency_ms is '1_0'; it must be a number above 0"),
        (TIMES + "ab,D,R,5,6,7\n", r"latency_ms 5 is not between its quartiles"),
        (TIMES + "ab,\x1b[2J,R,5,4,6\n", r"given\.csv:2: holds .* a control character"),
        (TIMES + 'ab,"D\nD",R,5,4,6\n', r"given\.csv:3: holds a line break"),
        (TIMES + "ab," + "D" * 200_000 + ",R,5,4,6\n", r"not a readable CSV file \(field larger"),
        (TIMES.replace("lower", "upper"), r"names a column twice"),
        ("", r"not a readable CSV file \(it is empty\)"),
    ],
)
def test_a_csv_whose_cells_could_be_read_as_others_is_refused(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "given.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_given(path)


def test_literature_says_one_thing_of_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "literature.csv"
    path.write_text(f"{CELLS}3,Net,>80K/G,5\n3,Net,>80K/G,6\n")
    with pytest.raises(ValueError, match=r"csv:3: a second value of 'Net', >80K/G; remove one"):
        read_literature(path)
    path.write_text(f"{CELLS}3,Net,>80K/G,1e999\n3,Net,>80K/C, 5\n")
    found = read_literature(path)
    assert [cell.number for cell in found.values()] == [None, 5.0]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a" * 300 + ".png,b.png,camvid", "no file can be called|does not exist"),
        ("a" * 200_000 + ".png,b.png,camvid", r"manifest\.csv:2: no row of a CSV \(field larger"),
        ("a,b.png,camvid,train,test", r"manifest\.csv:2: the row has more cells than the first"),
    ],
)
def test_rows_of_a_manifest_that_name_no_file(tmp_path: Path, row: str, words: str) -> None:
    (tmp_path / "manifest.csv").write_text(f"image,label,source\n{row}\n")
    dataset = compose_config(["dataset=road_scenes", f"dataset.root={tmp_path}"]).dataset
    with pytest.raises(ValueError, match=words):
        road_scenes.read(str(tmp_path), "train", classes=dataset.classes, void=dataset.void)
