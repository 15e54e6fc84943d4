"""On a real GPU: whole runs repeat and resume bit for bit, in every arithmetic.

    python -m pytest -m gpu

Where there is none, the stand-in keeps these tests from going stale.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from architectures import pooling
from bench import records
from bench.config import Config
from bench.data.splits import load_splits
from bench.evidence import read_evidence
from bench.launch.launch import launch
from bench.losses import read_losses
from bench.records import State
from bench.run import checkpoints
from bench.run.__main__ import execute
from bench.run.device import prepare_device
from bench.run.evaluation import evaluate
from bench.run.monitor import Monitor
from bench.run.network import build_network
from bench.run.preparation import prepare_training
from bench.run.training import step, training_batches

pytestmark = pytest.mark.timeout(600)

Compose = Callable[..., Config]
Prepare = Callable[..., tuple[Path, Monitor]]

WIDE = ["arch.width=16", "protocol.mirror=true", "protocol.class_weights=[1,2,3,1,2,3,1,2,3,1,2]"]


# Beside a default run's: overrides, and how far their losses may be from its.
OPTIONS = [
    (["device=cpu"], 1e-3),
    (["protocol.channels_last=false"], 1e-3),
    (["protocol.precision=tf32"], 1e-2),
    (["protocol.precision=bf16"], 5e-2),
    (["protocol.compile=true"], 1e-3),
    (["dataset.resident=files"], 0),
    (["dataset.resident=device"], 0),
    (["cuda_graph=true"], 0),
]


@pytest.fixture(params=[pytest.param("real", marks=pytest.mark.gpu), "stand-in"])
def _device(request: pytest.FixtureRequest) -> None:
    """The GPU, or where there is none the stand-in for it."""
    if request.param == "stand-in":
        request.getfixturevalue("gpu")


def losses(folder: Path) -> list[float]:
    return [loss for line in read_losses(folder) for loss in line["losses"]]


def weights(folder: Path) -> torch.Tensor:
    state = checkpoints.load(folder / "checkpoint.pt")["network"]
    return torch.cat([value.flatten().double() for value in state.values()])


@pytest.fixture
def ran(_device: None, tiny_config: Compose, prepared: Prepare) -> Callable[..., Path]:
    """Runs a configuration, device left at its default, and returns its folder."""

    def run(name: str, *overrides: str) -> Path:
        folder, _ = prepared(tiny_config(*WIDE, *overrides), name)
        (folder / "end.json").unlink(missing_ok=True)
        assert execute(folder) == 0, (folder / "end.json").read_text()
        return folder

    return run


def test_a_default_run_is_a_gpus_and_repeats_bit_for_bit(ran: Any) -> None:
    one, two = ran("one"), ran("two")
    assert records.read_json(one / "environment.json")["device_type"] == "cuda"
    assert losses(one) == losses(two)
    assert torch.equal(weights(one), weights(two))
    (evaluation,) = records.read_evaluations(one, "test")
    assert np.array(evaluation["confusion"]).sum() == 5 * 40 * 56


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.gpu)])
def test_a_resumed_run_is_an_uninterrupted_one(ran: Any, precision: str) -> None:
    settings = [f"protocol.precision={precision}", "protocol.dropout=0.5"]
    cut = ran("cut", *settings, "max_iterations=4")
    ran("cut", *settings, "max_iterations=9")
    whole = ran("whole", *settings, "max_iterations=9")
    assert losses(cut) == losses(whole)
    assert torch.equal(weights(cut), weights(whole))


@pytest.mark.gpu
@pytest.mark.parametrize(("options", "tolerance"), OPTIONS)
def test_losses_are_those_of_a_default_run(ran: Any, options: list[str], tolerance: float) -> None:
    """To the last bit where no arithmetic differs, else within its rounding."""
    plain, other = losses(ran("plain")), losses(ran("other", *options))
    assert other == (pytest.approx(plain, rel=tolerance) if tolerance else plain)


@pytest.mark.parametrize(("options", "_"), OPTIONS)
def test_these_options_are_options(tiny_config: Compose, options: list[str], _: float) -> None:
    """Which are asked for on a GPU alone."""
    tiny_config(*WIDE, *options)


def test_a_trained_network_predicts_the_same_on_the_cpu(ran: Any, tiny_config: Compose) -> None:
    folder = ran("run")
    config = tiny_config(*WIDE, "device=cpu")
    split = load_splits(config, ["test"])["test"]
    network = build_network(config)
    network.load_state_dict(checkpoints.load(folder / checkpoints.LAST)["network"])
    evidence = evaluate(
        network.eval(), split, config, device=prepare_device(config), monitor=Monitor(folder)
    )
    (evaluation,) = records.read_evaluations(folder, "test")
    theirs = read_evidence(folder, evaluation)["confusion"]
    moved = np.abs(evidence["confusion"] - theirs).sum() / 2
    assert moved <= 1e-3 * theirs.sum()  # pixels between two classes


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")  # a prototype's
def test_twenty_iterations_make_the_host_wait_nowhere(tiny_config: Compose, tmp_path: Path) -> None:
    config = tiny_config(*WIDE, "dataset.resident=device")
    device, monitor = prepare_device(config), Monitor(tmp_path)
    splits = load_splits(config, ["train"], device)
    training = prepare_training(config, tmp_path, splits, device, monitor)
    training.model.train()
    for number, (images, labels) in enumerate(training_batches(training, range(23))):
        step(training, images, labels, number)
        if number == 2:  # constants are there, kernels are chosen
            torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_pooling_is_by_kernels() -> None:
    pytest.importorskip("triton")
    assert pooling._kernels_for(torch.zeros(1, device="cuda")) is not None


GREEDY = """
import torch

class Net(torch.nn.Conv2d):
    def __init__(self, num_classes):
        super().__init__(3, num_classes, 1)

    def forward(self, images):
        if self.training:
            torch.empty(2**48, device=images.device)
        return super().forward(images)
"""


@pytest.mark.usefixtures("_device")
def test_out_of_memory_is_recorded_as_such(
    tiny_config: Compose, prepared: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "greedy.py").write_text(GREEDY)
    monkeypatch.syspath_prepend(tmp_path)
    config = tiny_config()
    config.arch = {"name": "Greedy", "_target_": "greedy.Net"}
    folder, _ = prepared(config)
    assert execute(folder) == 4
    end = records.read_end(folder)
    assert end is not None
    assert end.state == State.out_of_memory
    assert end.reason is not None
    assert re.search("out of memory|can't allocate memory", end.reason)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_compute_what_one_does(tiny_config: Compose, tmp_path: Path) -> None:
    """By NCCL, in processes of their own."""
    found = []
    for processes in (1, 2):
        config = tiny_config(*WIDE, f"processes={processes}", f"runs={tmp_path}/{processes}")
        outcome = launch(config)
        assert outcome.end.state == State.finished, outcome.end.reason
        found.append(losses(Path(str(outcome.folder))))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


def test_gradients_as_a_graph_give_the_numbers_of_single_updates(ran: Any) -> None:
    """Where rates change and AdamW counts on the host, its steps are made beside the graph."""
    settings = [
        "protocol.optimiser=adamw", "protocol.lr=1e-3", "protocol.schedule=cosine",
        "protocol.warm_up_iterations=2", "protocol.clip_norm=0.5", "protocol.dice_weight=0.5",
        "dataset.resident=device", "max_iterations=9",
    ]  # fmt: skip
    plain, graphed = ran("plain", *settings), ran("graphed", *settings, "cuda_graph=true")
    assert losses(graphed) == losses(plain)
    assert torch.equal(weights(graphed), weights(plain))
