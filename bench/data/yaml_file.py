"""Reading a YAML file that a user wrote, with every name in it as it is written."""

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from bench.data.text_file import read_text


class _AsWritten(yaml.BaseLoader):  # type: ignore[misc]
    """Keeps every scalar as text: YAML 1.1 takes no, yes, off and 1_0 for something else."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {min(twice)!r} stands twice", node.start_mark
            )
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML file that holds a mapping; all in it are mappings, lists and text.

    Raises:
        ValueError: it is missing, is not YAML, names a key twice, or holds something else.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        content = yaml.load(read_text(path), _AsWritten)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not readable as YAML ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold keys and values, such as 'classes: ...'")
    return content


def whole_number(value: Any, highest: int = 255) -> int | None:
    """Returns the number from 0 to `highest` that a text of digits stands for, or None."""
    digits = isinstance(value, str) and value.isascii() and value.isdigit()
    return int(value) if digits and int(value) <= highest else None


def colour_of(value: Any) -> tuple[int, int, int] | None:
    """Returns the colour that a list of three texts stands for, or None."""
    numbers = [whole_number(part) for part in value] if isinstance(value, list) else []
    match numbers:
        case [int(red), int(green), int(blue)]:
            return red, green, blue
    return None
