"""Import paths in a configuration: checked without importing, and called. Imports no torch."""

import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from bench.signature import parameters
from bench.typed import refuse_unknown

TYPES: dict[str, tuple[tuple[type, ...], str]] = {  # annotation, what passes, in words
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "text"),
}


def check_target(key: str, target: Any) -> None:
    """Rejects an import path whose module cannot be found, without importing the module."""
    if not isinstance(target, str) or "." not in target:
        raise ValueError(
            f"{key}._target_ is {target}; it must be an import path such as mynet.MyNet"
        )
    top = target.split(".")[0]
    if importlib.util.find_spec(top) is None:
        raise ValueError(
            f"{key}._target_ is {target}, but there is no module {top!r}; put {top}.py into the "
            "working directory or beside the configuration given by --config-dir"
        )


def check_arguments(key: str, node: dict[str, Any], ours: Collection[str] = ()) -> None:
    """Rejects arguments that what a `_target_` names does not take, as far as its source tells.

    Args:
        key: of the node, for messages.
        node: the `_target_` and its arguments.
        ours: keys that are no arguments; those that begin with an underscore are Hydra's.

    Raises:
        ValueError: naming the argument, and the nearest one that there is.
    """
    accepted = parameters(node["_target_"])
    if accepted is not None:
        given = [name for name in node if name not in ours and not name.startswith("_")]
        refuse_unknown(given, accepted, key)


def build(key: str, node: dict[str, Any], **arguments: Any) -> Any:
    """Calls what a `_target_` names, with the node's arguments and those given.

    Raises:
        ValueError: the import path or an argument is wrong, or the callee refused a value.
    """
    try:
        check_types(key, node)
        return instantiate(node, **arguments)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, ValueError):  # already says what is wrong, for the user
            if any(str(cause).startswith(f"{name}=") for name in node):
                raise ValueError(f"{key}.{cause}") from cause
            raise cause from cause.__cause__  # from `error`, the chain would be a circle
        reason = " ".join(str(cause).split())
        given = ", ".join(f"{name}={value}" for name, value in node.items() if name != "_target_")
        raise ValueError(
            f"{key}._target_ {node['_target_']} cannot be called with {given or 'no arguments'}: "
            f"{reason}"
        ) from error


def check_types(key: str, node: dict[str, Any]) -> None:
    """Rejects a value that is not what the signature of its `_target_` says, if that is simple.

    Raises:
        ValueError: a value for an `int`, `float`, `bool` or `str` is something else.
    """
    try:
        parameters = inspect.signature(pkgutil.resolve_name(node["_target_"])).parameters
    except Exception:  # noqa: BLE001 - what cannot be imported or inspected, instantiation says
        return
    for name in node.keys() & parameters.keys():
        annotation, default = parameters[name].annotation, parameters[name].default
        accepted, words = TYPES.get(getattr(annotation, "__name__", annotation), ((), ""))
        if accepted and node[name] != default and type(node[name]) not in accepted:
            raise ValueError(f"{key}.{name}={node[name]}: must be {words}")


def make_importable(folder: Path) -> None:
    """Lets modules be imported that lie in the folder of a user's own configuration."""
    path = str(folder.absolute())
    if path not in sys.path:
        sys.path.append(path)


def users_folder(runtime: Any) -> str | None:
    """Returns the folder given by --config-dir, where a user's network may lie beside its YAML.

    Its modules can be imported from then on.

    Args:
        runtime: what Hydra says of itself, `hydra.runtime`.
    """
    for source in runtime.config_sources:
        if source.provider == "command-line":
            make_importable(Path(source.path))
            return str(source.path)
    return None
