"""The values of trials, what a tuning block may say, and what hashes have of it."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import qmc
from tiny_run import TINY

from bench.command_line import compose_config
from bench.config import Config, fingerprint, identity, run_folder
from bench.seeds import derive_seed
from bench.tuning.schema import TuningConfig, budget, counts, in_words
from bench.tuning.space import candidates, numeric_kind, values_of

Compose = Callable[..., Config]
LR = {"lr": {"low": 1e-3, "high": 1.0, "log": True}}


@pytest.fixture
def compose_block(tmp_path: Path) -> Callable[..., Config]:
    """Composes a tiny run with a tuning block of the user's own, as YAML."""

    def compose(block: str, *overrides: str) -> Config:
        own = tmp_path / "conf" / "tuning"
        own.mkdir(parents=True, exist_ok=True)
        (own / "mine.yaml").write_text(f"# @package _global_\ntuning: {{{block}}}\n")
        return compose_config([*TINY, "tuning=mine", *overrides], own.parent)

    return compose


def tuning(space: dict[str, Any] = LR, trials: int = 7, **more: Any) -> TuningConfig:
    return TuningConfig(space=space, trials=trials, **more)


def test_a_grid_has_equal_ratios_and_holds_its_ends() -> None:
    rates = [values["lr"] for values in candidates(tuning())]
    assert rates == [0.001, 0.003162, 0.01, 0.03162, 0.1, 0.3162, 1.0]
    linear = candidates(tuning({"momentum": {"low": 0.5, "high": 0.9}}, 3))
    assert [values["momentum"] for values in linear] == [0.5, 0.7, 0.9]


def test_a_grid_of_several_keys_is_their_product() -> None:
    space = {**LR, "batch_norm": {"eps": [1e-5, 1e-3]}, "batch_size": [2, 4]}
    found = candidates(tuning(space, 12))
    assert [v["lr"] for v in found[::4]] == [0.001, 0.03162, 1.0]
    assert found[1] == {"lr": 0.001, "batch_norm.eps": 1e-5, "batch_size": 4}
    assert len({tuple(values.values()) for values in found}) == 12


@pytest.mark.parametrize("seed", [0, 5])
def test_a_draw_is_haltons_sequence_shifted_by_the_seed(seed: int) -> None:
    """Against SciPy's sequence, whose first point is the corner that is left out here."""
    space = {
        "momentum": {"low": 0.0, "high": 1.0},
        "dropout": {"low": 0.0, "high": 1.0},
        "lr": {"low": 0.0, "high": 1.0},
    }
    found = candidates(tuning(space, 20, rule="halton", seed=seed))
    shifts = np.array([derive_seed(seed, "tuning", d) / 2**63 for d in range(3)])
    expected = (qmc.Halton(3, scramble=False).random(21)[1:] + shifts) % 1
    assert np.array([list(values.values()) for values in found]) == pytest.approx(
        expected, rel=1e-3
    )


def test_a_larger_draw_begins_with_the_smaller_one() -> None:
    few, many = (candidates(tuning(trials=n, rule="halton")) for n in (8, 16))
    assert many[:8] == few
    assert all(1e-3 <= values["lr"] <= 1 for values in many)


def test_whole_numbers_stay_whole(compose_block: Compose) -> None:
    block = "space: {batch_size: {low: 1, high: 8, log: true}}, trials: 4"
    found = [
        compose_block(block, f"tuning.trial={number}").protocol.batch_size for number in range(4)
    ]
    assert found == [1, 2, 4, 8]


def test_every_number_of_the_protocol_can_be_tuned() -> None:
    for key in ("lr", "dropout", "batch_norm.eps", "batch_norm.shift_decay_factor"):
        assert numeric_kind(key) is float
    for key in ("batch_size", "batch_norm.images", "validation.every"):
        assert numeric_kind(key) is int
    for key in ("mirror", "image_size", "precision", "name", "batch_norm", "nothing", "lr.x"):
        assert numeric_kind(key) is None


def test_an_architectures_own_key_follows_the_tuned_one(compose_block: Compose) -> None:
    block = "space: {dropout: [0.1, 0.3]}, trials: 2, trial: 1"
    config = compose_block(block, "arch=segnet", "~arch.width")
    assert config.protocol.dropout == config.arch["dropout"] == 0.3


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("space: {lr: [0.1, 1]}, trials: 1", r"tuning\.trials is 1; it must be 2 or more"),
        ("space: {lr: [0.1, 1]}, trials: 4", r"trials is 4, but the grid of lr has 2 points"),
        ("space: {}, trials: 2", r"tuning\.space has 0 keys"),
        ("space: {lr: 0.1}, trials: 2", r"tuning\.space\.lr is 0\.1; give \{low"),
        ("space: {lr: [0.1]}, trials: 2", r"tuning\.space\.lr is \[0\.1\]; give two numbers"),
        ("space: {lr: [0.1, 0.1]}, trials: 2", r"trials 0 and 1 have the same values \(lr=0\.1\)"),
        ("space: {lr: {low: 1, high: 0.1}}, trials: 2", r"lr goes from 1 to 0\.1; .* low below"),
        ("space: {lr: {low: 0, high: 1, log: true}}, trials: 2", "log needs low above 0"),
        ("space: {lr: {low: 0.1, hihg: 1}}, trials: 2", r"space\.lr is .*; give \{low"),
        ("space: {lr: {low: 0.1, high: 1, lgo: true}}, trials: 2", r"lr\.lgo: no such key"),
        ("space: {lrr: [0.1, 1]}, trials: 2", r"tuning\.space\.lrr: no such key; .*space\.lr\?"),
        ("space: {mirror: [0, 1]}, trials: 2", r"space\.mirror: not a number of the protocol"),
        (
            "space: {lr: {low: 1, high: 2}, momentum: {low: 0, high: 0.9}}, trials: 4",
            r"rule is grid, but lr and momentum are ranges; .* tuning\.rule=halton",
        ),
        ("space: {lr: [0.1, 1]}, trials: 2, trial: 2", r"trial is 2; it must be from 0 to 1"),
        ("space: {lr: [0.1, 1]}, trials: 2, halving: [3]", "leaves one of 2 trials"),
        ("space: {lr: [0.1, 1]}, trials: 2, rung: 1", r"rung is 1; there are 0 halvings"),
        ("space: {lr: [0.1, 1]}, trials: 2, iterations: 0", r"iterations is 0; it must be 1"),
        ("space: {lr: [-0.1, 1]}, trials: 2, trial: 0", r"protocol\.lr is -0\.1"),
        ("space: {lr: [0.1, 1]}, trials: 2, select_on: test", r"select_on is test, .* reported"),
        ("space: {lr: [0.1, 1]}, trials: 2, select_on: train", r"select_on is train, .* trained"),
        ("space: {lr: [0.1, 1]}, trials: 2, sed: 1", "sed"),
    ],
)
def test_a_wrong_block_names_key_value_and_remedy(
    compose_block: Compose, block: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compose_block(block, "dry_run=true")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["tuning.halving=[6]"], r"halving is \[6\]; .* last below 6, where trials end"),
        (["tuning.halving=[3]", "protocol.validation.patience=2"], r"patience=2 .* set it to null"),
        (["tuning.halving=[3]", "protocol.schedule=poly"], r"schedule=poly depends on their end"),
        (
            ["protocol.validation.split=test", "protocol.validation.every=2"],
            r"validation\.split is test, .* set both to one split",
        ),
        (["cost.measure=true"], r"tuning and cost\.measure=true exclude each other"),
        (["start=false"], r"tuning and start=false exclude each other"),
        (["protocol.evaluation_splits=[test,val]"], r"select_on is val"),
    ],
)
def test_what_does_not_go_with_tuning_is_refused(
    tiny_config: Compose, overrides: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_config("tuning=lr", "dry_run=true", *overrides)


def test_the_fingerprint_has_the_space_and_the_budget_and_not_the_value(
    tiny_config: Compose,
) -> None:
    one = tiny_config("tuning=lr", "dry_run=true")
    assert one.tuning is not None
    other = replace(one, protocol=replace(one.protocol, lr=0.1))
    assert fingerprint(one) == fingerprint(other)
    assert identity(one) != identity(other)
    assert fingerprint(one) != fingerprint(tiny_config())
    for change in (
        "tuning.trials=13", "tuning.space.lr.high=0.1", "tuning.criterion=G", "tuning.seed=1",
        "tuning.iterations=5", "tuning.select_on=other", "tuning.halving=[3]", "tuning.rule=halton",
        "protocol.momentum=0.5",
    ):  # fmt: skip
        assert fingerprint(tiny_config("tuning=lr", "dry_run=true", change)) != fingerprint(one)
    for change in ("arch.width=5", "seed=3", "max_iterations=9"):
        assert fingerprint(tiny_config("tuning=lr", "dry_run=true", change)) == fingerprint(one)


def test_a_nested_space_and_a_dotted_one_are_the_same(compose_block: Compose) -> None:
    blocks = ("{batch_norm: {eps: [1e-5, 1e-3]}}", "{batch_norm.eps: [1e-5, 1e-3]}")
    found = [compose_block(f"space: {b}, trials: 2", "dry_run=true") for b in blocks]
    assert fingerprint(found[0]) == fingerprint(found[1])
    assert values_of(found[1]) == {"batch_norm.eps": 1e-5}


def test_a_trial_trains_and_scores_on_the_split_that_selects_and_on_no_other(
    tiny_config: Compose,
) -> None:
    asked = ["tuning=lr", "tuning.trial=2", "tuning.iterations=4", "tuning.seed=7", "seed=1"]
    pictures = "dataset.pictures=[test_00003]"
    config = tiny_config(*asked, "milestones=[2]", "postprocess=dense_crf", pictures)
    assert config.protocol.evaluation_splits == ["val"]
    assert (config.protocol.lr, config.seed, config.max_iterations) == (0.01, 7, 4)
    assert (config.milestones, config.dataset.pictures) == ([], [])
    assert config.postprocess == {"name": "none"}
    assert run_folder(config).parent.name == "trials"
    more = tiny_config(*asked[1:], "tuning=lr", "tuning.trials=13", "tuning.trial=4")
    assert run_folder(more) == run_folder(config)  # the same trial of a larger budget


def test_a_budget_is_counted_in_iterations() -> None:
    assert budget(tuning(), 100) == 700
    assert budget(tuning(iterations=40), 100) == 280
    halved = tuning(trials=7, halving=[10, 30], iterations=70)
    assert counts(halved) == [7, 4, 2]
    assert budget(halved, 100) == 7 * 10 + 4 * 20 + 2 * 40


def test_a_block_is_said_in_words() -> None:
    assert in_words(tuning()) == "lr from 0.001 to 1 (log), 7 trials, best mIoU on val"
    text = in_words(tuning({**LR, "dropout": [0.1, 0.5]}, rule="halton", seed=3, halving=[9]))
    assert re.search(r"and dropout of 0\.1, 0\.5, 7 trials drawn \(halton\) of seed 3", text)
    assert "halved at 9" in text
