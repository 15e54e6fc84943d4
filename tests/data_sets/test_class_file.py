"""classes.yaml says what it says: names as written, each with a colour of its own or none."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from tiny_run import TINY

from bench.command_line import compose_config
from bench.data.class_file import EXAMPLE, generated_colours
from bench.data.splits import load_splits

Configured = Callable[..., Any]

YAML_1_1_WORDS = ["no", "yes", "on", "off", "y", "null", "~", "True", "1", "010", "1_0", "0x1f",
                  "1e3", "12:30", "2024-01-01", "<<", "="]  # fmt: skip


def test_names_are_as_they_are_written(tmp_path: Path, configured: Configured) -> None:
    lines = [f"  {name}: [{i}, 0, 9]\n" for i, name in enumerate(YAML_1_1_WORDS)]
    (tmp_path / "classes.yaml").write_text("classes:\n" + "".join(lines))
    config = configured("folder", tmp_path)
    assert config.dataset.classes == YAML_1_1_WORDS
    assert config.dataset.colours[2] == [2, 0, 9]
    assert config.dataset.void == 255


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_any_encoding_with_a_mark_is_read(
    tmp_path: Path, configured: Configured, encoding: str
) -> None:
    (tmp_path / "classes.yaml").write_bytes(
        "classes: {straße: [1, 2, 3], b: [4, 5, 6]}".encode(encoding)
    )
    assert configured("folder", tmp_path).dataset.classes == ["straße", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "classes: {road: [1, 2, 3], path: [1, 2, 3], car: [4, 5, 6]}",
            r"classes\.yaml: the classes 'road' and 'path' have one colour \(\[1, 2, 3\]\)",
        ),
        ("classes: {road: [1, 2, 3], road: [4, 5, 6]}", "the key 'road' stands twice"),
        ("classes: [road, car, road]", "the classes 'road' and 'road' have one name"),
        ("classes: {road: [1, 2, 3], car: }", "class 'car' has no colour and others have one"),
        ("classes: {road: [1, 2, 3.5], car: [4, 5, 6]}", "must say 'classes:"),
        ("classes: {road: [1, 2, 3], car: [4, 5, 6]}\nvoid: none", "void is 'none'"),
        ("classes: [no]", r"dataset\.classes is \['no'\]; it must be at least two names"),
    ],
)
def test_what_cannot_be_is_refused_with_both_names(
    tmp_path: Path, configured: Configured, text: str, message: str
) -> None:
    (tmp_path / "classes.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        configured("folder", tmp_path)


def test_what_the_message_for_a_missing_file_says_can_be_pasted(
    tmp_path: Path, configured: Configured
) -> None:
    with pytest.raises(ValueError, match="write the classes there") as error:
        configured("folder", tmp_path)
    (line,) = re.findall(r"'(classes: .*?)'", str(error.value))
    assert line == EXAMPLE
    assert yaml.safe_load(line) == {"classes": {"road": [128, 64, 128], "car": [64, 0, 128]}}
    (tmp_path / "classes.yaml").write_text(line)
    assert configured("folder", tmp_path).dataset.classes == ["road", "car"]


@pytest.mark.parametrize("text", ["classes: [no, yes, car]", "classes:\n  no:\n  yes: ~\n  car:\n"])
def test_classes_without_colours_get_some_that_no_label_is_read_by(
    tmp_path: Path, configured: Configured, text: str
) -> None:
    (tmp_path / "classes.yaml").write_text(text)
    config = configured("folder", tmp_path)
    assert config.dataset.classes == ["no", "yes", "car"]
    colours = config.dataset.colours
    assert colours == generated_colours(3)
    for kind in ("images", "labels"):
        (tmp_path / kind / "train").mkdir(parents=True)
    Image.new("RGB", (32, 24)).save(tmp_path / "images/train/a.png")
    Image.new("L", (32, 24), 2).save(tmp_path / "labels/train/a.png")
    assert (load_splits(config, ["train"])["train"].truths[0] == 2).all()
    Image.new("RGB", (32, 24), tuple(colours[1])).save(tmp_path / "labels/train/a.png")
    with pytest.raises(ValueError, match="the label is stored in colours"):
        load_splits(config, ["train"])


def test_colours_given_on_the_command_line_are_read_by(
    tmp_path: Path, configured: Configured
) -> None:
    (tmp_path / "classes.yaml").write_text("classes: [a, b]")
    config = configured("folder", tmp_path, "dataset.colours=[[1,2,3],[4,5,6]]")
    assert config.dataset.reader["colours"] == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("count", [2, 37, 256])
def test_generated_colours_differ_and_leave_black_to_void(count: int) -> None:
    colours = np.array([*generated_colours(count), [0, 0, 0]])
    assert len(np.unique(colours, axis=0)) == count + 1
    assert ((colours >= 0) & (colours <= 255)).all()


def test_words_that_yaml_takes_for_booleans_are_refused_in_a_data_sets_own_yaml(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    text = "defaults: [folder]\nroot: null\nclasses: [no, yes]\ncolours: [[1, 1, 1], [2, 2, 2]]\n"
    (folder / "mine.yaml").write_text(text + "void: 255\nname: Mine\n")
    with pytest.raises(ValueError, match=r"dataset\.classes has 'False', which is what YAML makes"):
        compose_config(["protocol=demo", "dataset=mine"], tmp_path)
    (folder / "mine.yaml").write_text(text.replace("no, yes", "'no', 'yes'") + "void: 255\n")
    assert compose_config(["protocol=demo", "dataset=mine"], tmp_path).dataset.classes == [
        "no",
        "yes",
    ]


@pytest.mark.parametrize(
    ("classes", "colours", "message"),
    [
        ("[a,a]", "[[1,1,1],[2,2,2]]", r"dataset: the classes 'a' and 'a' have one name"),
        ("[a,b]", "[[1,1,1],[1,1,1]]", r"dataset: the classes 'a' and 'b' have one colour"),
    ],
)
def test_classes_of_any_set_differ(classes: str, colours: str, message: str) -> None:
    overrides = [f"dataset.classes={classes}", f"dataset.colours={colours}"]
    with pytest.raises(ValueError, match=message):
        compose_config([*TINY, *overrides])
