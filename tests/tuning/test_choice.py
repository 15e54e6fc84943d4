"""The choice among trials: a function of their validation records and of nothing else."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from stand_in_trial import evidence

from bench import records
from bench.config import Config, run_folder, write_config
from bench.records import End, State
from bench.run.monitor import Monitor
from bench.run.run import run
from bench.tuning.choice import chosen, ranked, standing
from bench.tuning.schema import Criterion
from bench.tuning.space import candidates

Compose = Callable[..., Config]
FOUR = ["tuning=lr", "tuning.trials=4"]  # rates 0.001, 0.01, 0.1, 1


def record(
    trial: Config, share: float | None, *, iteration: int = 6, split: str = "val"
) -> tuple[Config, Path]:
    """Records a trial that got a share of the pixels right, or diverged."""
    folder = run_folder(trial)
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder, trial)
    if share is None:
        records.write_end(folder, End(State.diverged, "the loss became nan"))
        return trial, folder
    summary = {"split": split, "iteration": iteration, "images": 1}
    records.write_evaluation(folder, summary, evidence(trial, share))
    records.write_end(folder, End(State.finished, iteration=iteration, max_iterations=iteration))
    return trial, folder


def trials(compose: Compose, *overrides: str, count: int = 4) -> list[Config]:
    return [compose(*FOUR, f"tuning.trial={n}", *overrides) for n in range(count)]


def recorded(compose: Compose, shares: Sequence[float | None], *overrides: str) -> list[Path]:
    """Records all trials of a network and returns their folders."""
    made = trials(compose, *overrides, count=len(shares))
    return [record(*pair)[1] for pair in zip(made, shares, strict=True)]


def test_the_best_on_validation_is_chosen_and_recorded_with_what_was_tried(
    tiny_config: Compose,
) -> None:
    folders = recorded(tiny_config, [0.3, 0.6, 0.5, None])
    config = tiny_config(*FOUR, "seed=2")
    assert config.tuning is not None
    assert (config.protocol.lr, config.seed) == (0.01, 2)
    assert config.tuning.tried == [folder.name for folder in folders]
    assert config.protocol.evaluation_splits == ["test"]


@pytest.mark.parametrize("seed", range(3))
def test_the_order_in_which_trials_are_made_changes_no_choice(
    tiny_config: Compose, seed: int
) -> None:
    """Two of them are equal; the lower number wins in whatever order."""
    order = [(0, 0.2), (1, 0.6), (2, 0.6), (3, None)]
    random.Random(seed).shuffle(order)
    made = trials(tiny_config)
    for number, share in order:
        record(made[number], share)
    assert tiny_config(*FOUR).protocol.lr == 0.01


def test_what_a_trial_scores_on_another_split_has_no_say(tiny_config: Compose) -> None:
    """Records of the test set, had somebody made them, would favour the last trial."""
    recorded(tiny_config, [0.3, 0.6, 0.5, 0.4])
    for trial, share in zip(trials(tiny_config), (0.1, 0.2, 0.3, 0.9), strict=True):
        record(trial, share, split="test")
    assert tiny_config(*FOUR).protocol.lr == 0.01


def test_a_trial_needs_no_test_set(tiny_config: Compose, tmp_path: Path) -> None:
    """With a reader that fails when it is asked for the test split."""
    (tmp_path / "jealous.py").write_text(
        "from bench.data import synthetic\n"
        "def read(split, **more):\n"
        "    assert split in ('train', 'val'), f'asked for {split}'\n"
        "    return synthetic.read(split=split, **more)\n"
    )
    config = tiny_config(*FOUR, "tuning.trial=1", "dataset.cache=null")
    assert config.protocol.splits == ["train", "val"]
    config.dataset.reader["_target_"] = "jealous.read"
    config.config_dir = str(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        folder = tmp_path / "trial"
        folder.mkdir()
        write_config(folder, config)
        assert run(folder, Monitor(folder)).state == State.finished
        assert [e["split"] for e in records.read_evaluations(folder)] == ["val"]
        whole = tmp_path / "whole"
        whole.mkdir()
        config.protocol.evaluation_splits = ["test"]
        write_config(whole, config)
        with pytest.raises(Exception, match="asked for test"):
            run(whole, Monitor(whole))


def test_a_trial_is_judged_where_the_run_would_be(tiny_config: Compose) -> None:
    """At its best validated iteration, though another one is its last."""
    every = "protocol.validation.every=3"
    made = trials(tiny_config, every)
    for trial, shares in zip(made, ((0.7, 0.2), (0.5, 0.6), (0.4, 0.4), (0.1, 0.3)), strict=True):
        for iteration, share in zip((3, 6), shares, strict=True):
            record(trial, share, iteration=iteration)
    assert tiny_config(*FOUR, every).protocol.lr == 0.001


def test_another_criterion_may_choose_another_trial_from_the_same_records(
    tiny_config: Compose,
) -> None:
    """G counts pixels, C classes: here a rare class decides C alone."""
    made = trials(tiny_config)
    folders = []
    for trial, (common, rare) in zip(made, ((90, 1), (60, 9), (50, 5), (10, 0)), strict=True):
        _, folder = record(trial, None)
        arrays = evidence(trial, 0.0)
        matrix = np.zeros_like(arrays["confusion"])
        matrix[0, 0, :2], matrix[0, 1, :2] = (common, 100 - common), (10 - rare, rare)
        summary = {"split": "val", "iteration": 6, "images": 1}
        records.write_evaluation(folder, summary, {**arrays, "confusion": matrix})
        folders.append(folder)
    assert chosen(folders, made, [6], Criterion.G) == 0
    assert chosen(folders, made, [6], Criterion.C) == 1


def test_halving_drops_the_worse_half_at_each_stop(tiny_config: Compose) -> None:
    """A trial that is behind at a stop goes no further, whatever it might have become."""
    halved = ["tuning.halving=[2,4]", "tuning.trials=5"]
    made = trials(tiny_config, *halved, count=5)
    folders = [
        record(trial, share, iteration=2)[1]
        for trial, share in zip(made, (0.5, 0.9, 0.1, 0.7, None), strict=True)
    ]
    assert standing(folders, made, [2, 4, 6], 1) == [1, 3, 0]
    second = tiny_config(*FOUR, *halved, "tuning.rung=1", "tuning.rank=2")
    assert (second.max_iterations, run_folder(second)) == (4, folders[0])
    for number, share in ((1, 0.2), (3, 0.4), (0, 0.3)):
        record(made[number], share, iteration=4)
    assert standing(folders, made, [2, 4, 6], 2) == [3, 0]
    assert standing(folders, made, [2, 4, 6], 1) == [1, 3, 0]  # what came later changes nothing
    record(made[3], 0.1, iteration=6)
    record(made[0], 0.2, iteration=6)
    assert chosen(folders, made, [2, 4, 6]) == 0
    assert tiny_config(*FOUR, *halved).protocol.lr == candidates(made[0].tuning)[0]["lr"]


def test_a_trial_that_diverged_counts_as_one_and_comes_last() -> None:
    assert ranked([0, 1, 2, 3], [None, 0.1, None, 0.2]) == [3, 1, 0, 2]


def test_nothing_is_chosen_before_every_trial_has_a_result(tiny_config: Compose) -> None:
    recorded(tiny_config, [0.3, 0.6, 0.5])
    last = trials(tiny_config)[3]
    message = r"trial of SegNet-Basic with lr=1 has no result \(not finished\); .* goes on"
    with pytest.raises(ValueError, match=message):
        tiny_config(*FOUR)
    folder = record(last, None)[1]
    records.write_end(folder, End(State.failed, "no space left"))
    with pytest.raises(ValueError, match=r"no result \(failed: no space left\)"):
        tiny_config(*FOUR)
    for trial in trials(tiny_config):
        for path in (run_folder(trial) / "evaluations").glob("*"):
            path.unlink()
        record(trial, None)
    with pytest.raises(ValueError, match="all 4 trials of SegNet-Basic diverged; widen"):
        tiny_config(*FOUR)
