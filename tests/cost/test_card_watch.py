"""Readings of a card during the work, by recorded answers."""

import time

import pynvml
import pytest
from recorded_nvml import UUID, RecordedDriver

from bench.cost.card_watch import CardWatch, summarised
from bench.cost.nvml import Card

HEAT = pynvml.nvmlClocksEventReasonHwThermalSlowdown


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> RecordedDriver:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return RecordedDriver(monkeypatch)


def test_throttling_that_is_over_when_the_work_is_was_seen(driver: RecordedDriver) -> None:
    with CardWatch(Card(UUID)) as watch:
        driver.answers |= {"CurrentClocksEventReasons": HEAT, "ClockInfo": 600}
        time.sleep(0.2)
        driver.answers |= {"CurrentClocksEventReasons": 0, "ClockInfo": 1980}
    summary = watch.summary()
    assert summary is not None
    assert summary["throttled"] == ["hardware thermal slowdown"]
    assert summary["sm_clock_mhz"] == 600
    assert summary["readings"] > 1


def test_work_shorter_than_an_interval_has_one_reading(driver: RecordedDriver) -> None:
    with CardWatch(Card(UUID)) as watch:
        pass
    assert watch.summary() == {"readings": 1, **Card(UUID).state()}


def test_without_a_card_there_is_no_reading() -> None:
    with CardWatch(None) as watch:
        pass
    assert watch.summary() is None


def test_readings_that_a_card_refuses_stay_none() -> None:
    """Medians of what was read, the highest temperature, and every reason once."""
    states = [
        {"power_watts": None, "sm_clock_mhz": 1000, "temperature_celsius": 50, "throttled": ["a"]},
        {"power_watts": None, "sm_clock_mhz": 1200, "temperature_celsius": 70, "throttled": []},
        {"power_watts": None, "sm_clock_mhz": 1900, "temperature_celsius": 60, "throttled": None},
    ]
    assert summarised(states) == {
        "readings": 3,
        "power_watts": None,
        "sm_clock_mhz": 1200,
        "temperature_celsius": 70,
        "throttled": ["a"],
    }
