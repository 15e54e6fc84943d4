"""The optional packages that exporting and other runtimes need; imports none of them itself."""

import importlib
from typing import Any


def extra(module: str) -> Any:
    """Imports a module of the extra `deploy`.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top:
            raise
        raise ValueError(
            f'{top} is not installed, and this needs it: pip install "segbench[deploy]"'
        ) from error
