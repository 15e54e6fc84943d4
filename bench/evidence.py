"""Reading an evaluation's evidence, held to the summary beside it. Imports no torch."""

import math
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench import sound_files
from bench.metrics.calibration import BINS
from bench.metrics.regions import summed
from bench.records import evaluation_name, names_digest, read_evaluation, read_json

EVIDENCE_BYTES = 2**30  # an evaluation of 5,050 images and 37 classes has some 40 MB
KINDS = {"U": "text", "iu": "integers"}  # numpy's letters for what arrays must hold
SPLITS = {"splits": dict, "class_weights?": (None, [float])}


def read_evidence(folder: Path, summary: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Reads an evaluation's arrays per image, and holds them to its summary on the disk.

    Args:
        folder: the run.
        summary: with `split`, `iteration` and perhaps `variant`.

    Raises:
        ValueError: they are missing or damaged, or those of another evaluation.
    """
    name = evaluation_name(summary["split"], summary["iteration"], summary.get("variant", ""))
    path = folder / "evaluations" / f"{name}.npz"
    told = read_evaluation(path.with_suffix(".json"))
    arrays = sound_files.read_arrays(path, EVIDENCE_BYTES, told.get("evidence_sha256"))
    _check_evidence(path, arrays, told)
    known = _names_digest_of(folder, summary["split"])
    if known is not None and names_digest(arrays["names"].tolist()) != known:
        raise ValueError(f"{path}: its images are not those that data.json names; restore its own")
    return arrays


def _check_evidence(path: Path, arrays: dict[str, NDArray[Any]], told: dict[str, Any]) -> None:
    """Holds arrays to the summary of their evaluation: names, shapes, kinds, sums."""
    names, confusion = arrays.get("names"), arrays.get("confusion")
    if names is None or confusion is None:
        raise ValueError(f"{path}: has no names or no confusion matrices; remove the evaluation")
    count, size = told.get("images", len(names) if names.ndim else 0), len(told["confusion"])
    wanted = {
        "names": ("U", (count,)),
        "confusion": ("iu", (count, size, size)),
        "boundaries": ("iu", (count, size - 1, 5)),
        "boundary_regions": ("iu", (count, size - 1, 3)),
        "surfaces": ("iu", (count, size - 1, 4)),
        "calibration": ("iu", (count, BINS, 3)),
    }
    for key, (kinds, shape) in wanted.items():
        array = arrays.get(key)
        if array is not None and (array.dtype.kind not in kinds or array.shape != shape):
            raise ValueError(
                f"{path}: {key} is {array.dtype} {array.shape} and not {KINDS[kinds]} {shape}; "
                "remove the evaluation"
            )
        if array is not None and key != "names" and math.prod(shape) and array.min() < 0:
            raise ValueError(f"{path}: {key} has a negative count; remove the evaluation")
    if len(set(names.tolist())) != count:
        raise ValueError(f"{path}: names an image twice; remove the evaluation")
    if summed(confusion).tolist() != told["confusion"]:
        raise ValueError(
            f"{path}: its confusion matrices are not those summed up in {path.stem}.json; "
            "it is another evaluation's file, or damaged"
        )


def _names_digest_of(folder: Path, split: str) -> str | None:
    """Returns the digest of a split's names from data.json; older records have none."""
    path = folder / "data.json"
    if not path.exists():
        return None
    content = read_json(path)
    sound_files.require(path, content, SPLITS)
    entry = content["splits"].get(split)
    return entry.get("names") if isinstance(entry, dict) else None
