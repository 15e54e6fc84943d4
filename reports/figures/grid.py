"""The paper's Figures 4 and 5: image, truth, and each network's prediction with its errors.

Predictions are the PNGs that evaluation kept. Images and truths are read where the data set lies;
where it is not, predictions stand alone beside each other.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from bench import records
from bench.data.images import read_label
from bench.data.pairs import Pair
from bench.metrics.regions import region_score
from bench.target import build
from reports.figures.style import LINE, plain, styled
from reports.read.runs import Run, matrix, warn

SHOWN = 4  # images: those that dataset.pictures names, or some that are spread evenly
FROM_BEST = "From each network's evaluation with the highest mIoU."
LEGEND_COLUMNS = 7
LABEL_WIDTH = 20  # letters of a network's name in a line
RIGHT, WRONG, VOID = (225, 225, 225), (213, 94, 0), (0, 0, 0)

Colours = NDArray[np.uint8]


@dataclass(frozen=True)
class Predictions:
    """The label maps of one network: the folder of its evaluation with the highest mIoU."""

    name: str
    folder: Path

    def names(self) -> set[str]:
        """The images it holds."""
        below = (path.relative_to(self.folder) for path in self.folder.rglob("*.png"))
        return {path.with_suffix("").as_posix() for path in below}

    def map_of(self, image: str) -> NDArray[np.uint8]:
        """Reads the label map (H, W) of an image."""
        return read_label(self.folder / f"{image}.png")


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
) -> tuple[str, Figure] | None:
    """Draws the grid, a column for each image, and says what it shows.

    All networks are shown on the same images. None where no predictions were kept, or none of one
    image by all networks.
    """
    if not predictions:
        return None
    common = set.intersection(*(one.names() for one in predictions))
    if not common:
        names = ", ".join(one.name for one in predictions)
        warn(f"the pictures of {dataset['name']}: there is no image of which {names} all kept one")
        return None
    for draw in (_with_truth, _alone):
        try:
            return draw(predictions, common, dataset, split)
        except ValueError as error:
            warn(f"the pictures of {dataset['name']}: {error}")
    return None


def _with_truth(
    predictions: Sequence[Predictions], common: set[str], dataset: dict[str, Any], split: str
) -> tuple[str, Figure]:
    pairs = {pair.name: pair for pair in _pairs(dataset, split) if pair.name in common}
    if not pairs:
        raise ValueError(f"none of the kept predictions is of an image under {dataset['root']}")
    chosen = [pairs[name] for name in _chosen(list(pairs), dataset)]
    caption = "Images, truth, predictions (not masked) and their errors; unlabelled truth is black."
    legend = {"unlabelled": VOID, "errors: wrong": WRONG, "errors: right": RIGHT}
    figure = _grid(_rows(predictions, chosen, dataset), [p.name for p in chosen], dataset, legend)
    return f"{caption} {FROM_BEST}", figure


def _alone(
    predictions: Sequence[Predictions], common: set[str], dataset: dict[str, Any], split: str
) -> tuple[str, Figure]:
    chosen = _chosen(sorted(common), dataset)
    rows = [
        (one.name, [_paint(one.map_of(name), dataset) for name in chosen]) for one in predictions
    ]
    caption = (
        f"Predictions alone, of images of split {split}: the images and their truth are not here "
        f"(dataset.root is {dataset.get('root')})."
    )
    return f"{caption} {FROM_BEST}", _grid(rows, chosen, dataset, {})


def _chosen(names: Sequence[str], dataset: dict[str, Any]) -> list[str]:
    """Chooses among the images that all networks have: the named ones, or an even spread."""
    named = [name for name in dataset.get("pictures") or () if name in names]
    if named:
        return named[:SHOWN]
    positions = np.linspace(0, len(names) - 1, min(SHOWN, len(names))).round().astype(int)
    return [names[position] for position in positions]


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
    truths = [pair.label() for pair in chosen]
    rows = [
        ("image", [pair.image() for pair in chosen]),
        ("truth", [_paint(truth, dataset) for truth in truths]),
    ]
    for one in predictions:
        maps = [one.map_of(pair.name) for pair in chosen]
        rows.append((one.name, [_paint(label, dataset) for label in maps]))
        classes = len(dataset["classes"])
        errors = [_errors(*pair, classes) for pair in zip(maps, truths, strict=True)]
        rows.append(("errors", errors))
    return rows


def _paint(label: NDArray[np.uint8], dataset: dict[str, Any]) -> Colours:
    colours = np.zeros((256, 3), np.uint8)  # all that is no class, void too, is black
    colours[: len(dataset["classes"])] = dataset["colours"]
    return colours[label]


def _errors(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int) -> Colours:
    if prediction.shape != truth.shape:
        raise ValueError(
            f"a kept prediction has {prediction.shape} pixels, the truth {truth.shape}; "
            "dataset.root holds another form of the data set"
        )
    painted = np.where((prediction == truth)[..., None], RIGHT, WRONG).astype(np.uint8)
    painted[truth >= classes] = VOID
    return painted


def _grid(
    rows: Sequence[tuple[str, list[Colours]]],
    names: Sequence[str],
    dataset: dict[str, Any],
    legend: dict[str, tuple[int, int, int]],
) -> Figure:
    columns = len(names)
    height, width = rows[0][1][0].shape[:2]
    cell = 2.1
    entries = {**dict(zip(dataset["classes"], dataset["colours"], strict=True)), **legend}
    around = 0.5 + 0.17 * -(-len(entries) // LEGEND_COLUMNS)  # titles and legend, in inches
    with styled():
        size = (columns * cell + 0.6, len(rows) * cell * height / width + around)
        figure = Figure(figsize=size)
        figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
        panels = figure.subplots(len(rows), columns, squeeze=False)
        for line, (title, images) in zip(panels, rows, strict=True):
            for axes, image in zip(line, images, strict=True):
                _show(axes, image)
            line[0].set_ylabel("\n".join(textwrap.wrap(plain(title), LABEL_WIDTH)), fontsize=8)
        for axes, name in zip(panels[0], names, strict=True):
            axes.set_title(plain(name[-30:]), fontsize=7)
        patches = [_patch(*entry) for entry in entries.items()]
        figure.legend(
            handles=patches,
            loc="outside lower center",
            ncols=min(LEGEND_COLUMNS, 2 * columns),
            fontsize=7,
        )
    return figure


def _patch(name: str, colour: Sequence[int]) -> Patch:
    red, green, blue = (channel / 255 for channel in colour)
    return Patch(facecolor=(red, green, blue), edgecolor=LINE, label=plain(name))


def _show(axes: Axes, image: Colours) -> None:
    axes.imshow(image, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
