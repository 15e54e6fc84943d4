"""The benchmark of a step on a GPU starts anywhere, and its loop is that of a run."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from gpu_stand_in import one_gpu

SCRIPT = str(Path(__file__).parents[1] / "benchmarks" / "gpu_step.py")
TINY_STEP = [
    "--only", "bilinear_interpolation", "--precisions", "fp32", "--iterations", "1",
    "--warm-up", "0", "--size", "16", "24", "--batch", "2",
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
        "as it is", "memory filled", "loss by rows", "pooling by operators", "bilinear by sort",
        "lcn by convolutions", "labels copied in between",
    ]  # fmt: skip
    assert all(row["ms"] > 0 and row["of_roofline"] > 0 for row in found["rows"])


@pytest.mark.parametrize(
    ("variant", "replacement"),
    [
        ("loss by rows", "rows_loss"),
        ("bilinear by sort", "doubled_by_torch"),
        ("lcn by convolutions", "window_mean_by_convolutions"),
    ],
)
def test_a_variant_computes_the_same_by_its_own_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variant: str, replacement: str
) -> None:
    """Where deterministic mode allows it, as on a CPU."""
    script = runpy.run_path(SCRIPT)
    arguments = script["argparse"].Namespace(batch=2, size=(16, 24), device="cpu")
    config = script["configured"]("bilinear_interpolation", "fp32", arguments, str(tmp_path))
    monkeypatch.setattr(config, "arch", {**config.arch, "width": 4})
    device, monitor = script["prepare_device"](config), script["Monitor"](tmp_path)
    splits = script["load_splits"](config, ["train"], device)
    called = []

    def counted(*given: Any) -> Any:
        called.append(given)
        return script[replacement](*given)

    losses = []
    for name in ("as it is", variant):
        training = script["prepare_training"](config, tmp_path, splits, device, monitor)
        training.model.train()
        with monkeypatch.context() as patch:
            patch.setitem(script["VARIANTS"][name].__globals__, replacement, counted)
            with script["VARIANTS"][name](training):
                losses.append(script["iterate"](training, 2).item())
        assert bool(called) == (name == variant)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_an_iteration_of_it_makes_the_host_wait_only_where_that_is_switched_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = runpy.run_path(SCRIPT)
    compiled: list[Any] = []

    def remember(model: torch.nn.Module) -> None:  # there is no compiler for this device
        compiled.append(model)

    monkeypatch.setattr(torch.nn.Module, "compile", remember)
    with one_gpu() as gpu:
        arguments = script["argparse"].Namespace(batch=2, size=(16, 24), device="auto")
        config = script["configured"]("segnet_basic", "fp32", arguments, "/nowhere")
        monkeypatch.setattr(config, "arch", {**config.arch, "width": 4})
        device = script["prepare_device"](config)
        splits = script["load_splits"](config, ["train"], device)
        training = script["prepare_training"](config, Path("/nowhere"), splits, device, None)
        training.model.train()
        for variant, waits in (
            ("as it is", False), ("compiled", False), ("cuda graph", False),
            ("labels copied in between", True),
        ):  # fmt: skip
            gpu.waits.clear()
            with script["VARIANTS"][variant](training):
                loss = script["iterate"](training, 5)
            assert bool(gpu.waits) == waits, gpu.waits
            assert len(compiled) == (variant != "as it is")
        assert torch.isfinite(loss)
