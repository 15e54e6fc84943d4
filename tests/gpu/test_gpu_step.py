"""The benchmark of a step on a GPU starts anywhere, and its loop is that of a run."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from gpu_stand_in import one_gpu

SCRIPT = str(Path(__file__).parents[1] / "benchmarks" / "gpu_step.py")
TINY_STEP = [
    "--only", "segnet_basic", "--precisions", "fp32", "--iterations", "1", "--warm-up", "0",
    "--size", "16", "24", "--batch", "2",
]  # fmt: skip


def test_it_explains_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [SCRIPT, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(SCRIPT, run_name="__main__")
    assert end.value.code == 0
    assert "of the roofline" in capsys.readouterr().out


def test_every_variant_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [SCRIPT, *TINY_STEP, "--device", "cpu"])
    runpy.run_path(SCRIPT, run_name="__main__")
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["variant"] for row in found["rows"]] == [
        "as it is", "memory filled", "loss by rows", "pooling by operators",
        "labels copied in between",
    ]  # fmt: skip
    assert all(row["ms"] > 0 and row["of_roofline"] > 0 for row in found["rows"])


def test_an_iteration_of_it_makes_the_host_wait_only_where_that_is_switched_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = runpy.run_path(SCRIPT)
    with one_gpu() as gpu:
        arguments = script["argparse"].Namespace(batch=2, size=(16, 24), device="auto")
        config = script["configured"]("segnet_basic", "fp32", arguments, "/nowhere")
        monkeypatch.setattr(config, "arch", {**config.arch, "width": 4})
        device = script["prepare_device"](config)
        splits = script["load_splits"](config, ["train"], device)
        training = script["prepare_training"](config, Path("/nowhere"), splits, device, None)
        training.model.train()
        for variant, waits in (
            ("as it is", False), ("cuda graph", False), ("labels copied in between", True),
        ):  # fmt: skip
            gpu.waits.clear()
            with script["VARIANTS"][variant](training):
                loss = script["iterate"](training, 5)
            assert bool(gpu.waits) == waits, gpu.waits
        assert torch.isfinite(loss)
