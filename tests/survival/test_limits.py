"""Limits of the system: memory that is refused, a full /dev/shm, an ASCII locale, no home."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.command_line import compose_config
from bench.launch.launch import _died
from bench.launch.processes import worker_pool
from bench.memory_limits import EXIT_OUT_OF_MEMORY, REMEDY, refused_memory, sentence
from bench.records import State
from bench.sound_files import read_bytes

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def limited(kilobytes: int, command: str) -> subprocess.CompletedProcess[str]:
    """Calls a command of ours under a limit of its address space."""
    return subprocess.run(
        ["bash", "-c", f'ulimit -v {kilobytes}; exec "$0" -m {command}', sys.executable],
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to RLIMIT_AS")
def test_a_command_that_cannot_load_torch_says_so_in_a_sentence() -> None:
    ended = limited(400_000, "bench.contestants segnet")
    assert ended.returncode == EXIT_OUT_OF_MEMORY, ended.stderr
    assert "Traceback" not in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("not enough memory (")
    assert "ulimit -v" in last


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to RLIMIT_AS")
def test_a_report_below_what_its_libraries_map_says_so_in_a_sentence() -> None:
    """OpenBLAS would end the process without an exception, or wait for ever."""
    ended = limited(150_000, "reports nowhere")
    assert ended.returncode == EXIT_OUT_OF_MEMORY, ended.stderr
    assert ended.stderr == f"not enough memory (a limit of 154 MB); {REMEDY}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to RLIMIT_AS")
@pytest.mark.parametrize(
    ("thrown", "code", "said"),
    [
        ("_ZSt17__throw_bad_allocv", EXIT_OUT_OF_MEMORY, f"(std::bad_alloc); {REMEDY}"),
        ("_ZSt20__throw_length_errorPKc", -signal.SIGABRT, "too long"),
    ],
)
def test_memory_that_cpp_does_not_get_is_a_sentence(thrown: str, code: int, said: str) -> None:
    """As the constructors of torch's libraries end while they load; other errors stay aborts."""
    program = (
        "import ctypes, sys; sys.argv = ['-m']; import bench; "
        f"ctypes.CDLL('libstdc++.so.6').{thrown}(b'too long')"
    )
    ended = subprocess.run(
        ["bash", "-c", 'ulimit -c 0 -v 2000000; exec "$0" -c "$1"', sys.executable, program],
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert ended.returncode == code, ended.stderr
    assert said in ended.stderr.splitlines()[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to RLIMIT_AS")
@pytest.mark.parametrize(
    ("limit", "error", "code", "said"),
    [
        ("2000000", "ImportError", EXIT_OUT_OF_MEMORY, f"under a limit of 2048 MB); {REMEDY}"),
        ("2000000", "ModuleNotFoundError", 1, "no A"),
        ("unlimited", "ImportError", 1, "no A"),
    ],
)
def test_a_refusal_that_a_library_swallowed_is_a_sentence(
    limit: str, error: str, code: int, said: str
) -> None:
    program = f"import sys; sys.argv = ['-m']; import bench; raise {error}('no A')"
    ended = subprocess.run(
        ["bash", "-c", f'ulimit -v {limit}; exec "$0" -c "$1"', sys.executable, program],
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert ended.returncode == code, ended.stderr
    assert said in ended.stderr.splitlines()[-1]
    assert ("Traceback" in ended.stderr) == (code == 1)


def test_what_says_a_lack_of_memory_is_told_from_other_errors() -> None:
    refused = ImportError("libtorch_cpu.so: failed to map segment from shared object")
    assert refused_memory(refused)
    assert sentence(refused).startswith(f"not enough memory ({refused}); raise the limit")
    assert "(MemoryError)" in sentence(MemoryError())
    assert not refused_memory(ImportError("No module named 'torch'"))


def test_a_run_whose_process_could_not_start_ran_out_of_memory() -> None:
    class Ended:
        count, failed = 1, (0, EXIT_OUT_OF_MEMORY)

    end = _died(Ended(), silent=False, minutes=1)  # type: ignore[arg-type]
    assert end.state == State.out_of_memory
    assert "raise the limit" in (end.reason or "")


def test_reading_takes_no_more_memory_than_the_file_has(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"abc")
    assert read_bytes(path, 2**62) == b"abc"  # nobody has so much


def test_a_full_shared_memory_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", full)
    with pytest.raises(ValueError, match=r"No space left.*need a /dev/shm with room; mount"):
        worker_pool(2)


def test_the_home_of_an_unknown_user_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="no home folder is known for ~no_such_user; give the who"):
        compose_config(["dataset=folder", "dataset.root=~no_such_user/d"])


def test_a_class_file_is_refused_without_words_about_interpolation(tmp_path: Path) -> None:
    (tmp_path / "classes.yaml").write_text("classes: {road: [9, 9, 9], path: [9, 9, 9]}\n")
    with pytest.raises(
        ValueError, match=r"^\S+classes\.yaml: the classes 'road' and 'path'"
    ) as told:
        compose_config(["dataset=folder", f"dataset.root={tmp_path}"])
    assert "interpolation" not in str(told.value)


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C"}, {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}]
)
def test_an_ascii_locale_prints_and_opens_names_beyond_it(
    locale: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "ümlaut"
    folder.mkdir()
    (folder / "classes.yaml").write_text("classes: {Straße: [1, 1, 1], Straße: [2, 2, 2]}\n")
    words = ["-m", "bench.data", "check", "dataset=folder", f"dataset.root={folder}"]
    ended = subprocess.run(
        [sys.executable, *words], env={**ENVIRONMENT, **locale}, capture_output=True, check=False
    )
    assert ended.returncode == 2
    assert b"Traceback" not in ended.stderr
    assert b"Stra" in ended.stderr
