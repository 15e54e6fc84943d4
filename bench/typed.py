"""Dataclasses from plain containers, every key accounted for, and back. Imports no torch.

A configuration as composed, and one read from a record, become typed here: a key that nobody
declared is refused, so no record can claim what did not happen.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

from omegaconf import MISSING

T = TypeVar("T")
NEUTRAL = {"added": True}  # the metadata of a key that came after records had been shipped
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def added(neutral: Any) -> Any:
    """Declares a field that came after records had been shipped.

    With its neutral value it is left out of every hash, so that older records stay comparable.
    """
    return dataclasses.field(default=neutral, metadata=NEUTRAL)


def added_group(kind: type[T]) -> T:
    """Declares a group of keys, or a list, that came after records had been shipped."""
    return dataclasses.field(default_factory=kind, metadata=NEUTRAL)


def typed(kind: type[T], content: Any, where: str = "") -> T:
    """Builds a dataclass from nested dictionaries.

    Args:
        kind: the dataclass; a field without a value in `content` takes its default.
        content: the dictionary.
        where: the dotted key of `content`, for messages.

    Raises:
        ValueError: a key is unknown or missing, or a value is of the wrong type.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{where or 'the configuration'} is {content!r}; it must be a mapping")
    hints = _hints(kind)  # type: ignore[arg-type]  # a class is hashable
    refuse_unknown(content, hints, where)
    values = {
        name: _value(hints[name], value, _joined(where, name)) for name, value in content.items()
    }
    required = _required(kind)  # type: ignore[arg-type]  # likewise
    missing = [_joined(where, name) for name in required if name not in values]
    if missing:
        raise ValueError(f"{', '.join(missing)}: no value given")
    return kind(**values)


def refuse_unknown(given: Iterable[str], known: Iterable[str], where: str = "") -> None:
    """Rejects keys that nobody declared.

    Raises:
        ValueError: naming the first of them, and the nearest known key.
    """
    known = list(known)
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            remedy = f"did you mean {_joined(where, near[0])}?" if near else _listed(known, where)
            raise ValueError(f"{_joined(where, str(key))}: no such key; {remedy}")


def plain(node: Any) -> dict[str, Any]:
    """Returns a dataclass as nested dictionaries, as JSON holds it."""
    return dataclasses.asdict(node)


def hashed(node: Any) -> dict[str, Any]:
    """Returns a dataclass as nested dictionaries without later keys at their neutral values."""
    content = {}
    for field in _fields(type(node)):
        value = getattr(node, field.name)
        if not field.metadata.get("added") or value != _neutral(field):
            content[field.name] = hashed(value) if dataclasses.is_dataclass(value) else value
    return content


def neutral_values(kind: type[Any], where: str) -> dict[str, Any]:
    """Returns the later keys of a dataclass, dotted, with the values that older records mean."""
    found: dict[str, Any] = {}
    for field in _fields(kind):
        hint, name = _hints(kind)[field.name], _joined(where, field.name)  # type: ignore[arg-type]
        if dataclasses.is_dataclass(hint):
            found |= neutral_values(typing.cast("type[Any]", hint), name)
        elif field.metadata.get("added"):
            found[name] = _neutral(field)
    return found


def _neutral(field: "dataclasses.Field[Any]") -> Any:
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def leaves(node: Any, prefix: str = "", whole: Collection[str] = ()) -> dict[str, Any]:
    """Turns nested dictionaries into one of dotted keys.

    Args:
        node: the dictionary; an empty one is a leaf.
        prefix: its own dotted key.
        whole: keys by which a dictionary is known that is a leaf.
    """
    if not isinstance(node, Mapping) or not node or node.keys() & whole:
        return {prefix: node}
    return {
        key: leaf
        for name, value in node.items()
        for key, leaf in leaves(value, _joined(prefix, name), whole).items()
    }


def _value(hint: Any, value: Any, where: str) -> Any:
    """Checks and converts one value by the annotation of its field."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or (value is None and types.NoneType in inner):
        return value
    if origin is types.UnionType:
        return _value(inner[0], value, where)
    if dataclasses.is_dataclass(hint):
        return typed(typing.cast("type[Any]", hint), value, where)
    if type(value) is (origin or hint):
        return _items(origin, inner, value, where)
    if hint is float and type(value) is int:
        return float(value)
    if origin is None and issubclass(hint, StrEnum) and value in list(hint):
        return hint(value)
    raise ValueError(f"{where} is {value!r}; it must be {_expected(hint, origin)}")


def _items(origin: Any, inner: tuple[Any, ...], value: Any, where: str) -> Any:
    """Checks what a list or a mapping holds; any other value is its own."""
    if origin is list:
        return [_value(inner[0], item, where) for item in value]
    if origin is dict:
        return {str(key): _value(inner[1], item, where) for key, item in value.items()}
    return value


def _expected(hint: Any, origin: Any) -> str:
    if origin is not None:
        return "a list" if origin is list else "a mapping"
    if issubclass(hint, StrEnum):
        return f"one of {', '.join(hint)}"
    return WORDS[hint]


@cache
def _required(kind: Any) -> list[str]:
    """Names the fields that have no default; MISSING is how a schema says so."""
    return [
        field.name
        for field in _fields(kind)
        if field.default in (dataclasses.MISSING, MISSING)
        and field.default_factory is dataclasses.MISSING
    ]


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _fields(kind: type[Any]) -> "tuple[dataclasses.Field[Any], ...]":
    return dataclasses.fields(kind)


def _joined(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _listed(known: list[str], where: str) -> str:
    return f"{where or 'the configuration'} has {', '.join(known)}"
