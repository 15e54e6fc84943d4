"""The paper's Figures 4 and 5: image, truth, and each network's prediction with its errors.

Predictions are the PNGs that evaluation kept. Images and truths are read where the data set lies;
where it is not, there is no such figure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from bench import records
from bench.data.images import read_label
from bench.data.pairs import Pair
from bench.metrics.regions import region_score
from bench.target import build
from reports.figures import LINE, STYLE
from reports.runs import Run, matrix, warn

SHOWN = 4  # images, spread evenly over the split
RIGHT, WRONG, VOID = (225, 225, 225), (213, 94, 0), (0, 0, 0)

Colours = NDArray[np.uint8]


@dataclass(frozen=True)
class Predictions:
    """The label maps of one network: the folder of its evaluation with the highest mIoU."""

    name: str
    folder: Path

    def names(self) -> set[str]:
        """The images it holds."""
        return {path.stem for path in self.folder.glob("*.png")}


def kept_predictions(name: str, runs: Sequence[Run], split: str) -> Predictions | None:
    """Finds the predictions of a network's best evaluation of a split, over seeds and time."""
    found = []
    for run in runs:
        for evaluation in run.evaluations:
            stem = records.evaluation_name(
                split, evaluation["iteration"], evaluation.get("variant", "")
            )
            folder = run.folder / "predictions" / stem
            if evaluation["split"] == split and folder.is_dir():
                found.append((region_score(matrix(evaluation), "mIoU"), str(folder)))
    return Predictions(name, Path(max(found)[1])) if found else None


def qualitative(
    predictions: Sequence[Predictions], dataset: dict[str, Any], split: str
) -> Figure | None:
    """Draws the grid, a column for each image; None where data or predictions are missing."""
    common = set.intersection(*(p.names() for p in predictions)) if predictions else set()
    if not common:
        return None
    try:
        usable = [pair for pair in _pairs(dataset, split) if pair.name in common]
        positions = np.linspace(0, len(usable) - 1, min(SHOWN, len(usable))).round().astype(int)
        chosen = [usable[position] for position in dict.fromkeys(positions.tolist())]
        return _grid(_rows(predictions, chosen, dataset), dataset) if chosen else None
    except ValueError as error:
        warn(f"the pictures of {dataset['name']}: {error}")
        return None


def _pairs(dataset: dict[str, Any], split: str) -> list[Pair]:
    arguments = {"split": split}
    if dataset.get("root") is not None:
        arguments["root"] = dataset["root"]
    pairs: list[Pair] = build("dataset.reader", dataset["reader"], **arguments)
    return pairs[: dataset.get("limit")]


def _rows(
    predictions: Sequence[Predictions], chosen: Sequence[Pair], dataset: dict[str, Any]
) -> list[tuple[str, list[Colours]]]:
    """Reads and paints the grid's rows of pictures, each with its title."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(dataset["classes"])] = dataset["colours"]  # all else, void too, is black
    rows = [
        ("image", [pair.image() for pair in chosen]),
        ("truth", [colours[pair.label()] for pair in chosen]),
    ]
    for one in predictions:
        maps = [read_label(one.folder / f"{pair.name}.png") for pair in chosen]
        rows.append((one.name, [colours[label] for label in maps]))
        errors = [
            _errors(label, pair.label(), len(dataset["classes"]))
            for label, pair in zip(maps, chosen, strict=True)
        ]
        rows.append(("errors", errors))
    return rows


def _errors(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int) -> Colours:
    painted = np.where((prediction == truth)[..., None], RIGHT, WRONG).astype(np.uint8)
    painted[truth >= classes] = VOID
    return painted


def _grid(rows: Sequence[tuple[str, list[Colours]]], dataset: dict[str, Any]) -> Figure:
    columns = len(rows[0][1])
    height, width = rows[0][1][0].shape[:2]
    cell = 2.1
    with rc_context(STYLE):
        size = (columns * cell + 1.0, len(rows) * cell * height / width + 0.9)
        figure = Figure(figsize=size)
        figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
        panels = figure.subplots(len(rows), columns, squeeze=False)
        for line, (title, images) in zip(panels, rows, strict=True):
            for axes, image in zip(line, images, strict=True):
                _show(axes, image)
            line[0].set_ylabel(title.replace("-", "-\n", 1).replace("$", r"\$"), fontsize=8)
        patches = [
            _patch(name, colour)
            for name, colour in zip(dataset["classes"], dataset["colours"], strict=True)
        ]
        patches += [
            _patch("unlabelled", VOID),
            _patch("errors: wrong", WRONG),
            _patch("errors: right", RIGHT),
        ]
        figure.legend(handles=patches, loc="outside lower center", ncols=7, fontsize=7)
    return figure


def _patch(name: str, colour: Sequence[int]) -> Patch:
    red, green, blue = (channel / 255 for channel in colour)
    return Patch(facecolor=(red, green, blue), edgecolor=LINE, label=name.replace("$", r"\$"))


def _show(axes: Axes, image: Colours) -> None:
    axes.imshow(image, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
