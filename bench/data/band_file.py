"""The bands of a user's own data: how many, and mean and deviation of each. Imports no torch.

ROOT/classes.yaml declares them, in the values that the files hold,

    bands: 2
    mean: [1012.5, 980.1]
    deviation: [310.2, 295.7]

or gives `bands` alone; then `python -m bench.data bands` measures the training split once and
writes ROOT/bands.yaml. What is used stands in the configuration, and so in its fingerprint.
"""

import math
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from bench.data.yaml_file import read_yaml, whole_number

MEASURED = "bands.yaml"
MOST = 1024


def from_band_file(root: str | None, key: str, bands: int | None = None) -> Any:
    """Returns `bands` (or null), `mean` or `deviation` (or []) for dataset=folder.

    Args:
        root: the folder of the data.
        key: which of them.
        bands: `dataset.bands`; without it there is neither mean nor deviation.

    Raises:
        ValueError: a file says something else.
    """
    nothing = None if key == "bands" else OmegaConf.create([])
    if root is None or (key != "bands" and bands is None):
        return nothing
    for name in ("classes.yaml", MEASURED) if key != "bands" else ("classes.yaml",):
        path = Path(root) / name
        content = read_yaml(path) if path.is_file() else {}
        if key in content:
            return _count(content, path) if key == "bands" else _numbers(content, key, path)
    return nothing


def _count(content: dict[str, Any], path: Path) -> int:
    count = whole_number(content["bands"], MOST)
    if not count:
        raise ValueError(
            f"{path}: bands is {content['bands']!r}; it must be a number from 1 to {MOST}"
        )
    return count


def _numbers(content: dict[str, Any], key: str, path: Path) -> Any:
    try:
        numbers = [float(text) for text in content[key]]
    except (TypeError, ValueError):
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{path}: {key} is {content[key]!r}; it must be a list of numbers")
    return OmegaConf.create(numbers)


OmegaConf.register_new_resolver("band_file", from_band_file, replace=True)
