"""The parent: turns, records of what failed, and that the rest goes on."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_cost import cost_composer

from bench import records
from bench.config import Config
from bench.cost import measurement, turns
from bench.cost.measure import measure
from bench.cost.measuring_process import MeasurementError
from bench.cost.schema import check_cost
from bench.records import State

Compose = Callable[..., Config]


@pytest.fixture
def cost_config(tiny_config: Compose) -> Compose:
    return cost_composer(tiny_config)


WHERE = {
    "environment": {
        "device_type": "cpu", "torch": "t", "device": "d", "threads": 1, "sources": "s",
        "host": "h",
    },
    "arithmetic": {},
}  # fmt: skip
DESCRIBED = {
    "work": {"parameters": 1},
    "storage": {"retained_bytes": None, "retained_bytes_first_level": None},
    "estimates": {"time": 10, "training": 10, "inference": 10},
    "free_bytes": 1000,
}


class Stage:
    """Plays the measuring processes: remembers what was asked, and answers as told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[tuple[str, str], Any] = {}
        self.alive = 0

    def process(self, config: Config, log: Path, **how: object) -> "Actor":
        return Actor(self, config.arch["name"])

    def names(self, task: str) -> list[str]:
        return [name for name, asked in self.asked if asked == task]


class Actor:
    def __init__(self, stage: Stage, name: str) -> None:
        self.stage, self.name = stage, name

    def __enter__(self) -> "Actor":
        self.stage.alive += 1
        return self

    def __exit__(self, *error: object) -> None:
        self.stage.alive -= 1

    def ask(self, task: str, **arguments: Any) -> dict[str, Any]:
        self.stage.asked.append((self.name, task))
        played = self.stage.answers.get((self.name, task))
        if isinstance(played, Exception):
            raise played
        if callable(played):
            return dict(played(self.stage))
        if played is not None:
            return dict(played)
        wall = {"forward_ms": 1.0, "backward_ms": 2.0, "optimiser_ms": 0.1, "step_ms": 3.1}
        return {
            "environment": dict(WHERE),
            "describe": dict(DESCRIBED),
            "memory": {"readings": {"resident_bytes": 5}, "baselines": {}, "missing": {}},
            "warm_up": {"step_ms": [3.1], "steady": True},
            "turn": {"samples": [{"wall": wall}], "card": None},
            "calibrate": {"convolution_flops": 1e9},
            "energy": {"joules_per_image": None},
        }[task]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    played = Stage()
    monkeypatch.setattr(measurement, "MeasuringProcess", played.process)
    monkeypatch.setattr(turns, "MeasuringProcess", played.process)
    return played


def named(config: Config, name: str) -> Config:
    return replace(config, arch={**config.arch, "name": name})


def test_networks_take_turns_with_the_calibration(stage: Stage, cost_config: Compose) -> None:
    paths = measure([named(cost_config(), name) for name in "ABC"])
    rounds = 3  # cost.samples, one a turn
    turn_order = [asked for asked in stage.asked if asked[1] in ("turn", "calibrate")]
    assert turn_order == [("A", "calibrate"), *((name, "turn") for name in "ABC")] * rounds
    record = records.read_json(paths[0])
    assert record["state"] == "measured"
    assert record["time"]["forward_ms"] == [1.0] * rounds
    assert record["time"]["stopped_because"] == "steady"
    assert record["timed_with"] == ["B", "C"]
    assert record["memory"]["training"]["batch"] == 2
    assert record["memory"]["training"]["readings"] == {"resident_bytes": 5}
    assert stage.alive == 0


def test_different_sizes_do_not_take_turns(stage: Stage, cost_config: Compose) -> None:
    large = cost_config("protocol.image_size=[64,96]")
    paths = measure([named(cost_config(), "A"), named(large, "B")])
    assert stage.names("turn") == ["A"] * 3 + ["B"] * 3
    assert records.read_json(paths[1])["timed_with"] == []


def test_too_large_to_be_alive_together_means_one_after_another(
    stage: Stage, cost_config: Compose
) -> None:
    tight = {**DESCRIBED, "free_bytes": 15}
    stage.answers = {("A", "describe"): tight, ("B", "describe"): tight}
    measure([named(cost_config(), name) for name in "AB"])
    assert stage.names("turn") == ["A"] * 3 + ["B"] * 3


def test_a_death_is_a_row_with_its_reason_and_the_rest_goes_on(
    stage: Stage, cost_config: Compose
) -> None:
    stage.answers["A", "turn"] = MeasurementError(State.killed, "killed by SIGKILL")
    paths = measure([named(cost_config(), name) for name in "AB"])
    dead, alive = map(records.read_json, paths)
    assert dead["state"] == State.killed
    assert "killed by SIGKILL" in dead["reason"]
    assert dead["time"] is None
    assert dead["memory"]["training"]["state"] == "measured"
    assert alive["state"] == "measured"
    assert len(alive["time"]["forward_ms"]) == 3


def test_a_network_that_cannot_be_built_is_a_row_too(stage: Stage, cost_config: Compose) -> None:
    stage.answers["A", "describe"] = MeasurementError(State.failed, "no such layer")
    paths = measure([named(cost_config(), name) for name in "AB"])
    record = records.read_json(paths[0])
    assert (record["state"], record["reason"]) == (State.failed, "network: no such layer")
    assert record["work"] is None
    assert record["environment"]["device"] == "d"
    assert stage.names("turn") == ["B"] * 3


def test_a_batch_that_does_not_fit_is_recorded_and_never_shrunk(
    stage: Stage, cost_config: Compose
) -> None:
    stage.answers["A", "memory"] = MeasurementError(State.out_of_memory, "2 GB too much")
    (path,) = measure([named(cost_config(), "A")])
    record = records.read_json(path)
    assert record["state"] == State.out_of_memory
    assert "training memory, batch 2" in record["reason"]
    assert record["memory"]["training"]["readings"] is None
    assert record["memory"]["training"]["estimate_bytes"] == 10
    assert len(record["time"]["forward_ms"]) == 3


def test_a_cpu_is_not_asked_for_more_memory_than_is_free(
    stage: Stage, cost_config: Compose
) -> None:
    """The kernel would kill processes, perhaps not ours."""
    stage.answers["A", "describe"] = {**DESCRIBED, "free_bytes": 5}
    (path,) = measure([named(cost_config(), "A")])
    assert stage.names("memory") == []
    assert records.read_json(path)["memory"]["training"]["state"] == State.out_of_memory


def test_out_of_memory_in_company_is_tried_alone(stage: Stage, cost_config: Compose) -> None:
    def only_alone(stage: Stage) -> dict[str, Any]:
        if stage.alive > 2:  # itself and the calibration
            raise MeasurementError(State.out_of_memory, "full")
        return {"step_ms": [3.1], "steady": True}

    stage.answers["B", "warm_up"] = only_alone
    paths = measure([named(cost_config(), name) for name in "AB"])
    record = records.read_json(paths[1])
    assert record["state"] == "measured"
    assert record["timed_with"] == []


def test_throttled_samples_are_dropped_and_counted(stage: Stage, cost_config: Compose) -> None:
    wall = {"forward_ms": 1.0, "backward_ms": 2.0, "optimiser_ms": 0.1, "step_ms": 3.1}
    cards = iter([{"throttled": ["power brake"]}] + [{"throttled": []}] * 10)
    stage.answers["A", "turn"] = lambda stage: {"samples": [{"wall": wall}], "card": next(cards)}
    (path,) = measure([named(cost_config(), "A")])
    timed = records.read_json(path)["time"]
    assert timed["dropped_samples"] == 1
    assert timed["dropped"] == [{"wall": wall}]
    assert len(timed["forward_ms"]) == 3
    assert len(timed["card"]) == 4


def test_three_samples_are_taken_whatever_the_time_limit(
    stage: Stage, cost_config: Compose
) -> None:
    (path,) = measure([named(cost_config("cost.seconds=1e-6", "cost.samples=100"), "A")])
    timed = records.read_json(path)["time"]
    assert timed["stopped_because"] == "timeout"
    assert len(timed["forward_ms"]) == 3


def test_noise_is_measured_until_the_time_is_up(stage: Stage, cost_config: Compose) -> None:
    values = iter(range(1, 10**6))

    def noise(stage: Stage) -> dict[str, Any]:
        return {"samples": [{"wall": {"forward_ms": next(values), "step_ms": 1.0}}], "card": None}

    stage.answers["A", "turn"] = noise
    (path,) = measure([named(cost_config("cost.seconds=0.05", "cost.backward=false"), "A")])
    assert records.read_json(path)["time"]["stopped_because"] in ("steady", "timeout")


def test_the_start_of_a_process_is_none_of_the_networks_time(
    stage: Stage, cost_config: Compose
) -> None:
    def slow(stage: Stage) -> dict[str, Any]:
        time.sleep(0.3)
        return WHERE

    stage.answers["A", "environment"] = slow
    (path,) = measure([named(cost_config("cost.seconds=0.2"), "A")])
    timed = records.read_json(path)["time"]
    assert timed["stopped_because"] == "steady"
    assert len(timed["forward_ms"]) == 3


def test_what_was_measured_is_not_measured_again(stage: Stage, cost_config: Compose) -> None:
    config = named(cost_config(), "A")
    first = measure([config])
    before = stage.names("turn")
    assert measure([config]) == first
    assert stage.names("turn") == before
    measure([replace(config, rerun=True)])
    assert len(stage.names("turn")) == 2 * len(before)


def test_other_sources_are_measured_again(stage: Stage, cost_config: Compose) -> None:
    config = named(cost_config(), "A")
    measure([config])
    changed = {"environment": {**WHERE["environment"], "sources": "new"}, "arithmetic": {}}
    stage.answers["A", "environment"] = changed
    measure([config])
    assert len(stage.names("turn")) == 6


def test_numbers_of_threads_have_a_record_each(stage: Stage, cost_config: Compose) -> None:
    (one,) = measure([named(cost_config(), "A")])
    environment = {**WHERE["environment"], "threads": 2}
    stage.answers["A", "environment"] = {"environment": environment, "arithmetic": {}}
    (two,) = measure([named(cost_config(), "A")])
    assert one != two
    assert records.read_json(one)["environment"]["threads"] == 1


def test_a_network_that_failed_has_its_record_replaced_when_it_is_mended(
    stage: Stage, cost_config: Compose
) -> None:
    stage.answers["A", "describe"] = MeasurementError(State.failed, "no such layer")
    failed = measure([named(cost_config(), "A")])
    del stage.answers["A", "describe"]
    assert measure([named(cost_config(), "A")]) == failed
    assert records.read_json(failed[0])["state"] == "measured"


def test_a_dry_run_measures_nothing(
    stage: Stage, cost_config: Compose, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure([named(replace(cost_config(), dry_run=True), "A")]) == []
    assert stage.asked == []
    assert "would measure A" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["batch_size", "samples", "training_batch", "seconds", "tolerance"])
def test_a_value_that_cannot_work_is_named(cost_config: Compose, key: str) -> None:
    cost = replace(cost_config().cost, **{key: 0})
    with pytest.raises(ValueError, match=f"cost.{key} is 0"):
        check_cost(cost)
