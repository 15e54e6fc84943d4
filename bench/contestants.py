"""`python -m bench.contestants`: every configured network, counted, beside the published figures.

Nothing is trained or computed: shapes alone give parameters, multiply-accumulates and the bytes the
decoder keeps of the encoder. `--json` prints a list of objects instead of the table.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from bench.command_line import CONF, compose_config, user_errors
from bench.cost.storage import UNIT_BYTES, retained_bytes
from bench.cost.work import count_work
from bench.run.network import build_network

# What is counted of a network; null in JSON where it could not be.
COUNTED = ("parameters", "model_mb", "gmac", "retained_bytes", "retained_bytes_first_level")


def main() -> None:
    """Prints the contestants."""
    parser = argparse.ArgumentParser(prog="python -m bench.contestants", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these (default: all)")
    parser.add_argument("--classes", type=int, default=11, help="default 11")
    parser.add_argument("--image-size", type=int, nargs=2, default=[360, 480], metavar=("H", "W"))
    parser.add_argument("--config-dir", type=Path, help="a folder with your own arch/ YAML files")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    arguments = parser.parse_args()
    with user_errors(parser):
        rows = [
            count(name, arguments.classes, arguments.image_size, arguments.config_dir)
            for name in arguments.names or configured(arguments.config_dir)
        ]
    print(json.dumps(rows, indent=1) if arguments.json else as_table(rows))


def configured(config_dir: Path | None) -> list[str]:
    """Lists the names that `arch=` takes, ours and those of a user's folder.

    Raises:
        ValueError: the folder has no arch/ with YAML files.
    """
    names = {path.stem for path in (CONF / "arch").glob("*.yaml")}
    if config_dir is not None:
        own = {path.stem for path in (config_dir / "arch").glob("*.yaml")}
        if not own:
            raise ValueError(f"--config-dir {config_dir}: holds no arch/*.yaml")
        names |= own
    return sorted(names)


def count(
    name: str, num_classes: int, image_size: list[int], config_dir: Path | None = None
) -> dict[str, Any]:
    """Counts one network; `error` says why where that cannot be done.

    Raises:
        ValueError: there is no such network in the configuration.
    """
    overrides = [f"arch={name}", f"protocol.image_size={image_size}"]
    config = compose_config(overrides, config_dir)
    config.dataset.classes = [f"class {index}" for index in range(num_classes)]
    row = {"name": name, "row": config.arch["name"], **dict.fromkeys(COUNTED)}
    try:
        with torch.device("meta"):
            network = build_network(config)
        work = count_work(network, image_size)
        retained = retained_bytes(network, image_size)
    except ValueError as error:  # an extra that is not installed, a size the network refuses
        return {**row, "error": str(error)}
    return {
        **row,
        "parameters": work["parameters"],
        "model_mb": work["model_bytes"] / 1e6,
        "gmac": work["multiply_accumulates"] / 1e9,
        "retained_bytes": retained.total if retained else None,
        "retained_bytes_first_level": retained.first_level if retained else None,
        **published_figures(row["row"]),
    }


def published_figures(row: str) -> dict[str, float]:
    """Returns what Tables 1 and 6 print for a network."""
    from reports.read.published import published  # noqa: PLC0415 - pandas, for the published cells

    figures = {}
    for table, column, key, scale in (
        ("1", "Params (M)", "published_parameters", 1e6),
        ("6", "Model size (MB)", "published_model_mb", 1),
    ):
        printed = published().get((table, row, column))
        if printed is not None and printed.number is not None:
            figures[key] = printed.number * scale
    return figures


def as_table(rows: list[dict[str, Any]]) -> str:
    """Formats the contestants for a terminal 100 columns wide."""
    from tabulate import tabulate  # noqa: PLC0415 - with the table only

    counted = [row for row in rows if "error" not in row]
    lines = [
        [
            row["name"],
            f"{row['parameters'] / 1e6:.3f}",
            f"{row['model_mb']:.2f}",
            f"{row['gmac']:.1f}",
            _units(row["retained_bytes_first_level"]),
            _units(row["retained_bytes"]),
            _difference(row),
        ]
        for row in counted
    ]
    head = ["arch=", "params (M)", "MB", "GMAC", "kept, level 1", "kept, all", "published"]
    right = ("left", *["right"] * 5, "left")
    text = [tabulate(lines, head, colalign=right, disable_numparse=True), ""]
    text += [f"{row['name']}: {row['error']}" for row in rows if "error" in row]
    text += [
        "MB: 4 bytes for each parameter. GMAC: multiply-accumulates of one forward pass, batch 1.",
        "kept: what the decoder reads of the encoder, in maps of 180x240 fp32 (172,800 bytes), on",
        "the first pooled level as Table 1 counts, and on all levels; n/a without a bottleneck.",
        "published: parameters of Table 1 (M) or model size of Table 6 (MB), and our difference.",
    ]
    return "\n".join(text)


def _units(count: int | None) -> str:
    return "n/a" if count is None else f"{count / UNIT_BYTES:.4g}"


def _difference(row: dict[str, Any]) -> str:
    for counted, published, unit, scale in (
        ("parameters", "published_parameters", "M", 1e6),
        ("model_mb", "published_model_mb", "MB", 1),
    ):
        if published in row:
            relative = row[counted] / row[published] - 1
            return f"{row[published] / scale:g} {unit} ({relative:+.1%})"
    return ""


if __name__ == "__main__":
    main()
