"""A terminal that vanishes, a full disk behind it, an ASCII locale: no run and no command minds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import TINY

from bench import records

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "reports" / "results" / "camvid_short_segnet"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def python(*words: str) -> list[str]:
    return [sys.executable, *words]


def gone() -> int:
    """A pipe whose reader is no more."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("console", [gone, full])
def test_a_run_outlives_its_console(tmp_path: Path, console: object) -> None:
    stream = console()  # type: ignore[operator]
    ended = subprocess.run(
        python("-m", "bench", *TINY, f"runs={tmp_path}"),
        stdout=stream, stderr=stream, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    os.close(stream)
    (folder,) = records.run_folders(tmp_path)
    assert records.read_json(folder / "end.json")["state"] == "finished"
    assert ended.returncode == 0


MAPS = next(SHIPPED.glob("*/predictions/test-*"))
TOOLS = [
    ["-m", "reports", str(SHIPPED)],
    ["-m", "reports", "verify", str(SHIPPED)],
    ["-m", "bench.contestants", "segnet_basic"],
    ["-m", "bench.score", "MAPS", "MAPS", "--classes", "11", "--void", "11", "--processes", "1"],
    ["-m", "bench.data", "check", "dataset=synthetic", "dataset.limit=2", "--sheet", "SHEET"],
]


@pytest.mark.parametrize("words", TOOLS, ids=lambda words: " ".join(words[:3]))
def test_a_reader_that_has_seen_enough_is_no_failure(words: list[str], tmp_path: Path) -> None:
    stream = gone()
    words = [word.replace("SHEET", str(tmp_path / "sheet.png")) for word in words]
    words = [word.replace("MAPS", str(MAPS)) for word in words]
    ended = subprocess.run(
        python(*words), stdout=stream, stderr=subprocess.PIPE, text=True, check=False,
        env=ENVIRONMENT,
    )  # fmt: skip
    os.close(stream)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "BrokenPipe" not in ended.stderr


def test_a_table_that_cannot_be_written_is_an_error() -> None:
    stream = full()
    ended = subprocess.run(
        python("-m", "reports", str(SHIPPED)),
        stdout=stream, stderr=subprocess.PIPE, text=True, check=False, env=ENVIRONMENT,
    )  # fmt: skip
    os.close(stream)
    assert ended.returncode == 2
    assert ended.stderr == "the output cannot be written (No space left on device)\n"


def test_scores_that_cannot_be_written_are_an_error() -> None:
    stream = full()
    words = ("-m", "bench.score", str(MAPS), str(MAPS), "--classes", "11", "--void", "11")
    ended = subprocess.run(
        python(*words, "--processes", "1"),
        stdout=stream, stderr=subprocess.PIPE, text=True, check=False, env=ENVIRONMENT,
    )  # fmt: skip
    os.close(stream)
    assert ended.returncode == 2
    said = "bench.score: the output cannot be written (No space left on device)\n"
    assert ended.stderr == said


@pytest.mark.parametrize(
    "words", [["bench.contestants", "segnet_basic"], ["bench.score", "--help"]]
)
def test_what_no_command_catches_is_a_sentence_too(words: list[str]) -> None:
    stream = full()
    ended = subprocess.run(
        python("-m", *words), stdout=stream, stderr=subprocess.PIPE, text=True, check=False,
        env=ENVIRONMENT,
    )  # fmt: skip
    os.close(stream)
    assert ended.returncode == 2
    assert ended.stderr == "the output cannot be written (No space left on device)\n"


def test_a_closed_console_is_no_failure() -> None:
    """As a daemon or a scheduler starts commands."""
    code = "from bench.console import outlive_consoles as o; o(essential=True); print('a')"
    words = f'exec {sys.executable} -c "{code}" >&- 2>&-'
    ended = subprocess.run(["bash", "-c", words], env=ENVIRONMENT, check=False)
    assert ended.returncode == 0


def test_an_ascii_console_shows_what_it_can() -> None:
    code = (
        "from bench.console import outlive_consoles; outlive_consoles(essential=True);"
        "print('Stra\\u00dfe \\u2013 \\u4e2d')"
    )
    ended = subprocess.run(
        python("-c", code), capture_output=True, check=True,
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert ended.stdout == b"Stra\\xdfe \\u2013 \\u4e2d\n"
