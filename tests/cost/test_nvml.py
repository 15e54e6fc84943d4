"""What NVML says, by recorded answers; and its real absence."""

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pynvml
import pytest
import torch
from packaging.requirements import Requirement
from recorded_nvml import GIGABYTE, UUID, RecordedDriver

from bench.cost.check import Finding, check_driver, judge_processes
from bench.cost.memory import MemoryMeter
from bench.cost.nvml import Card, Match, cuda_card, match_process, nvml_names, throttle_reasons

DELTA = GIGABYTE // 2
# (processes, ids that were there before, our id) -> what is taken, and how it was told
RECORDED = {
    "bare metal": ([(812, 3), (977, 2)], [812], 977, Match(2, "pid")),
    "container, alone": ([(40112, 2)], [], 7, Match(2, "only new process")),
    "container, others before": ([(412, 2), (413, 1)], [413], 7, Match(2, "only new process")),
    "container, others since": ([(40112, 2), (40113, 1)], [], 7, Match(DELTA, "device delta")),
    "container, only another": ([(40113, 1)], [40113], 7, Match(DELTA, "device delta")),
    "container, our id is another's": ([(7, 9), (40112, 2)], [7], 7, Match(2, "only new process")),
    "memory hidden": ([(977, None)], [], 977, Match(DELTA, "device delta")),
    "ours hidden, another's not": ([(977, None), (5, 1)], [], 977, Match(DELTA, "device delta")),
    "none listed": ([], [], 977, Match(DELTA, "device delta")),
    "the driver lists nothing": (None, [], 977, Match(DELTA, "device delta")),
}  # fmt: skip


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> RecordedDriver:
    """A driver with one card that nobody uses; CUDA_VISIBLE_DEVICES is not set."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return RecordedDriver(monkeypatch)


@pytest.mark.parametrize("name", RECORDED)
def test_our_memory_is_found_among_the_processes(name: str) -> None:
    processes, before, pid, expected = RECORDED[name]
    assert match_process(processes, before, pid, DELTA) == expected


def test_without_any_reading_there_is_none() -> None:
    assert match_process([], [], 977, None) == Match(None, None)


@pytest.mark.parametrize(
    ("uuid", "visible", "expected"),
    [
        ("8f3e", None, ["GPU-8f3e", "MIG-8f3e"]),
        ("GPU-8f3e", "1", ["GPU-8f3e", "MIG-8f3e"]),
        ("8f3e", "GPU-8f", ["GPU-8f3e", "MIG-8f3e"]),
        ("8f3e", "MIG-77aa,MIG-77ab", ["MIG-77aa", "GPU-8f3e", "MIG-8f3e"]),
    ],
)
def test_a_card_goes_by_its_uuid_and_a_slice_by_its_own(
    uuid: str, visible: str | None, expected: list[str]
) -> None:
    assert nvml_names(uuid, visible) == expected


@pytest.mark.parametrize(
    ("known", "visible", "found"),
    [
        ([f"GPU-{UUID}"], "0", f"GPU-{UUID}"),
        (["MIG-77aa", f"GPU-{UUID}"], "MIG-77aa", "MIG-77aa"),
        ([f"MIG-{UUID}"], None, f"MIG-{UUID}"),  # torch gave the slice's UUID
        ([f"GPU-{UUID}"], "MIG-77", f"GPU-{UUID}"),  # an abbreviation, which NVML does not take
    ],
)
def test_the_narrowest_name_that_the_driver_knows_is_taken(
    monkeypatch: pytest.MonkeyPatch, known: list[str], visible: str | None, found: str
) -> None:
    RecordedDriver(monkeypatch, *known)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    card = Card(UUID)
    assert card.uuid == found
    assert card.is_mig() == found.startswith("MIG-")


def test_a_card_that_the_driver_does_not_know_is_an_error(driver: RecordedDriver) -> None:
    with pytest.raises(pynvml.NVMLError, match="Not Found"):
        Card("another")


def test_heat_throttles_and_a_power_cap_does_not(driver: RecordedDriver) -> None:
    cap, heat = (
        pynvml.nvmlClocksEventReasonSwPowerCap,
        pynvml.nvmlClocksEventReasonHwThermalSlowdown,
    )
    assert throttle_reasons(cap | pynvml.nvmlClocksEventReasonGpuIdle) == []
    driver.answers["CurrentClocksEventReasons"] = cap | heat
    assert Card(UUID).state() == {
        "sm_clock_mhz": 1410,
        "power_watts": 250.0,
        "temperature_celsius": 51,
        "throttled": ["hardware thermal slowdown"],
        "noted": ["power cap"],
    }


def test_other_processes_are_reported_in_words() -> None:
    alone, text = judge_processes([(977, GIGABYTE)], 977)
    assert alone
    assert "none" in text
    sound, text = judge_processes([(977, GIGABYTE), (5, None)], 977)
    assert sound is False
    assert "process ids 5" in text
    assert "hides the memory of 1" in text


def test_a_list_that_is_refused_is_not_an_empty_one() -> None:
    sound, text = judge_processes(None, 977)
    assert sound is None
    assert text.startswith("n/a")


@pytest.mark.parametrize(
    "refusal",
    [
        pynvml.NVMLError_NoPermission(),
        pynvml.NVMLError_NotSupported(),
        pynvml.NVMLLibraryMismatchError("the driver is too old"),
    ],
)
def test_a_refused_reading_is_none_with_its_reason(
    driver: RecordedDriver, refusal: Exception
) -> None:
    """As without permission, on a slice that has no power reading, or with an old driver."""
    for what in driver.answers:
        driver.answers[what] = refusal
    card = Card(UUID)
    assert card.energy_joules() is None
    assert card.processes() is None
    assert card.used_bytes() is None
    assert set(card.state().values()) == {None}
    assert not card.is_mig()
    assert card.missing["energy"] == str(refusal)


def findings(driver: RecordedDriver) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in check_driver(Card(UUID), None):
        found.setdefault(finding.what, []).append(finding)
    return found


def words(found: Sequence[Finding]) -> str:
    return "; ".join(finding.text for finding in found)


def test_the_check_says_in_words_what_the_driver_does_not_tell(
    driver: RecordedDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    driver.answers["ComputeRunningProcesses"] = pynvml.NVMLError_NoPermission()
    driver.answers["MigMode"] = [pynvml.NVML_DEVICE_MIG_ENABLE, pynvml.NVML_DEVICE_MIG_ENABLE]
    found = findings(driver)
    text = words(found["driver"])
    assert "CUDA_VISIBLE_DEVICES=3: matched by UUID" in text
    assert "processes: n/a (Insufficient Permissions)" in text
    assert "MIG is on" in text
    assert "1000 MB of the card are in use" in text
    assert found["other processes"][0].sound is None


def test_the_check_fails_beside_foreign_processes_and_while_the_card_is_throttled(
    driver: RecordedDriver,
) -> None:
    driver.processes((5, GIGABYTE))
    driver.answers["CurrentClocksEventReasons"] = pynvml.nvmlClocksEventReasonHwSlowdown
    found = findings(driver)
    assert found["other processes"][0].sound is False
    assert found["clock"] == [Finding("clock", False, "throttled now: hardware slowdown")]


def test_memory_on_a_card_is_what_came_since_the_baseline(
    driver: RecordedDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All sources of a GPU, with a foreign process that was there before."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 200)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 300)
    driver.processes((5, GIGABYTE))
    meter = MemoryMeter(Card(UUID))
    driver.processes((5, GIGABYTE), (os.getpid(), 700))
    driver.answers["MemoryInfo"].used = GIGABYTE + 800
    assert meter.baselines["nvml_device_bytes"] == GIGABYTE
    assert meter.read(torch.device("cuda")) == {
        "allocated_bytes": 200,
        "reserved_bytes": 300,
        "nvml_process_bytes": 700,
        "nvml_source": "pid",
        "nvml_device_bytes": 800,
        "resident_bytes": None,
    }


def test_the_oldest_bindings_we_accept_have_the_error_for_old_drivers() -> None:
    """Of the published versions 12.550.52 is the first that defines it."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    requirements = map(Requirement, project["dependencies"])
    (bindings,) = [r.specifier for r in requirements if r.name == "nvidia-ml-py"]
    assert "12.550.52" in bindings
    assert "12.535.161" not in bindings


def test_a_device_that_is_not_nvidias_has_no_card() -> None:
    assert cuda_card("cpu") == (None, "no GPU is asked for")
    assert cuda_card("mps") == (None, "no GPU is asked for")


def test_a_machine_without_a_driver_says_so() -> None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        with pytest.raises(pynvml.NVMLError, match=r"Not Found|Driver"):
            Card("8f3e")
    else:
        pytest.skip("this machine has a driver")
