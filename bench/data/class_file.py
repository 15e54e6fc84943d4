"""ROOT/classes.yaml of a user's own data: the classes, their colours, and void. Imports no torch.

    classes: {road: [128, 64, 128], car: [64, 0, 128]}     or, where labels hold no colours,
    classes: [road, car]
    void: 255                                              may be left out

Names are taken as they are written, `no` and `off` too.
"""

import colorsys
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from bench.data.yaml_file import colour_of, read_yaml, whole_number

EXAMPLE = "classes: {road: [128, 64, 128], car: [64, 0, 128]}"
GOLDEN_ANGLE = 0.381966  # of a turn: hues that follow each other differ, however many there are
SHADES = ((0.85, 0.9), (0.55, 0.7), (0.35, 1.0), (0.9, 0.5))  # saturation, brightness


def from_class_file(root: str | None, key: str) -> Any:
    """Returns `classes`, `colours` or `void` of ROOT/classes.yaml, for dataset=folder.

    Classes without colours get generated ones, to be shown in.

    Raises:
        ValueError: the file is missing or says something else.
    """
    names, colours, void = _read(root)
    if key == "void":
        return void
    shown = generated_colours(len(names)) if colours is None else colours
    return OmegaConf.create(names if key == "classes" else shown)


def label_colours(root: str | None, colours: Any) -> Any:
    """Returns the colours by which labels are read: None for each class, where all are generated.

    Args:
        root: the folder with classes.yaml, if it has one.
        colours: `dataset.colours`.
    """
    shown = [list(colour) for colour in colours]
    if root is None or not (Path(root) / "classes.yaml").is_file():
        return OmegaConf.create(shown)
    declared = _read(root)[1] is not None or shown != generated_colours(len(shown))
    return OmegaConf.create(shown if declared else [None] * len(shown))


def generated_colours(count: int) -> list[list[int]]:
    """Returns so many different colours, none of them black, which shows void."""
    colours = []
    for index in range(count):
        saturation, brightness = SHADES[index % len(SHADES)]
        shade = colorsys.hsv_to_rgb(index * GOLDEN_ANGLE % 1, saturation, brightness)
        colours.append([round(255 * part) for part in shade])
    return colours


def check_different(names: list[str], colours: list[Any], where: str) -> None:
    """Refuses two classes of one name or one colour.

    Raises:
        ValueError: naming both classes and what they share.
    """
    for kind, values in (("name", names), ("colour", [str(list(c)) for c in colours])):
        first: dict[str, str] = {}
        for name, value in zip(names, values, strict=False):
            if value in first:
                raise ValueError(
                    f"{where}: the classes {first[value]!r} and {name!r} have one {kind} "
                    f"({value}); give each its own"
                )
            first[value] = name


def _read(root: str | None) -> tuple[list[str], list[tuple[int, int, int]] | None, int]:
    """Reads names, colours (None where the file gives none) and void."""
    if root is None:
        raise ValueError("dataset.root is not set; set dataset.root=PATH to the folder of the data")
    path = Path(root) / "classes.yaml"
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; write the classes there, in a line such as '{EXAMPLE}', or "
            "give dataset.classes, dataset.colours and dataset.void"
        )
    content = read_yaml(path)
    names, colours = _classes(content.get("classes"), path)
    check_different(names, colours or [], str(path))
    void = whole_number(content.get("void", "255"))
    if void is None:
        raise ValueError(f"{path}: void is {content['void']!r}; it must be a number from 0 to 255")
    return names, colours, void


def _classes(content: Any, path: Path) -> tuple[list[str], list[tuple[int, int, int]] | None]:
    """Takes names and colours from a mapping to colours or nothing, or from a list of names."""
    if isinstance(content, list) and all(isinstance(name, str) and name for name in content):
        return content, None
    if isinstance(content, dict) and content:
        colours = [colour_of(value) for value in content.values()]
        bare = [name for name, value in content.items() if value in ("", "~", "null")]
        if len(bare) == len(content):
            return list(content), None
        if bare:
            raise ValueError(
                f"{path}: class {bare[0]!r} has no colour and others have one; give one to each, "
                "or to none"
            )
        known = [colour for colour in colours if colour is not None]
        if len(known) == len(colours):
            return list(content), known
    raise ValueError(
        f"{path}: must say 'classes: {{NAME: [R, G, B], ...}}' with colours 0..255, or "
        "'classes: [NAME, ...]'"
    )


OmegaConf.register_new_resolver("class_file", from_class_file, replace=True)
OmegaConf.register_new_resolver(
    "generated_colours", lambda count: OmegaConf.create(generated_colours(count)), replace=True
)
OmegaConf.register_new_resolver("label_colours", label_colours, replace=True)
