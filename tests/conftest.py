"""Fixtures of all tests: the real CamVid where it is, small runs, one thread."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import TINY

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before anybody imports Triton

from bench.command_line import compose_config
from bench.config import Config, write_config
from bench.run.monitor import Monitor


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: give --slow"))
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def camvid_root() -> Path:
    """The folder of the real CamVid, named by the environment variable SEGBENCH_CAMVID."""
    root = os.environ.get("SEGBENCH_CAMVID")
    if root is None:
        pytest.skip("SEGBENCH_CAMVID does not name a CamVid folder")
    assert (Path(root) / "train").is_dir(), f"SEGBENCH_CAMVID={root} holds no train folder"
    return Path(root)


@pytest.fixture(autouse=True)
def _plain_torch() -> Iterator[None]:
    """Every test starts with one thread and leaves no global setting behind."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False
    torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.fixture
def tiny_config(tmp_path: Path) -> Callable[..., Config]:
    """Composes the configuration of a tiny run, with further overrides."""

    def compose(*overrides: str) -> dict[str, Any]:
        return compose_config([*TINY, f"runs={tmp_path}/runs", *overrides])

    return compose


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[[Config], tuple[Path, Monitor]]:
    """Prepares a run's folder as the launcher does, to run it in this process."""

    def prepare(config: Config, name: str = "run") -> tuple[Path, Monitor]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        write_config(folder, config)
        return folder, Monitor(folder)

    return prepare
