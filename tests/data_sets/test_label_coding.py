"""Values and colours of label files become class indices, or the file is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.data.folder import label_coding
from bench.data.label_coding import LabelCoding


def test_values_are_mapped_one_by_one() -> None:
    coding = LabelCoding({0: 255, 1: 0, 7: 1})
    stored = np.array([[0, 1], [7, 7]], np.uint8)
    assert coding.of_values(stored, "x").tolist() == [[255, 0], [1, 1]]


def test_an_unknown_value_is_named_with_what_is_known() -> None:
    coding = LabelCoding({0: 255, 1: 0, 2: 1, 9: 2})
    with pytest.raises(ValueError, match=r"here: label value 5 .*known: 0\.\.2, 9"):
        coding.of_values(np.array([[1, 5]], np.uint8), "here")


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=40, unique=True))
def test_coding_colours_and_painting_them_again_is_the_identity(
    colours: list[tuple[int, int, int]],
) -> None:
    coding = LabelCoding({}, {colour: index for index, colour in enumerate(colours)})
    indices = np.arange(2 * len(colours)).reshape(2, -1) % len(colours)
    picture = np.array(colours, np.uint8)[indices]
    assert (coding.of_colours(picture, "x") == indices).all()


def test_an_unknown_colour_is_named_with_its_place() -> None:
    coding = LabelCoding({}, {(1, 2, 3): 0, (9, 9, 9): 1})
    picture = np.full((2, 3, 3), (1, 2, 3), np.uint8)
    picture[1, 2] = 9, 9, 8
    with pytest.raises(ValueError, match=r"here: colour \[9, 9, 8\] .* row 1, column 2"):
        coding.of_colours(picture, "here")


def test_a_label_without_a_table_of_colours_must_hold_values(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "l.png")
    with pytest.raises(ValueError, match=r"l\.png: the label is stored in colours"):
        LabelCoding({0: 0}).read(tmp_path / "l.png")


def test_classes_may_have_any_values_and_void_several() -> None:
    coding = label_coding([[1, 1, 1], [2, 2, 2]], 255, values=[20, 10], void_values=[0, 30])
    assert coding.values == {20: 0, 10: 1, 0: 255, 30: 255}


@pytest.mark.parametrize(
    ("values", "message"),
    [([1, 1], "different label values"), ([1], "must be 2"), ([0, 300], "label values are 0..255")],
)
def test_values_that_cannot_be_are_refused(values: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label_coding([[1, 1, 1], [2, 2, 2]], 255, values=values)
