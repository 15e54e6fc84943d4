"""Whole runs on the stand-in for a GPU, `device` left at its default: the CPU's numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gpu_stand_in import Gpu, one_gpu

from bench import records
from bench.data.splits import load_splits
from bench.evidence import read_evidence
from bench.losses import read_losses
from bench.run import checkpoints
from bench.run import training as loop
from bench.run.__main__ import execute
from bench.run.device import prepare_device
from bench.run.monitor import Monitor
from bench.run.preparation import prepare_training
from bench.run.training import train

Compose = Callable[..., Any]
Prepare = Callable[..., tuple[Path, Monitor]]

# Python 3.12 warns of every fork of a process with threads; torch's loader forks.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

RESIDENT = "dataset.resident=device"
STREAMED = "dataset.resident=files"
WEIGHTED = "protocol.class_weights=[1,2,3,1,2,3,1,2,3,1,2]"
# Together they have every precision, normalisation, place of the data, way to weigh classes and
# layout at least once, and what networks are trained with today. Graphs replay from the fourth on.
SETTINGS = {
    "default": ["protocol.validation.every=2"],
    "resident": [
        "protocol.precision=bf16", "protocol.normalisation=lcn", RESIDENT, WEIGHTED,
        "protocol.mirror=true", "protocol.dropout=0.5",
    ],
    "streamed": [
        "protocol.precision=tf32", "protocol.normalisation=lrn", STREAMED,
        "protocol.mirror=true", WEIGHTED, "protocol.loss_normaliser=weight_sum",
    ],
    "contiguous": [
        "protocol.normalisation=none", "protocol.channels_last=false", RESIDENT,
        "protocol.batch_norm.statistics=exact", "protocol.lr=1e-4",
    ],
    "graph": ["protocol.dropout=0.5", WEIGHTED, "protocol.mirror=true", RESIDENT],
    "not deterministic": [
        "protocol.deterministic=false", STREAMED, "protocol.normalisation=symmetric",
    ],
    "modern graph": [
        "protocol.optimiser=adamw", "protocol.lr=1e-3", "protocol.schedule=cosine",
        "protocol.warm_up_iterations=2", "protocol.clip_norm=0.5", "protocol.dice_weight=0.5",
        "protocol.mirror=true", "protocol.augmentation={scale: [0.75, 1.5], crop: [32, 48]}",
        "protocol.augmentation.brightness=0.5", "protocol.image_size=null",
        "protocol.inference={mode: slide, crop: [32, 48], stride: [16, 24]}",
    ],
}  # fmt: skip


def outcome(folder: Path) -> tuple[list[float], list[torch.Tensor], list[Any]]:
    """Returns the losses of a run, its tensors, and the counts of its evaluations."""
    losses = [loss for line in read_losses(folder) for loss in line["losses"]]
    state = checkpoints.load(folder / "checkpoint.pt")["network"]
    found = records.read_evaluations(folder)
    evidence = [read_evidence(folder, evaluation) for evaluation in found]
    counts = [each[key].tolist() for each in evidence for key in ("confusion", "boundaries")]
    return losses, list(state.values()), counts


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_gives_the_cpus_numbers(tiny_config: Compose, prepared: Prepare, name: str) -> None:
    settings = [*SETTINGS[name], f"max_iterations={5 if 'graph' in name else 3}"]
    on_cpu, _ = prepared(tiny_config(*settings, "device=cpu"), "cpu")
    assert execute(on_cpu) == 0
    with one_gpu() as gpu:
        on_gpu, _ = prepared(tiny_config(*settings, f"cuda_graph={'graph' in name}"), "gpu")
        assert execute(on_gpu) == 0, (on_gpu / "end.json").read_text()
        assert gpu.peak_bytes > 0
    assert records.read_json(on_gpu / "environment.json")["device_type"] == "cuda"
    (losses, tensors, counts), (cpu_losses, cpu_tensors, cpu_counts) = map(
        outcome, (on_gpu, on_cpu)
    )
    assert losses == cpu_losses
    assert all(map(torch.equal, tensors, cpu_tensors))
    assert counts == cpu_counts


def test_a_run_is_exported_where_no_gpu_is(tiny_config: Compose, prepared: Prepare) -> None:
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    from bench.export import main as export

    folder, _ = prepared(tiny_config("max_iterations=1"))
    with one_gpu():
        assert execute(folder) == 0
    export([str(folder), "--threads", "1", "--untimed"])
    (own,) = records.read_evaluations(folder, "test")
    (deployed,) = records.read_evaluations(folder, "test", "onnxruntime-fp32")
    assert deployed["confusion"] == own["confusion"]


@pytest.mark.parametrize("name", SETTINGS)
def test_the_host_waits_at_drains_alone(
    gpu: Gpu, tiny_config: Compose, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once more where a checkpoint is saved, after the last drain."""
    monkeypatch.setattr(loop, "DRAIN_SECONDS", 1e9)  # as if iterations were fast
    config = tiny_config(*SETTINGS[name], f"cuda_graph={'graph' in name}")
    device, monitor = prepare_device(config), Monitor(tmp_path)
    splits = load_splits(config, ["train"], device)
    training = prepare_training(config, tmp_path, splits, device, monitor)
    train(training, 1)  # constants reach the device once
    gpu.waits.clear()
    train(training, 6)
    drains = [wait for wait in gpu.waits if wait.function != "save"]
    assert {(wait.function, wait.what) for wait in drains} == {("train", "tolist")}, drains
    assert len(drains) == 2  # the first iteration after a start says how long one takes
    held = name == "modern graph"  # whose optimiser reads what the graph writes
    assert all((p.grad is not None) == held for p in training.network.parameters())
