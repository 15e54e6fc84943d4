"""The paper's Figures 4 and 5: image, truth, and each network's prediction with its errors.

Predictions are the PNGs that evaluation kept. Images and truths are read where the data set lies;
where it is not, or where a record that may be somebody else's names code other than our readers,
predictions stand alone beside each other.
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
from bench.data.images import read_label, shown
from bench.data.pairs import Pair
from bench.target import build
from bench.trust import is_harmless_reader
from reports.figures.style import LINE, plain, styled
from reports.read.runs import Run, warn

SHOWN = 4  # images: those that dataset.pictures names, or some that are spread evenly
LEGEND_COLUMNS = 7
LABEL_WIDTH = 20  # letters of a network's name in a line
WRONG, VOID = (213, 94, 0), (0, 0, 0)
FADED = 0.45  # of a grey image, so that errors stand out on it
NOT_OURS = (
    "the record's dataset.reader calls other code than the readers of bench.data, which no report "
    "does"
)

Colours = NDArray[np.uint8]


@dataclass(frozen=True)
class Predictions:
    """The label maps of one network: the folder of one evaluation, and which one it is."""

    name: str
    folder: Path
    seed: int = 0
    iteration: int = 0

    def names(self) -> set[str]:
        """The images it holds."""
        below = (path.relative_to(self.folder) for path in self.folder.rglob("*.png"))
        return {path.with_suffix("").as_posix() for path in below}

    def map_of(self, image: str) -> NDArray[np.uint8]:
        """Reads the label map (H, W) of an image."""
        return read_label(self.folder / f"{image}.png")


def kept_predictions(
    networks: Sequence[tuple[str, Sequence[Run]]], split: str
) -> list[Predictions]:
    """Finds kept predictions, chosen without looking at how good they are.

    Each network's are of the lowest seed of which all networks kept some, or else of its own
    lowest, at the iteration that the tables report: the one that validation selected, or the last.

    Args:
        networks: names and runs.
        split: whose images.
    """
    found = []
    for name, runs in networks:
        kept = [p for run in runs if (p := _kept(name, run, split))]
        if kept:
            found.append({p.seed: p for p in kept})
    common = set.intersection(*map(set, found)) if found else set()
    return [of_seeds[min(common or of_seeds)] for of_seeds in found]


def _kept(name: str, run: Run, split: str) -> Predictions | None:
    evaluation = run.evaluation(split, None)
    if evaluation is None:
        return None
    iteration, variant = evaluation["iteration"], evaluation.get("variant", "")
    folder = run.folder / "predictions" / records.evaluation_name(split, iteration, variant)
    return Predictions(name, folder, run.seed, iteration) if folder.is_dir() else None


def _origin(predictions: Sequence[Predictions]) -> str:
    """Says which evaluations the pictures are from, and that nothing was picked."""
    seeds = sorted({one.seed for one in predictions})
    whose = f"Seed {seeds[0]}"
    if len(seeds) > 1:
        whose = f"Each network's lowest seed ({', '.join(map(str, seeds))})"
    iterations = sorted({one.iteration for one in predictions})
    return f"{whose}, the reported iteration ({', '.join(map(str, iterations))})."


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
    caption = (
        "Images, truth, predictions (not masked), and what is wrong in them, over the image; "
        "unlabelled truth is black."
    )
    legend = {"unlabelled": VOID, "errors": WRONG}
    figure = _grid(_rows(predictions, chosen, dataset), [p.name for p in chosen], dataset, legend)
    return f"{caption} {_origin(predictions)}", figure


def _alone(
    predictions: Sequence[Predictions], common: set[str], dataset: dict[str, Any], split: str
) -> tuple[str, Figure]:
    chosen = _chosen(sorted(common), dataset)
    rows = [
        (one.name, [_paint(one.map_of(name), dataset) for name in chosen]) for one in predictions
    ]
    why = f"the images and their truth are not here (dataset.root is {dataset.get('root')})"
    if not is_harmless_reader(dataset["reader"]):
        why = NOT_OURS
    caption = f"Predictions alone, of images of split {split}: {why}."
    return f"{caption} {_origin(predictions)}", _grid(rows, chosen, dataset, {})


def _chosen(names: Sequence[str], dataset: dict[str, Any]) -> list[str]:
    """Chooses among the images that all networks have: the named ones, or an even spread."""
    named = [name for name in dataset.get("pictures") or () if name in names]
    if named:
        return named[:SHOWN]
    positions = np.linspace(0, len(names) - 1, min(SHOWN, len(names))).round().astype(int)
    return [names[position] for position in positions]


def _pairs(dataset: dict[str, Any], split: str) -> list[Pair]:
    if not is_harmless_reader(dataset["reader"]):
        raise ValueError(NOT_OURS)
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
    images = [shown(pair.image()) for pair in chosen]
    rows = [
        ("image", images),
        ("truth", [_paint(truth, dataset) for truth in truths]),
    ]
    for one in predictions:
        maps = [one.map_of(pair.name) for pair in chosen]
        rows.append((one.name, [_paint(label, dataset) for label in maps]))
        classes = len(dataset["classes"])
        errors = [_errors(*all_of, classes) for all_of in zip(images, maps, truths, strict=True)]
        rows.append(("errors", errors))
    return rows


def _paint(label: NDArray[np.uint8], dataset: dict[str, Any]) -> Colours:
    colours = np.zeros((256, 3), np.uint8)  # all that is no class, void too, is black
    colours[: len(dataset["classes"])] = dataset["colours"]
    return colours[label]


def _errors(
    image: Colours, prediction: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int
) -> Colours:
    """Paints what is wrong over the image, which is grey and faded."""
    if prediction.shape != truth.shape:
        raise ValueError(
            f"a kept prediction has {prediction.shape} pixels, the truth {truth.shape}; "
            "dataset.root holds another form of the data set"
        )
    grey = 255 - FADED * (255 - image.mean(axis=-1, keepdims=True))
    painted: Colours = np.repeat(grey, 3, axis=-1).round().astype(np.uint8)
    wrong = (prediction != truth) & (truth < classes)
    painted[wrong] = WRONG
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
