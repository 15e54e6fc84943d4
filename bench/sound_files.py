"""Reading files that may be damaged or made by somebody who means harm: sound, or one sentence.

Only regular files are read, for a FIFO would hang the reader; none is read that is larger than its
kind ever gets; and nothing in a file chooses how much memory is taken.
"""

import hashlib
import io
import json
import math
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

JSON_BYTES = 2**26  # the longest records, of costs, have some 0.1 MB
LARGEST = 2**53  # of a whole number; larger ones are no counts, and JSON readers disagree on them
# What a damaged archive makes zipfile, zlib and numpy raise.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, KeyError,
    IndexError, TypeError, OverflowError, MemoryError, RecursionError, RuntimeError, SyntaxError,
)  # fmt: skip
COMPRESSIONS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


def read_bytes(path: Path, limit: int) -> bytes:
    """Reads a regular file of at most `limit` bytes.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is something else, larger, or unreadable.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO without a writer waits
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise ValueError(f"{path}: not a regular file; remove it")
            # `read` takes all that it is asked for at once, which a limit on memory may refuse.
            content = file.read(min(state.st_size, limit) + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > limit:
        raise ValueError(f"{path}: larger than {limit / 1e6:.0f} MB, so not a record; remove it")
    return content


def parse_object(text: bytes, where: str) -> dict[str, Any]:
    """Parses a JSON object of finite numbers and printable text.

    Args:
        text: the JSON.
        where: the file, and perhaps the line, for the message.

    Raises:
        ValueError: it is something else.
    """
    try:
        content = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        if b"\\u" in text:  # half of a pair of surrogates cannot be printed
            json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{where}: not valid JSON ({_reason(error)}); remove the file or the run"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{where}: not a JSON object; remove the file or the run")
    return content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of a record")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def digest_of(content: Any) -> str:
    """Returns the SHA-256 of the canonical form of what JSON can hold: keys sorted, no spaces."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def require(where: Path | str, content: Any, shape: Any) -> None:
    """Holds JSON to a shape.

    A shape is a type (`int` is a count, from 0; `float` any number), None, a list of one shape, a
    tuple of alternatives, or a dictionary of keys: those that end in `?` may be missing, others
    than those named may be there, and `*` stands for all keys. A set lists the texts allowed, and
    `Name` is text for tables.

    Raises:
        ValueError: naming the file, the key and its value.
    """
    misfit = _misfit("", content, shape)
    if misfit is not None:
        key, value, wanted = misfit
        shown = repr(value)
        shown = shown if len(shown) < 60 else f"{shown[:57]}..."
        name = f"key {key} is {shown}" if key else f"it is {shown}"
        raise ValueError(f"{where}: {name}, where {wanted} belongs; remove the file or the run")


class Name(str):
    """A shape: text that can be printed in one line, without control characters."""


WORDS: dict[Any, str] = {
    None: "null", Name: "a printable name", int: "a count", float: "a number", str: "text",
    bool: "true or false", dict: "an object", list: "a list",
}  # fmt: skip
MISSING = type("Missing", (), {"__repr__": lambda _: "missing"})()


def _misfit(key: str, value: Any, shape: Any) -> tuple[str, Any, str] | None:
    """Returns the first key that does not fit, its value and what belongs there; None: all fit."""
    if isinstance(shape, tuple):
        return _misfit_of_all(key, value, shape)
    if isinstance(shape, dict):
        return _misfit_in_object(key, value, shape)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return key, value, WORDS[list]
        parts = (_misfit(f"{key}[{n}]", item, shape[0]) for n, item in enumerate(value))
        return next((part for part in parts if part is not None), None)
    return None if _is_a(value, shape) else (key, value, _in_words(shape))


def _misfit_of_all(key: str, value: Any, shapes: tuple[Any, ...]) -> tuple[str, Any, str] | None:
    """Returns what does not fit where one of several shapes would do."""
    if any(_misfit(key, value, alternative) is None for alternative in shapes):
        return None
    objects = [alternative for alternative in shapes if isinstance(alternative, dict)]
    if objects and isinstance(value, dict):  # what is wrong is inside
        return _misfit(key, value, objects[0])
    return key, value, " or ".join(map(_in_words, shapes))


def _in_words(shape: Any) -> str:
    if isinstance(shape, frozenset):
        return f"one of {', '.join(sorted(shape))}"
    return WORDS[shape if shape is None or isinstance(shape, type) else type(shape)]


def _misfit_in_object(key: str, value: Any, shape: dict[str, Any]) -> tuple[str, Any, str] | None:
    if not isinstance(value, dict):
        return key, value, WORDS[dict]
    every = {name: shape["*"] for name in value} if "*" in shape else {}
    for name, part in ({k: v for k, v in shape.items() if k != "*"} | every).items():
        plain = name.removesuffix("?")
        part_value = value.get(plain, MISSING)
        if part_value is MISSING and plain != name:
            continue
        misfit = _misfit(f"{key}.{plain}" if key else plain, part_value, part)
        if misfit is not None:
            return misfit
    return None


def _is_a(value: Any, kind: type | frozenset[str] | None) -> bool:
    if isinstance(kind, frozenset):
        return isinstance(value, str) and value in kind
    if kind is None:
        return value is None
    if kind is int:
        return type(value) is int and 0 <= value < LARGEST
    if kind is float:
        return type(value) in {int, float} and math.isfinite(value)
    if kind is Name:
        return isinstance(value, str) and value.isprintable() and value != ""
    return isinstance(value, kind)


def read_arrays(path: Path, limit: int, sha256: str | None = None) -> dict[str, NDArray[Any]]:
    """Reads the arrays of an .npz file.

    Args:
        path: the file.
        limit: bytes that all arrays together may have.
        sha256: what the file must hash to, where that is known.

    Raises:
        ValueError: it is missing, damaged, another one or too large.
    """
    try:
        content = read_bytes(path, limit)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path}: not the file that its record names (its SHA-256 differs)")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > limit:
                raise ValueError(f"its arrays exceed {limit / 1e6:.1f} MB")
            if any(entry.compress_type not in COMPRESSIONS for entry in entries):
                raise ValueError("an unknown compression")
            return {e.filename.removesuffix(".npy"): _array(archive.read(e)) for e in entries}
    except DAMAGE as error:
        raise ValueError(
            f"{path}: damaged ({_reason(error)}); remove the file or the run"
        ) from error


def _array(content: bytes) -> NDArray[Any]:
    """Parses an .npy file without letting its header choose how much memory is taken."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, fortran, dtype = read[version](file)
    start = file.tell()
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - start:
        raise ValueError(f"an array of {dtype} {shape} in {len(content) - start} bytes")
    array = np.frombuffer(content, dtype, offset=start)
    return array.reshape(shape, order="F" if fortran else "C").copy()
