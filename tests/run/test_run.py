"""A run from configuration to record, in this process: what it leaves, and that it repeats."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import records
from bench.evidence import read_evidence
from bench.losses import append_losses, read_losses
from bench.run import checkpoints
from bench.run.__main__ import EXIT_CODES, execute
from bench.run.milestones import patience_exhausted
from bench.run.monitor import Monitor
from bench.run.run import run, stops
from bench.selection import best_iteration
from bench.words import duration

Compose = Callable[..., dict[str, Any]]
Prepare = Callable[..., tuple[Path, Monitor]]


def losses(folder: Path) -> list[float]:
    return [loss for line in read_losses(folder) for loss in line["losses"]]


def weights(folder: Path) -> torch.Tensor:
    state = checkpoints.load(folder / "checkpoint.pt")["network"]
    return torch.cat([value.flatten().double() for value in state.values()])


def test_a_run_leaves_a_complete_record(tiny_config: Compose, prepared: Prepare) -> None:
    folder, monitor = prepared(tiny_config("milestones=[3]"))
    end = run(folder, monitor)
    assert end.iteration == 6
    assert len(losses(folder)) == 6
    evaluations = records.read_evaluations(folder)
    assert [(e["split"], e["iteration"]) for e in evaluations] == [("test", 3), ("test", 6)]
    evidence = read_evidence(folder, evaluations[-1])
    assert evidence["confusion"].sum() == 5 * 40 * 56
    assert np.array(evaluations[-1]["confusion"]).sum() == 5 * 40 * 56
    assert [p.name for p in (folder / "predictions").iterdir()] == ["test-0000006"]
    assert len(list((folder / "predictions" / "test-0000006").iterdir())) == 5
    environment = records.read_json(folder / "environment.json")
    assert environment["threads"] == 1
    assert len(environment["sources"]) == 12
    assert records.read_json(folder / "network.json")["initialisation"] == "He initialisation"
    data = records.read_json(folder / "data.json")
    assert {name: split["images"] for name, split in data["splits"].items()} == {
        "train": 12,
        "test": 5,
    }
    assert not (folder / "checkpoint-previous.pt").exists()
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("count", "options", "kept"),
    [
        (20, [], [f"test_{n:05d}" for n in (0, 3, 5, 8, 11, 14, 16, 19)]),
        (5, ["dataset.pictures=[test_00003,test_00001]"], ["test_00001", "test_00003"]),
    ],
)
def test_a_few_predictions_are_kept_the_same_for_every_run(
    tiny_config: Compose, prepared: Prepare, count: int, options: list[str], kept: list[str]
) -> None:
    counts = f"dataset.reader.counts={{train: 12, val: 4, test: {count}}}"
    folder, monitor = prepared(tiny_config(counts, "max_iterations=1", *options))
    run(folder, monitor)
    pictures = (folder / "predictions" / "test-0000001").iterdir()
    assert sorted(path.stem for path in pictures) == kept
    assert len(read_evidence(folder, records.read_evaluations(folder)[0])["names"]) == count


@pytest.mark.slow
def test_a_compiled_network_trains_and_is_evaluated_as_it_is(
    tiny_config: Compose, prepared: Prepare
) -> None:
    plain, monitor = prepared(tiny_config(), "plain")
    run(plain, monitor)
    folder, monitor = prepared(tiny_config("protocol.compile=true"), "compiled")
    run(folder, monitor)
    assert losses(folder) == pytest.approx(losses(plain), rel=1e-3)
    state = checkpoints.load(folder / "weights-last.pt")["network"]
    assert state.keys() == checkpoints.load(plain / "weights-last.pt")["network"].keys()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_numbers(
    tiny_config: Compose, prepared: Prepare, precision: str
) -> None:
    config = tiny_config(f"protocol.precision={precision}", "protocol.mirror=true")
    folders = []
    for name in ("one", "two"):
        folder, monitor = prepared(config, name)
        run(folder, monitor)
        folders.append(folder)
    assert losses(folders[0]) == losses(folders[1])
    assert torch.equal(weights(folders[0]), weights(folders[1]))
    other, monitor = prepared(tiny_config("seed=1"), "three")
    run(other, monitor)
    assert losses(other) != losses(folders[0])


def test_an_extended_run_equals_a_long_one(tiny_config: Compose, prepared: Prepare) -> None:
    """With dropout, so that its randomness is seen to depend on the iteration alone."""
    options = ("protocol.dropout=0.5", "max_iterations=5")
    folder, monitor = prepared(tiny_config(*options), "extended")
    run(folder, monitor)
    prepared(tiny_config(*options, "max_iterations=9"), "extended")
    run(folder, Monitor(folder))
    long, monitor = prepared(tiny_config(*options, "max_iterations=9"), "long")
    run(long, monitor)
    assert losses(folder) == losses(long)
    assert torch.equal(weights(folder), weights(long))
    assert [e["iteration"] for e in records.read_evaluations(folder)] == [5, 9]


def test_lines_of_losses_after_the_checkpoint_are_cut_on_resume(
    tiny_config: Compose, prepared: Prepare
) -> None:
    folder, monitor = prepared(tiny_config())
    run(folder, monitor)
    expected = losses(folder)
    append_losses(folder, 7, [9.0, 9.0], 1.0)
    with (folder / "losses.jsonl").open("a") as file:
        file.write('{"first": 9, "losses": [1.0, 2')  # a kill while writing
    prepared(tiny_config("max_iterations=8"))
    run(folder, Monitor(folder))
    assert losses(folder)[:6] == expected
    assert len(losses(folder)) == 8


def test_validation_selects_the_first_of_the_best_and_evaluates_it(
    tiny_config: Compose, prepared: Prepare
) -> None:
    config = tiny_config("protocol.validation.every=2", "protocol.evaluation_splits=[test,train]")
    folder, monitor = prepared(config)
    run(folder, monitor)
    best = best_iteration(folder, config)
    scores = {
        e["iteration"]: np.trace(np.array(e["confusion"])[:11]) for e in
        records.read_evaluations(folder, "val")
    }  # fmt: skip
    assert list(scores) == [2, 4, 6]
    assert best == max(scores, key=lambda i: (scores[i], -i))
    for split in ("test", "train"):
        done = {e["iteration"] for e in records.read_evaluations(folder, split)}
        assert done == {best, 6}
        assert (folder / "predictions" / records.evaluation_name(split, best)).is_dir()
    assert checkpoints.load(folder / "weights-best.pt")["iteration"] == best


def with_validations(folder: Path, scores: list[int]) -> None:
    """Writes validations at iterations 2, 4, ... whose G is the given percentage."""
    for number, percent in enumerate(scores, start=1):
        confusion = np.zeros((1, 3, 3), np.int32)
        confusion[0, 0, :2] = percent, 100 - percent
        summary = {"split": "val", "iteration": 2 * number, "images": 1}
        records.write_evaluation(folder, summary, {"confusion": confusion})


@pytest.mark.parametrize(
    ("scores", "best", "stops_early"),
    [([50, 60, 60], 4, False), ([50, 60, 59, 60], 4, True), ([50], 2, False), ([], None, False)],
)
def test_patience_counts_validations_without_a_gain(
    tiny_config: Compose, tmp_path: Path, scores: list[int], best: int | None, stops_early: bool
) -> None:
    config = tiny_config("protocol.validation.every=2", "protocol.validation.patience=2")
    with_validations(tmp_path, scores)
    assert best_iteration(tmp_path, config) == best
    assert bool(patience_exhausted(tmp_path, config)) == stops_early


def test_patience_ends_a_run_with_its_evaluations(tiny_config: Compose, prepared: Prepare) -> None:
    config = tiny_config(
        "protocol.validation.every=1",
        "protocol.validation.patience=1",
        "max_iterations=40",
        "protocol.lr=1e-12",  # so that nothing changes and the second validation gains nothing
    )
    folder, monitor = prepared(config)
    end = run(folder, monitor)
    assert end.iteration < 40
    assert "no gain in 1 validations" in end.reason
    assert end.iteration in {e["iteration"] for e in records.read_evaluations(folder, "test")}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["max_iterations=10", "milestones=[4,20]"], [4, 10]),
        (["max_iterations=10", "milestones=[]", "protocol.validation.every=4"], [4, 8, 10]),
        (["max_iterations=10", "milestones=[8,3]", "protocol.validation.every=4"], [3, 4, 8, 10]),
    ],
)
def test_stops_are_milestones_validations_and_the_last_iteration(
    tiny_config: Compose, options: list[str], expected: list[int]
) -> None:
    assert stops(tiny_config(*options)) == expected


@pytest.mark.parametrize(
    ("overrides", "state", "reason"),
    [
        (["protocol.lr=1e30"], "diverged", r"SegNet-Basic became \w+ at iteration \d+ .*lr=1e\+30"),
        (["protocol.batch_size=13"], "failed", "batch_size is 13, but split 'train' has only 12"),
        (["cuda_graph=true", "device=cpu"], "failed", "cuda_graph is true, but device=cpu"),
        (["device=cuda:77"], "failed", "device=cuda:77 cannot be used here"),
        (["protocol.train_split=trian"], "failed", "no scenes for split 'trian'"),
        (["dataset.pictures=[nowhere]"], "failed", "names 'nowhere', which is no image of test"),
        (["arch._target_=tests_missing.Net"], "failed", "No module named 'tests_missing'"),
    ],
)
def test_a_run_that_cannot_go_on_says_why(
    tiny_config: Compose, prepared: Prepare, overrides: list[str], state: str, reason: str
) -> None:
    config = tiny_config(*[o for o in overrides if not o.startswith("arch._target_")])
    if "arch._target_" in overrides[0]:
        config.arch["_target_"] = "tests_missing.Net"
    folder, _ = prepared(config)
    code = execute(folder)
    end = records.read_json(folder / "end.json")
    assert end["state"] == state
    assert code == EXIT_CODES[state] != 0
    assert re.search(reason, end["reason"])
    assert "\n" not in end["reason"]


@pytest.mark.parametrize("option", ["processes=2", "protocol.compile=true"])
def test_a_graph_is_of_one_process_as_it_is(tiny_config: Compose, option: str) -> None:
    with pytest.raises(ValueError, match="cuda_graph is True; it must be false with processes"):
        tiny_config("cuda_graph=true", option)


def test_a_dry_run_says_what_would_run_and_writes_no_result(
    tiny_config: Compose, prepared: Prepare
) -> None:
    folder, monitor = prepared(tiny_config("dry_run=true"))
    run(folder, monitor)
    notices = json.loads((folder / "progress.json").read_text())["notices"]
    assert "12 train, 5 test" in notices[0]
    assert "of training on this device" in notices[1]
    assert not (folder / "checkpoint.pt").exists()
    assert not (folder / "evaluations").exists()


def test_changed_sources_need_a_decision(tiny_config: Compose, prepared: Prepare) -> None:
    folder, monitor = prepared(tiny_config())
    run(folder, monitor)
    environment = records.read_json(folder / "environment.json")
    records.write_json(folder / "environment.json", environment | {"sources": "0ld"})
    prepared(tiny_config("max_iterations=8"))
    with pytest.raises(ValueError, match=r"sources was 0ld, is .*accept_changes=true"):
        run(folder, Monitor(folder))
    prepared(tiny_config("max_iterations=8", "accept_changes=true"))
    assert run(folder, Monitor(folder)).iteration == 8
    (accepted,) = records.read_json(folder / "environment.json")["accepted_changes"]
    assert accepted.startswith("iteration 6: sources was 0ld, is ")


def test_changed_data_are_refused_on_resume(tiny_config: Compose, prepared: Prepare) -> None:
    folder, monitor = prepared(tiny_config())
    run(folder, monitor)
    data = records.read_json(folder / "data.json")
    data["splits"]["train"]["digest"] = "other"
    records.write_json(folder / "data.json", data)
    prepared(tiny_config("max_iterations=8"))
    with pytest.raises(ValueError, match="differ from those"):
        run(folder, Monitor(folder))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "3 s"), (600, "10 min"), (5400, "1.5 h"), (86400 * 30, "30.0 days")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
