"""`python -m bench.export`: a run exported, scored by the same evidence code, timed, and kept."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import records
from bench.config import Config
from bench.cost.schema import CostConfig
from bench.cost.worker import serve
from bench.deploy.worker import GraphWorker
from bench.evidence import read_evidence
from bench.export import main
from bench.run.monitor import Monitor
from bench.run.run import run
from bench.typed import plain

for module in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(module)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that exported fp32 and int8 without timing them; tests change copies of it."""
    from tiny_run import TINY

    from bench.command_line import compose_config
    from bench.config import write_config

    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    write_config(folder, compose_config([*TINY, f"runs={folder.parent}"]))
    run(folder, Monitor(folder))
    export(folder, "--precision", "fp32,int8", "--untimed")
    return folder


@pytest.fixture
def exported(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


def export(*words: object) -> int:
    """Calls the command and returns its exit code."""
    try:
        main([*map(str, words), "--threads", "1", "--calibration-images", "6"])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_scores_stand_beside_the_run_as_those_of_a_variant(exported: Path) -> None:
    (own,) = records.read_evaluations(exported, "test")
    (fp32,) = records.read_evaluations(exported, "test", "onnxruntime-fp32")
    (int8,) = records.read_evaluations(exported, "test", "onnxruntime-int8")
    assert (fp32["iteration"], fp32["images"]) == (own["iteration"], own["images"])
    assert fp32["confusion"] == own["confusion"]  # the same labels, pixel by pixel
    assert int8["confusion"] != own["confusion"]
    for one in (own, fp32):
        found = read_evidence(exported, one)
        assert found["confusion"].sum() == np.sum(own["confusion"])
    assert (read_evidence(exported, fp32)["boundaries"] == found["boundaries"]).all()


def test_the_record_says_what_the_file_is(exported: Path) -> None:
    record = records.read_json(exported / "deployed" / "onnxruntime-int8.json")
    assert record["file"] == "int8.onnx"
    assert record["bytes"] == (exported / "deployed" / "int8.onnx").stat().st_size
    assert record["calibration_images"] == 6
    assert record["batch_norms"] == 0
    fp32 = records.read_json(exported / "deployed" / "onnxruntime-fp32.json")
    assert fp32["parity"]["images"] == 5
    assert fp32["parity"]["agrees"]
    assert fp32["parity"]["largest_difference"] < 1e-4 < record["parity"]["largest_difference"]


def test_nothing_is_made_twice_until_it_is_asked_for(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (exported / "deployed" / "fp32.onnx").stat().st_mtime_ns
    assert export(exported, "--untimed") == 0
    assert "onnxruntime fp32: exported before" in capsys.readouterr().out
    assert (exported / "deployed" / "fp32.onnx").stat().st_mtime_ns == before
    assert export(exported, "--untimed", "--rerun") == 0
    assert (exported / "deployed" / "fp32.onnx").stat().st_mtime_ns > before


def test_a_file_that_changed_is_told(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = exported / "deployed" / "fp32.onnx"
    file.write_bytes(file.read_bytes()[:-1])
    assert export(exported, "--untimed") == 2
    told = capsys.readouterr().err
    assert f"{file}: not the file that was exported (its SHA-256 differs); --rerun" in told


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--runtime", "tensorrt"], "--runtime tensorrt: must be of onnxruntime, openvino"),
        (["--precision", "fp32,int4"], "--precision int4: must be of fp32, fp16, int8"),
        (["--calibration-images", "0"], "--calibration-images 0: it must be 1 or more"),
        (["--seconds", "0"], "cost.seconds is 0.0; it must be above 0"),
    ],
)
def test_a_wrong_flag_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main([str(tmp_path), *words])
    assert end.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_missing_runtime_is_told_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "openvino", None)
    assert export(tmp_path, "--runtime", "openvino") == 2
    assert 'openvino is not installed, and this needs it: pip install "segbench[deploy]"' in (
        capsys.readouterr().err
    )


def test_a_graph_is_measured_by_the_tasks_of_the_cost_worker(
    exported: Path, tiny_config: Callable[..., Config]
) -> None:
    config = tiny_config("device=cpu")
    config.cost = CostConfig(backward=False, training_batch=None, seconds=1.0)
    tasks: list[dict[str, Any]] = [
        {"task": "memory", "training": False, "batch": 1},
        {"task": "warm_up"},
        {"task": "turn", "typical_ms": 1.0, "at_most": 3},
    ]
    requests = io.StringIO("".join(json.dumps(line) + "\n" for line in (plain(config), *tasks)))
    replies = io.StringIO()
    file = exported / "deployed" / "int8.onnx"
    serve(requests, replies, lambda given: GraphWorker(given, file, "onnxruntime", 1))
    memory, warm, turn = (json.loads(line)["answer"] for line in replies.getvalue().splitlines())
    assert memory["readings"].keys() >= {"resident_bytes"}  # None where an older peak hides it
    assert len(warm["step_ms"]) >= 2
    assert [set(sample) >= {"wall", "process"} for sample in turn["samples"]] == [True] * 3
    assert all(sample["wall"]["forward_ms"] > 0 for sample in turn["samples"])


@pytest.mark.slow
def test_network_and_graphs_take_turns(exported: Path) -> None:
    assert export(exported, "--precision", "fp32,int8", "--seconds", "1") == 0
    names = ("PyTorch", "onnxruntime-fp32", "onnxruntime-int8")
    found = [records.read_json(exported / "deployed" / f"{name}.json") for name in names]
    for record in found:
        assert record["state"] == "measured", record["reason"]
        assert len(record["time"]["forward_ms"]) >= 3
        assert record["time"]["mode"] == "inference"
        assert len(record["timed_with"]) == 2
        assert record["environment"]["threads"] == 1
        assert record["memory"]["readings"]["resident_bytes"] > 0
