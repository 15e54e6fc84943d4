"""The GPU that is not there, for tests of what runs on one; see tests/gpu_stand_in."""

from collections.abc import Iterator

import pytest
import torch
from gpu_stand_in import Gpu, one_gpu


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    """The only CUDA device, while a test runs."""
    if torch.cuda.is_available():
        pytest.skip("there is a real one")
    with one_gpu() as device:
        yield device
