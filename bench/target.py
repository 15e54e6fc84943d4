"""Import paths in a configuration: checked without importing, and called. Imports no torch."""

import importlib.util
import inspect
import pkgutil
import sys
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

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


def users_folder(runtime: Any) -> str | None:
    """Returns the folder given by --config-dir, where a user's network may lie beside its YAML.

    Its modules can be imported from then on.

    Args:
        runtime: what Hydra says of itself, `hydra.runtime`.
    """
    for source in runtime.config_sources:
        if source.provider == "command-line":
            folder = str(source.path)
            if folder not in sys.path:
                sys.path.append(folder)
            return folder
    return None
