"""A full or read-only disk: one sentence, nothing half-written, and on when it is better."""

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lives import live, outcome, prepare
from tiny_run import TINY

from bench import records
from bench.launch import launch
from bench.run import checkpoints

Compose = Callable[..., dict[str, Any]]

KILOBYTE = 1024


@contextlib.contextmanager
def disk(at: Path, kilobytes: int) -> Iterator[Path]:
    """Mounts a small disk, where that is allowed."""
    at.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "segbench-test", str(at)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small disk takes root")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def fill(disk: Path, leaving: int) -> Path:
    """Leaves so many bytes free."""
    space = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(b"x" * max(0, space.f_bavail * space.f_frsize - leaving))
    return filler


def is_left_whole(folder: Path) -> None:
    """Everything there can be read, and there is nothing besides."""
    assert not list(folder.rglob("*.tmp"))
    for path in folder.rglob("*.json"):
        records.read_json(path)
    for path in folder.glob("*.pt"):
        checkpoints.load(path)


def test_a_run_goes_on_after_its_disk_was_full(tmp_path: Path, tiny_config: Compose) -> None:
    """It fills while a checkpoint is written: a limit for file sizes stands in for the moment."""
    config = tiny_config("protocol.validation.every=2")
    reference = prepare(tmp_path / "reference", config)
    assert live(reference) == 0
    with disk(tmp_path / "disk", 600) as small:
        folder = prepare(small / "run", tiny_config("protocol.validation.every=2"))
        assert live(folder, fills_after_a_validation) == 1
        end = records.read_json(folder / "end.json")
        assert end["state"] == "failed"
        assert "cannot be written (No space left on device)" in end["reason"]
        assert "the same command goes on" in end["reason"]
        assert end["reason"].count("\n") == 0
        is_left_whole(folder)
        assert checkpoints.load(folder / "checkpoint.pt")["iteration"] == 2
        (small / "filler").unlink()
        assert live(folder) == 0
        assert outcome(folder) == outcome(reference)


def fills_after_a_validation(folder: Path) -> None:
    """Fills the disk as soon as the second checkpoint is about to be written, but for a little."""
    from bench.run import training

    save = checkpoints.save_checkpoint

    def save_without_space(folder: Path, content: dict[str, Any]) -> None:
        if content["iteration"] > 2:
            fill(folder.parent, leaving=8 * KILOBYTE)
        save(folder, content)

    training.checkpoints.save_checkpoint = save_without_space


def test_a_disk_without_a_byte_is_told_by_the_parent(
    tmp_path: Path, tiny_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the end can be recorded; nobody prints a traceback, and the next start goes on."""
    monkeypatch.setattr(launch, "CHILD", "fills_the_disk")
    with disk(tmp_path / "disk", 400) as small:
        end = launch.launch(tiny_config(f"runs={small}"))
        assert end.end.state == "failed"
        assert end.end.reason.startswith("ended with exit code 1; ")
        assert "end.json cannot be written (No space left on device)" in end.end.reason
        folder = Path(end.folder)
        is_left_whole(folder)
        assert not (folder / "end.json").exists()
        with pytest.raises(ValueError, match=r"cannot be written \(No space left on device\)"):
            launch.launch(tiny_config(f"runs={small}"))
        (small / "filler").unlink()
        again = launch.launch(tiny_config(f"runs={small}"))
        assert "end.json" not in again.end.reason
        assert records.read_json(folder / "end.json")["reason"] == again.end.reason


@contextlib.contextmanager
def read_only(disk: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


def test_a_read_only_folder_is_one_sentence(tmp_path: Path, tiny_config: Compose) -> None:
    with disk(tmp_path / "disk", 400) as small, read_only(small):
        for runs in (small, small / "new"):
            with pytest.raises(ValueError, match=r"cannot be written \(Read-only file system\)"):
                launch.launch(tiny_config(f"runs={runs}"))


def test_the_command_line_says_a_read_only_folder_in_one_sentence(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", 400) as small, read_only(small):
        answer = subprocess.run(
            [sys.executable, "-m", "bench", *TINY, f"runs={small}/new"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1, answer.stderr
    assert "Read-only file system" in answer.stderr
    assert str(small) in answer.stderr


REFUSALS = pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])


@REFUSALS
@pytest.mark.parametrize("where", ["write", "fsync", "rename"])
def test_a_refused_write_leaves_the_file_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, where: str
) -> None:
    """Injected, for whoever cannot mount disks."""
    path = tmp_path / "record.json"
    records.write_json(path, {"old": 1})
    error = OSError(number, os.strerror(number), str(path))

    def refuse(*arguments: Any) -> Any:
        raise error

    target = {"write": "json.dumps", "fsync": "os.fsync", "rename": "pathlib.Path.replace"}[where]
    with monkeypatch.context() as patch:
        if where == "write":
            patch.setattr("bench.records.open", refuse, raising=False)
            patch.setattr(Path, "open", refuse)
        else:
            patch.setattr(target, refuse)
        with pytest.raises(ValueError, match=rf"record\.json cannot .*\({os.strerror(number)}\)"):
            records.write_json(path, {"new": 2})
    assert records.read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


@REFUSALS
def test_a_refused_checkpoint_leaves_the_one_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    import torch

    def content(iteration: int) -> dict[str, Any]:
        return {"iteration": iteration, "network": {"w": torch.arange(2000.0)}}

    checkpoints.save_checkpoint(tmp_path, content(1))
    real, calls = os.fsync, iter(range(100))

    def fsync(descriptor: int) -> None:
        if next(calls) == 0:
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ValueError, match="cannot be written"):
        checkpoints.save_checkpoint(tmp_path, content(2))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert checkpoints.load(tmp_path / "checkpoint.pt")["iteration"] == 1
    checkpoints.save_checkpoint(tmp_path, content(3))
    assert checkpoints.load(tmp_path / "checkpoint.pt")["iteration"] == 3
