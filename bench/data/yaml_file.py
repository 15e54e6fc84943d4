"""Reading a YAML file that a user wrote."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]


def read_yaml(path: Path) -> dict[Any, Any]:
    """Reads a YAML file that holds a mapping.

    Raises:
        ValueError: it is missing, is not YAML, or holds something else.
    """
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (YAMLError, OmegaConfBaseException, OSError) as error:
        raise ValueError(f"{path}: not readable as YAML ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold keys and values, such as 'classes: ...'")
    return content
