"""Numbers in words."""

import pytest

from bench.words import ranges


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([], ""),
        ([3], "3"),
        ([2, 0, 1, 1], "0, 1, 2"),
        ([0, 1, 4, 5, 6, 7], "0, 1, 4-7"),
        (range(126), "0-125"),
        ([*range(10), 20, *range(30, 35)], "0-9, 20, 30-34"),
    ],
)
def test_whole_numbers_in_a_row_are_a_range(numbers: list[int], words: str) -> None:
    assert ranges(numbers) == words
