"""How much damage the tests of this folder do."""

import pytest


@pytest.fixture(params=[150, pytest.param(2000, marks=pytest.mark.slow)])
def count(request: pytest.FixtureRequest) -> int:
    """How many changes are made."""
    found: int = request.param
    return found
