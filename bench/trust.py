"""What a record may make this program do. A run's folder may come from somebody else.

A configuration names what is called, by import path, so a record could name anything, such as a
loader of pickles. From a record only our own networks and the readers of `bench.data` are called,
and what the user's --config-dir defines; nothing is looked up in the environment; and nothing of
the record says where to write or send. `--trust` lifts all of this; reports, which show the images
of a record's data set, have no such option. Imports no torch.
"""

import ast
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.config import WandbConfig
from bench.data.schema import DatasetConfig

ROOT = Path(__file__).parent.parent
TARGET = "_target_"
NETWORKS, READERS = "architectures", "bench.data"
REMEDY = "run it with --trust if you know who made the record"


def require_harmless(record: dict[str, Any], where: Path, config_dir: Path | None) -> None:
    """Refuses a record that would call other code, or look values up.

    Args:
        record: the recorded configuration.
        where: its run, for the message.
        config_dir: the folder of the user's own network, as given on the command line.

    Raises:
        ValueError: naming the key, its value and what to do.
    """
    for key, value in _leaves("", record):
        if isinstance(value, str) and "${" in value:
            raise ValueError(f"{where}: {key} is {value!r}, which is looked up; {REMEDY}")
        if key.rpartition(".")[2] != TARGET:
            continue
        if key == f"dataset.reader.{TARGET}":
            allowed = _is_reader(value)
        else:
            allowed = key == f"arch.{TARGET}" and _is_network(value, config_dir)
        if not allowed:
            raise ValueError(f"{where}: {key} is {value!r}, {_why(key, record)} {REMEDY}")


def is_harmless(record: dict[str, Any], config_dir: Path | None) -> bool:
    """Says whether a record needs no `--trust`, see `require_harmless`."""
    try:
        require_harmless(record, Path(), config_dir)
    except ValueError:
        return False
    return True


def is_harmless_reader(reader: Any) -> bool:
    """Says whether a record's `dataset.reader` calls a reader of `bench.data`, and nothing else."""
    return isinstance(reader, dict) and is_harmless({"dataset": {"reader": reader}}, None)


def _why(key: str, record: dict[str, Any]) -> str:
    if key != f"arch.{TARGET}":
        return "and from a record only networks and readers of this program are called;"
    folder = record.get("config_dir")
    recorded = f" (it was {folder})" if folder else ""
    return (
        "which is no network of this program; give the folder of your own network on the command "
        f"line, --config-dir PATH{recorded}, or"
    )


def _leaves(key: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Yields every value with its dotted key, and every key of a mapping as a value too.

    Not as `bench.typed.leaves`, in whose dictionary one key of a record could hide another.
    """
    if isinstance(node, dict):
        for name, inner in node.items():
            yield f"{key}.(key)", name
            yield from _leaves(f"{key}.{name}".lstrip("."), inner)
    elif isinstance(node, list):
        for number, inner in enumerate(node):
            yield from _leaves(f"{key}[{number}]", inner)
    else:
        yield key, node


def _is_reader(target: Any) -> bool:
    return _is_defined(target, READERS, ROOT) and target.endswith(".read")


def _is_network(target: Any, config_dir: Path | None) -> bool:
    if _is_defined(target, NETWORKS, ROOT):
        return True
    return config_dir is not None and _is_defined(target, "", config_dir)


def _is_defined(target: Any, prefix: str, folder: Path) -> bool:
    """Says whether a class or function is defined in the file that its import path names.

    A name that a module has only imported, as in `vgg.torch.load`, is not.
    """
    if not isinstance(target, str) or not f"{target}.".startswith(f"{prefix}." if prefix else ""):
        return False
    *modules, name = target.split(".")
    if not modules or not all(part.isidentifier() for part in [*modules, name]):
        return False
    path = folder.joinpath(*modules)
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    source = next((candidate for candidate in candidates if candidate.is_file()), None)
    if source is None:
        return False
    kinds = ast.ClassDef | ast.FunctionDef
    body = ast.parse(source.read_bytes()).body
    return any(isinstance(node, kinds) and node.name == name for node in body)


def without_places(record: dict[str, Any]) -> dict[str, Any]:
    """Returns a record with the schema's values for what says where to write or send."""
    schema = DatasetConfig()
    dataset = record.get("dataset", {}) | {"cache": schema.cache, "download": schema.download}
    return record | {"dataset": dataset, "wandb": asdict(WandbConfig()) | {"mode": "disabled"}}
