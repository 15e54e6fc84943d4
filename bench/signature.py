"""The parameters of what a configuration names, read from its source: nothing is imported.

A network's module imports torch, which takes seconds; a mistyped argument is answered before that.
"""

import ast
import importlib.machinery
import importlib.util
from collections.abc import Iterator
from pathlib import Path

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
RECORDS = {"dataclass", "NamedTuple"}  # whose fields are their constructor's parameters


def parameters(target: str) -> list[str] | None:
    """Returns the names of the parameters of an import path such as mynet.MyNet.

    None where they cannot be told from the source alone: it is not there, is no Python, the name
    is imported or inherited from elsewhere, or any keyword is accepted.
    """
    module, _, name = target.rpartition(".")
    path = _source(module)
    if path is None:
        return None
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):  # whoever imports it says what is wrong
        return None
    top = {node.name: node for node in tree.body if isinstance(node, Definition)}
    return _of(name, top)


def _source(module: str) -> Path | None:
    """Finds a module's file without importing the packages around it."""
    first, *parts = module.split(".")
    spec = importlib.util.find_spec(first) if first else None  # wherever it is installed
    for part in parts:
        if spec is None or spec.submodule_search_locations is None:
            return None
        places = list(spec.submodule_search_locations)
        spec = importlib.machinery.PathFinder.find_spec(f"{spec.name}.{part}", places)
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _of(name: str, top: dict[str, Definition]) -> list[str] | None:
    """Returns the parameters of a function or class among the definitions of a module."""
    node = top.get(name)
    if node is None:
        return None
    if not isinstance(node, ast.ClassDef):
        return None if node.decorator_list else _names(node.args)
    functions = [n for n in node.body if isinstance(n, ast.FunctionDef)]
    made = [function for function in functions if function.name in {"__init__", "__new__"}]
    if made:
        names = _names(made[0].args)
        return None if names is None else names[1:]  # without self
    bases = list(_ends(node.bases))
    if RECORDS & {*bases, *_ends(node.decorator_list)}:
        fields = [n.target for n in node.body if isinstance(n, ast.AnnAssign)]
        return [field.id for field in fields if isinstance(field, ast.Name)]
    return _of(bases[0], top) if len(bases) == 1 else None


def _names(arguments: ast.arguments) -> list[str] | None:
    if arguments.kwarg is not None:
        return None
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [argument.arg for argument in every]


def _ends(nodes: list[ast.expr]) -> Iterator[str]:
    """Yields the last part of dotted names, called or not."""
    for node in nodes:
        yield ast.unparse(node.func if isinstance(node, ast.Call) else node).rpartition(".")[2]
