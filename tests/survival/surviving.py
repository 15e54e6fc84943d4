"""Holds a reader of files to the promise: damage changes no number without a word."""

import contextlib
import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mutations import damaged, restructured

from bench import records


def words_and(read: Callable[[], Any]) -> tuple[str, Any]:
    """Returns what a reader says, and what it returns: None where it refuses."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            found = read()
        except ValueError as error:
            said.write(str(error))
            found = None
    return said.getvalue(), found


def changes(path: Path, count: int, *, is_json: bool) -> Iterator[tuple[bytes, bool]]:
    """Yields what a file becomes, and whether a changed number must be told."""
    sound = path.read_bytes()
    rng = random.Random(path.name)
    for number in range(count):
        if not is_json or number % 2:
            yield damaged(sound, rng), True
            continue
        content = json.loads(sound)
        older = number % 4 == 0  # without a digest nothing but sense can be checked
        if older:
            content.pop(records.DIGEST, None)
        yield restructured(content, rng), not older


def survives(
    count: int,
    path: Path,
    read: Callable[[], Any],
    *,
    is_json: bool = True,
    has_digest: bool = True,
) -> None:
    """Damages a file again and again, and holds a reader of it to the promise.

    What a user writes by hand has no digest, so that another number in it is another file; it is
    refused in a sentence or read.
    """
    sound = path.read_bytes()
    words, truth = words_and(read)
    assert not words, f"sound, the file is read in silence: {words}"
    assert truth is not None
    try:
        for content, telling in changes(path, count, is_json=is_json):
            path.write_bytes(content)
            words, found = words_and(read)
            assert words or not (telling and has_digest) or found == truth, content
    finally:
        path.write_bytes(sound)
