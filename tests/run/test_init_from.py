"""`init_from=RUN`: the weights of a recorded run as a start, aloud, strictly, and in its name."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import records
from bench.config import identity
from bench.run import checkpoints
from bench.run.init_from import start_from_run
from bench.run.monitor import Monitor
from bench.run.network import build_network
from bench.run.run import run
from bench.selection import selected_iteration

Compose = Callable[..., dict[str, Any]]
Prepare = Callable[..., tuple[Path, Monitor]]


@pytest.fixture
def source(tiny_config: Compose, prepared: Prepare) -> Path:
    folder, monitor = prepared(tiny_config(), "source")
    run(folder, monitor)
    return folder


def test_a_run_starts_from_the_weights_of_another_and_says_so(
    tiny_config: Compose, prepared: Prepare, source: Path
) -> None:
    config = tiny_config(f"init_from={source}", "protocol.lr=1e-12", "max_iterations=1")
    assert config.init_iteration == 6
    folder, monitor = prepared(config, "second")
    run(folder, monitor)
    theirs = checkpoints.load(source / "weights-last.pt")["network"]
    ours = checkpoints.load(folder / "weights-last.pt")["network"]
    weights = [name for name in theirs if "running" not in name and "num_batches" not in name]
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-7) for name in weights)
    network = records.read_json(folder / "network.json")
    assert network["initialisation"] == "the weights of source, iteration 6"
    assert network["loaded_weights"] == dict.fromkeys(theirs, "source, iteration 6")
    notices = json.loads((folder / "progress.json").read_text())["notices"]
    assert "(the weights of source, iteration 6)" in notices[0]


def test_the_best_by_validation_is_taken_where_there_is_one(
    tiny_config: Compose, prepared: Prepare
) -> None:
    folder, monitor = prepared(tiny_config("protocol.validation.every=2"), "validated")
    run(folder, monitor)
    best = checkpoints.load(folder / "weights-best.pt")["iteration"]
    assert selected_iteration(folder) == best
    assert tiny_config(f"init_from={folder}").init_iteration == best
    assert tiny_config(f"init_from={folder}", "init_iteration=6").init_iteration == 6


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("arch.width=5", r"its tensor \S+ is \(4, 3, 7, 7\), and here it is \(5, 3, 7, 7\)"),
        ("arch.conv_bias=true", r"its tensor \S+bias is missing, and here it is \(4,\)"),
        ("init_iteration=5", "has no weights of iteration 5"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    tiny_config: Compose, prepared: Prepare, source: Path, override: str, message: str
) -> None:
    folder, monitor = prepared(tiny_config(f"init_from={source}", override), "second")
    with pytest.raises(ValueError, match=message):
        run(folder, monitor)


def test_what_cannot_be_started_from_is_refused_at_once(
    tiny_config: Compose, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"nowhere is no folder; give that of a run"):
        tiny_config(f"init_from={tmp_path}/nowhere")
    shutil.rmtree(source / "evaluations")
    with pytest.raises(ValueError, match="has not been evaluated yet"):
        tiny_config(f"init_from={source}")
    with pytest.raises(ValueError, match=r"arch\.weights is imagenet; it must be null where"):
        tiny_config("arch=segnet", "~arch.width", f"init_from={source}", "arch.weights=imagenet")


def test_the_start_is_part_of_the_identity_by_name_and_only_when_given(
    tiny_config: Compose, source: Path, tmp_path: Path
) -> None:
    plain, started = tiny_config(), tiny_config(f"init_from={source}")
    moved = source.rename(tmp_path / "elsewhere")
    shutil.copytree(moved, tmp_path / "there" / "source")
    assert identity(started) != identity(plain)
    assert identity(tiny_config(f"init_from={tmp_path}/there/source")) == identity(started)
    assert identity(tiny_config(f"init_from={moved}")) != identity(started)
    assert identity(replace(started, init_iteration=5)) != identity(started)


def test_a_file_of_weights_is_no_run(tiny_config: Compose, tmp_path: Path) -> None:
    (tmp_path / "file.pth").write_bytes(b"weights")
    for name in ("file.pth", "nothing"):
        with pytest.raises(ValueError, match=rf"init_from=.*{name} is no folder; give that"):
            tiny_config(f"init_from={tmp_path}/{name}")


ODD: list[tuple[Callable[[torch.Tensor], torch.Tensor], str]] = [
    (lambda tensor: tensor * float("nan"), r"its tensor \S+ holds values that are not finite"),
    (lambda tensor: tensor.long(), r"its tensor \S+ is \(.*\) of torch\.int64, and here it is"),
    (lambda tensor: tensor.to_sparse(), r"weights-last\.pt: has no tensors of a network"),
    (lambda tensor: tensor.to("meta"), r"weights-last\.pt: has no tensors of a network"),
]


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")  # as torch loads one
def test_odd_tensors_start_no_run(tiny_config: Compose, source: Path) -> None:
    config: Any = tiny_config(f"init_from={source}", "init_iteration=6")
    sound = checkpoints.load(source / checkpoints.LAST)
    name, tensor = next(iter(sound["network"].items()))
    for spoil, message in ODD:
        network = sound["network"] | {name: spoil(tensor)}
        checkpoints.save(source / checkpoints.LAST, sound | {"network": network})
        with pytest.raises(ValueError, match=message):
            start_from_run(build_network(config), config)
