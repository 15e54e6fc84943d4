"""What NVML says, by recorded answers; and its real absence."""

import pynvml
import pytest

from bench.cost.check import judge_processes
from bench.cost.nvml import Card, Match, match_process, nvml_uuid, throttle_reasons

GIGABYTE = 10**9
# (processes listed, our process id, growth of the card) -> what is taken, and why
RECORDED = {
    "bare metal": ([(812, 3 * GIGABYTE), (977, 2 * GIGABYTE)], 977, 2 * GIGABYTE, "pid"),
    "container, alone": ([(40112, 2 * GIGABYTE)], 7, 2 * GIGABYTE, "only process"),
    "container, with others": (
        [(40112, 2 * GIGABYTE), (40113, GIGABYTE)], 7, GIGABYTE // 2, "device delta",
    ),
    "memory hidden": ([(977, None)], 977, GIGABYTE // 2, "device delta"),
    "none listed": ([], 977, GIGABYTE // 2, "device delta"),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_our_memory_is_found_among_the_processes(name: str) -> None:
    processes, pid, expected, source = RECORDED[name]
    assert match_process(processes, pid, GIGABYTE // 2) == Match(expected, source)


def test_without_any_reading_there_is_none() -> None:
    assert match_process([], 977, None) == Match(None, None)


@pytest.mark.parametrize(
    ("uuid", "visible", "expected"),
    [
        ("8f3e", None, "GPU-8f3e"),
        ("GPU-8f3e", "1", "GPU-8f3e"),
        ("8f3e", "GPU-8f3e", "GPU-8f3e"),
        ("8f3e", "MIG-77aa,MIG-77ab", "MIG-77aa"),
    ],
)
def test_a_card_goes_by_its_uuid_and_a_slice_by_its_own(
    uuid: str, visible: str | None, expected: str
) -> None:
    assert nvml_uuid(uuid, visible) == expected


def test_heat_throttles_and_a_power_cap_does_not() -> None:
    cap, heat = (
        pynvml.nvmlClocksThrottleReasonSwPowerCap,
        pynvml.nvmlClocksThrottleReasonHwThermalSlowdown,
    )
    assert throttle_reasons(cap | pynvml.nvmlClocksThrottleReasonGpuIdle) == []
    assert throttle_reasons(cap | heat) == ["hardware thermal slowdown"]


def test_other_processes_are_reported_in_words() -> None:
    assert judge_processes([(977, GIGABYTE)], 977) == (True, "none on this card")
    sound, text = judge_processes([(977, GIGABYTE), (5, None)], 977)
    assert sound is False
    assert "process ids 5" in text
    assert "hides the memory of 1" in text


def test_a_refused_reading_is_none_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without permission, or on a slice that has no power reading."""

    def refuse(handle: object) -> int:
        raise pynvml.NVMLError_NoPermission

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: uuid)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", refuse)
    card = Card("8f3e")
    assert card.energy_joules() is None
    assert card.missing == {"energy": "Insufficient Permissions"}


def test_a_machine_without_a_driver_says_so() -> None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        with pytest.raises(pynvml.NVMLError, match=r"Not Found|Driver"):
            Card("8f3e")
    else:
        pytest.skip("this machine has a driver")
