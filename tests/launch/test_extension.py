"""A run whose learning rates depend on its end is not extended, and says what can be done."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.config import Config, fingerprint, run_folder, write_config
from bench.launch import launch as launching
from bench.launch.launch import Outcome, launch
from bench.records import End, State

Compose = Callable[..., Config]


@pytest.fixture(autouse=True)
def _nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_supervise", lambda *_: Outcome(End(State.finished)))


def recorded(config: Config) -> Config:
    run_folder(config).mkdir(parents=True)
    write_config(run_folder(config), config)
    return config


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_a_longer_run_is_refused_and_offered_init_from(tiny_config: Compose, schedule: str) -> None:
    short = recorded(tiny_config(f"protocol.schedule={schedule}"))
    longer = replace(short, max_iterations=9)
    assert fingerprint(longer) != fingerprint(short)
    message = (
        f"is planned for 6 iterations, and with protocol.schedule={schedule} all its learning "
        f"rates depend on that: .* max_iterations=9; .* init_from={run_folder(short)}, or .* rerun"
    )
    for dry_run in (False, True):
        with pytest.raises(ValueError, match=message):
            launch(replace(longer, dry_run=dry_run))
    assert not run_folder(longer).exists()


def test_what_is_no_extension_goes_on(tiny_config: Compose) -> None:
    """A shorter run, another seed, the run itself, one asked for, one from its weights."""
    short = recorded(tiny_config("protocol.schedule=poly"))
    longer = replace(short, max_iterations=9)
    for other in (
        short,
        replace(short, max_iterations=5),
        replace(longer, seed=1),
        replace(longer, init_from=str(run_folder(short)), init_iteration=6),
        replace(longer, rerun=True),
        longer,  # exists since
    ):
        assert launch(other).end.state == State.finished


def test_a_constant_rate_can_be_extended_also_with_warm_up(tiny_config: Compose) -> None:
    short = recorded(tiny_config("protocol.warm_up_iterations=2"))
    longer = replace(short, max_iterations=9)
    assert fingerprint(longer) == fingerprint(short)
    assert run_folder(longer) == run_folder(short)
    assert launch(longer).end.state == State.finished
