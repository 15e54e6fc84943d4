"""The code that decides a run's numbers: its network's, its reader's, and the numeric bench.

Hashed is what the code does, not how it is written: comments, docstrings and layout do not count,
nor do files that only talk, watch or write. Imports no torch.
"""

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.config import Config

HERE = Path(__file__).parent
ROOMS = ("run", "data", "metrics", "crf", "seeds.py")
NAMES = {"network": "its network", "reader": "its reader", "bench": "the numeric code of bench"}
# Files of these rooms that compute nothing of a result.
WITHOUT_NUMBERS = {
    "run": {
        "__main__", "checkpoints", "environment", "model_bytes", "monitor", "trained", "wandb_log",
    },
    "data": {"__main__", "check", "fetch", "prepare", "schema"},
}  # fmt: skip


def code_of(config: Config, rooms: Iterable[str] = ROOMS) -> dict[str, str]:
    """Returns digests of the code of `network`, `reader` and `bench`, 12 digits each."""
    return {
        "network": _digest(_closure(config.arch["_target_"])),
        "reader": _digest(_closure(config.dataset.reader["_target_"])),
        "bench": _digest(path for room in rooms for path in _files(room)),
    }


def total(code: dict[str, str]) -> str:
    """Returns one digest for all of a run's code."""
    return hashlib.sha256(" ".join(code.values()).encode()).hexdigest()[:12]


def changed(then: dict[str, Any], now: dict[str, str]) -> list[str]:
    """Names the parts of a run's code that are not what its record says.

    Args:
        then: the run's environment.json; older ones do not tell the parts apart.
        now: what `code_of` returns.
    """
    before = then.get("code")
    if not isinstance(before, dict):
        return ["all of its code"] if then else []
    return [NAMES[part] for part, digest in now.items() if before.get(part) != digest]


def _files(room: str) -> list[Path]:
    path = HERE / room
    without = WITHOUT_NUMBERS.get(room, set())
    files = path.rglob("*.py") if path.is_dir() else [path]
    return [file for file in files if file.stem not in without]


def _closure(target: str) -> set[Path]:
    """Returns the file that an import path leads to, and those beside it that it imports.

    The path may lead to a part of a class, and through folders that are packages without a file.
    Beside an installed package lie others, which are not followed.
    """
    top = target.split(".", maxsplit=1)[0]
    spec = importlib.util.find_spec(top)
    places = [*(spec.submodule_search_locations or [spec.origin or ""])] if spec else []
    roots = [Path(place).parent for place in places]
    installed = any("-packages" in part for root in roots for part in root.parts)
    closure: set[Path] = set()
    waiting = [target]
    while waiting:
        name = waiting.pop()
        file = next((file for root in roots if (file := _file_of(name, root)).is_file()), None)
        if file is None:
            waiting += [name.rpartition(".")[0]] if "." in name else []
        elif file not in closure:
            closure.add(file)
            imported = _imported(file, name)
            waiting += [n for n in imported if not installed or n.split(".")[0] == top]
    return closure


def _file_of(module: str, root: Path) -> Path:
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imported(file: Path, module: str) -> Iterator[str]:
    """Yields the modules that a file imports, and what may be modules among the names."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(_parsed(file, file.stat().st_mtime_ns)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            parts = [*above, node.module] if node.level else [node.module]
            base = ".".join(part for part in parts if part)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@lru_cache(maxsize=1024)
def _parsed(file: Path, changed_at: int) -> ast.Module:
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    return tree


def _digest(files: Iterable[Path]) -> str:
    """Hashes what files do."""
    whole = hashlib.sha256()
    for file in sorted(set(files), key=lambda file: (file.name, str(file))):
        whole.update(f"{file.name} {_dumped(file, file.stat().st_mtime_ns)}".encode())
    return whole.hexdigest()[:12]


@lru_cache(maxsize=1024)
def _dumped(file: Path, changed_at: int) -> str:
    return ast.dump(_parsed(file, changed_at))
