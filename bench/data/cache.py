"""Decoded splits on disk, keyed by content: every file read, how it is read, and by which code.

The file is an uncompressed npz, whose parts carry a checksum that is verified on reading. It is a
copy of what can be computed again: a damaged one is replaced, and a full disk only costs time.
"""

import hashlib
import importlib.util
import json
import logging
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray

from bench.config import Config
from bench.data.ahead import ahead
from bench.data.pairs import Pair
from bench.data.schema import NOT_IN_FINGERPRINT
from bench.typed import hashed

log = logging.getLogger("bench")

WORTH_BYTES = 32e6  # smaller splits are decoded in less time than their files are looked after
UNUSED_DAYS = 30  # files not used for so long are removed when a new one is written


def path_of(config: Config, pairs: list[Pair], *, whole: bool) -> Path | None:
    """Returns where a split's decoded form belongs; None if it is not kept.

    Args:
        config: the configuration.
        pairs: of the split.
        whole: with the pictures, or only what is known of them.
    """
    dataset, (height, width) = config.dataset, config.protocol.image_size
    painted = not all(pair.files for pair in pairs)
    if dataset.cache is None or painted or 4 * len(pairs) * height * width < WORTH_BYTES:
        return None
    files = sorted({file for pair in pairs for file in pair.files})
    digests = dict(zip(files, ahead(_file_digest, files), strict=True))
    content = {
        "code": _code_digest(dataset.reader["_target_"]),
        "dataset": {k: v for k, v in hashed(dataset).items() if k not in NOT_IN_FINGERPRINT},
        "size": [height, width],
        "whole": whole,
        "pairs": [[pair.name, *(digests[file] for file in pair.files)] for pair in pairs],
    }
    key = hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=12).hexdigest()
    return Path(dataset.cache).expanduser() / f"{key}.npz"


def load(path: Path | None) -> dict[str, NDArray[Any]] | None:
    """Reads a decoded split, or None where there is none or it is damaged."""
    if path is None or not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            content = dict(arrays)
        os.utime(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        log.warning(f"{path}: damaged ({error}); the data are decoded again")
        return None
    return content


def save(path: Path | None, content: dict[str, NDArray[Any]]) -> None:
    """Writes a decoded split, whole or not at all."""
    if path is None:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_unused(path.parent)
        try:
            with temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        log.warning(f"dataset.cache: {error}; the data will be decoded again next time")


def _remove_unused(folder: Path) -> None:
    oldest = time.time() - UNUSED_DAYS * 86400
    for path in folder.glob("*.npz"):
        if path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)


def _file_digest(path: Path) -> str:
    """Hashes a file.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error


def _code_digest(target: str) -> str:
    """Hashes the code that reads: this package, the reader's module, Pillow's version."""
    total = hashlib.blake2b(PIL.__version__.encode())
    paths = sorted(Path(__file__).parent.rglob("*.py"))
    spec = importlib.util.find_spec(target.rpartition(".")[0])
    if spec is not None and spec.origin is not None:
        paths.append(Path(spec.origin))
    for path in paths:
        total.update(path.read_bytes())
    return total.hexdigest()[:32]
