"""What killed processes left is removed; what is alive, or a user's, stays."""

import os
import tempfile
import time
from pathlib import Path

import pytest

from bench.data.camvid.fetch import RemoteFile, download
from bench.temporary_files import KILLED_SECONDS, SCRATCH, remove_leftovers, remove_old_scratch


def made(path: Path, days: float) -> Path:
    """Writes an empty file, or a folder where the name has no suffix, so many days ago."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"") if path.suffix else path.mkdir()
    then = time.time() - 86400 * days
    os.utime(path, (then, then))
    return path


def test_only_unfinished_files_of_killed_writers_are_removed(tmp_path: Path) -> None:
    old = made(tmp_path / "train" / ".a.png.123.tmp", 2)
    young = made(tmp_path / ".b.png.124.tmp", 0)
    mine = made(tmp_path / ".notes.tmp", 2)
    remove_leftovers(tmp_path, KILLED_SECONDS)
    assert not old.exists()
    assert young.exists()
    remove_leftovers(tmp_path)  # with the lock of a run
    assert not young.exists()
    assert mine.exists()


def test_a_download_removes_what_a_killed_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = made(tmp_path / "train" / ".a.png.123.tmp", 2)
    monkeypatch.setattr("bench.data.camvid.fetch._content", lambda *_: b"x")
    assert download(tmp_path, "nowhere", [RemoteFile("train/a.png", 1, "0" * 64)]) == 1
    assert not old.exists()


def test_the_scratch_of_a_dry_run_that_was_killed_is_removed_a_day_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, young = made(tmp_path / f"{SCRATCH}a", 2), made(tmp_path / f"{SCRATCH}b", 0.5)
    other, link = made(tmp_path / "segbench-of-mine", 2), tmp_path / f"{SCRATCH}c"
    link.symlink_to(other)
    remove_old_scratch()
    assert not old.exists()
    assert young.exists()
    assert other.exists()
    assert link.exists()
