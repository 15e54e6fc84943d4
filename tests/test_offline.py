"""Carrying wheels along: only what is missing is taken, and nothing is left behind."""

import zipfile
from pathlib import Path

import offline
import pytest


def carry(wheels: Path, name: str, content: str) -> None:
    with zipfile.ZipFile(wheels / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", content)
        wheel.writestr(f"{name}-1.0.dist-info/METADATA", f"Name: {name}\nVersion: 1.0\n")


def test_a_command_finds_what_was_carried_and_what_the_machine_has_stays(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    carry(tmp_path, "carried_along", "where = __file__")
    carry(tmp_path, "numpy", "raise ImportError('not the one of this machine')")
    command = (
        "import bench, carried_along, numpy, sys; from importlib.metadata import version; "
        "print(version('carried-along'), sys.argv[1:]); print(carried_along.where); sys.exit(3)"
    )
    assert offline.run(["-c", command, "an argument"], tmp_path) == 3
    version, where = capfd.readouterr().out.splitlines()
    assert version == "1.0 ['an argument']"
    assert not Path(where).exists()  # it was there for the command alone


def test_without_wheels_it_says_how_to_get_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert offline.run([], tmp_path) == 2
    assert "collect" in capsys.readouterr().err


def test_what_every_such_machine_has_is_not_asked_for() -> None:
    wanted = offline.requirements()
    assert {"hydra-core", "nvidia-ml-py", "pytest", "hypothesis"} <= wanted.keys()
    assert not {"torch", "numpy", "wandb", "scikit-learn"} & wanted.keys()
    assert wanted["hydra-core"].startswith("hydra-core>=")


def test_git_ignores_the_wheels() -> None:
    assert "/build/" in (offline.ROOT / ".gitignore").read_text().splitlines()
    assert offline.WHEELS.is_relative_to(offline.ROOT / "build")
