"""Checkpoints: whole or not at all, damage seen, the one before used."""

from pathlib import Path

import pytest
import torch

from bench.run.checkpoints import load, load_checkpoint, save, save_checkpoint
from bench.run.monitor import Monitor


def content(iteration: int) -> dict[str, object]:
    return {"iteration": iteration, "network": {"w": torch.arange(2000.0) + iteration}}


def flip_a_bit(path: Path) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    path.write_bytes(damaged)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES = pytest.mark.parametrize("damage", [flip_a_bit, truncate, empty])


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    save(tmp_path / "c.pt", content(3))
    loaded = load(tmp_path / "c.pt")
    assert loaded["iteration"] == 3
    assert torch.equal(loaded["network"]["w"], torch.arange(2000.0) + 3)
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


@DAMAGES
def test_damage_is_an_error_that_names_the_file(tmp_path: Path, damage: object) -> None:
    save(tmp_path / "c.pt", content(3))
    damage(tmp_path / "c.pt")  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"c\.pt"):
        load(tmp_path / "c.pt")


@pytest.mark.slow
@pytest.mark.parametrize("part", ["data", "directory"])
def test_no_flipped_bit_passes(tmp_path: Path, part: str) -> None:
    """Every bit of the archive's directory, and some of the rest: seen, or without effect."""
    path = tmp_path / "c.pt"
    saved = {"iteration": 3, "network": {"w": torch.arange(20.0)}}
    save(path, saved)
    whole = path.read_bytes()
    directory = whole.index(b"PK\x01\x02")
    bits = range(8 * directory, 8 * len(whole))
    if part == "data":
        bits = range(0, 8 * directory, 13)
    complaints = set()
    for bit in bits:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            loaded = load(path)
        except ValueError as error:
            complaints.add(str(error))
        else:
            assert loaded["iteration"] == 3
            assert torch.equal(loaded["network"]["w"], saved["network"]["w"])  # type: ignore[index]
    assert len(complaints) > 5
    assert all("c.pt" in text and "\n" not in text for text in complaints)


@pytest.mark.parametrize("length", range(0, 2000, 97))
def test_no_cut_off_file_passes(tmp_path: Path, length: int) -> None:
    save(tmp_path / "c.pt", content(3))
    whole = (tmp_path / "c.pt").read_bytes()
    (tmp_path / "c.pt").write_bytes(whole[:length])
    with pytest.raises(ValueError, match=r"c\.pt: "):
        load(tmp_path / "c.pt")


@DAMAGES
def test_the_checkpoint_before_a_damaged_one_is_used_aloud(tmp_path: Path, damage: object) -> None:
    for iteration in (1, 2):
        save_checkpoint(tmp_path, content(iteration))
    damage(tmp_path / "checkpoint.pt")  # type: ignore[operator]
    monitor = Monitor(tmp_path)
    state = load_checkpoint(tmp_path, monitor)
    assert state is not None
    assert state["iteration"] == 1
    notices = (tmp_path / "progress.json").read_text()
    assert "trying the checkpoint before it" in notices
    assert (tmp_path / "checkpoint.damaged").exists()
    save_checkpoint(tmp_path, content(2))
    assert load(tmp_path / "checkpoint.pt")["iteration"] == 2
    assert load(tmp_path / "checkpoint-previous.pt")["iteration"] == 1  # the sound one


def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, content(1))
    (tmp_path / "checkpoint.pt").rename(tmp_path / "checkpoint-previous.pt")
    save(tmp_path / "checkpoint-fresh.pt", content(2))
    state = load_checkpoint(tmp_path, Monitor(tmp_path))
    assert state is not None
    assert state["iteration"] == 2
    assert load(tmp_path / "checkpoint.pt")["iteration"] == 2
    assert not (tmp_path / "checkpoint-fresh.pt").exists()


def test_no_sound_checkpoint_is_an_error_and_none_at_all_is_not(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, Monitor(tmp_path)) is None
    save_checkpoint(tmp_path, content(1))
    flip_a_bit(tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="rerun=true"):
        load_checkpoint(tmp_path, Monitor(tmp_path))
