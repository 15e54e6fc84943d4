"""What the tests of data sets share: composing a configuration for a folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.command_line import compose_config
from bench.config import Config


@pytest.fixture
def configured() -> Callable[..., Config]:
    """Composes the configuration of a data set that lies in a folder, without a cache."""

    def compose(name: str, root: Path, *overrides: str) -> Config:
        return compose_config(
            [f"dataset={name}", f"dataset.root='{root}'", "protocol.image_size=[24, 32]",
             "dataset.cache=null", *overrides]
        )  # fmt: skip

    return compose
