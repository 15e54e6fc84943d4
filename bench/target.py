"""Import paths in a configuration: checked without importing, and called. Imports no torch."""

import importlib.util
import sys
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate


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
        return instantiate(node, **arguments)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, ValueError):  # already says what is wrong, for the user
            raise cause from error
        reason = " ".join(str(cause).split())
        raise ValueError(f"{key}._target_ {node['_target_']} cannot be called: {reason}") from error


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
