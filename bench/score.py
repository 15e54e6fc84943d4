"""Scores a folder of predicted label pictures against a folder of true ones, without any training.

    python -m bench.score PREDICTIONS LABELS --classes 11 --void 11

Files pair by their paths below the two folders, without suffix; the overlays of `bench.predict` are
passed over. The table gives fractions as percent and states its conventions; `--json` gives every
convention, for the set and for every image. Needs neither torch nor a data set's config.

The two sides may store other values: labels of 1..11 with void 0 beside predictions of 0..10 are

    --classes 11 --label-values 1..11 --label-void-values 0 --prediction-values 0..10
"""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bench.console import outlive_consoles
from bench.data.files import OVERLAY, SUFFIXES, Pictures, paired, picture_files, some, tell_skipped
from bench.data.stored_values import LARGEST, Coding, check_palettes, spans, value_list
from bench.launch.processes import worker_pool
from bench.metrics.boundaries import TOLERANCE, VOID_RULES, VoidRule, boundary_counts
from bench.metrics.contours import boundary_region_counts, surface_counts
from bench.metrics.regions import confusion_matrix
from bench.metrics.score_table import as_json, as_table
from bench.metrics.scores import Evidence

LABEL_SUFFIXES = SUFFIXES - {".jpg", ".jpeg"}  # what JPEG keeps of a label is no label

# Of an image: confusion (K+1, K+1), boundaries (K, 5), boundary regions (K, 3), surfaces (K, 4).
Result = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code, 2 for what the user can mend."""
    outlive_consoles(essential=True)
    options = _parser().parse_args(arguments)
    try:
        return _score(options)
    except (ValueError, OSError) as error:
        print(f"bench.score: {error}", file=sys.stderr)
        return 2


def _score(options: argparse.Namespace) -> int:
    """Scores and prints.

    Raises:
        ValueError: what the user can mend.
    """
    codings = _codings(options)
    evidence = measure(
        pair_files(options.predictions, options.labels),
        codings,
        tolerance=options.tolerance,
        void_rule=options.void_rule,
        processes=options.processes,
    )
    note = _unseen(evidence, codings[1])
    if note:
        print(f"bench.score: {note}", file=sys.stderr)
    if options.json:
        print(as_json(evidence), flush=True)
        return 0
    labels = codings[1]
    notes = {
        "values": spans(labels.values),
        "of": "files" if codings[0].values == labels.values else "labels",
        "void": spans(labels.void_values) or "none",
        "tolerance": 100 * options.tolerance,
        "void_rule": options.void_rule,
    }
    print(as_table(evidence, labels.values, **notes), flush=True)
    return 0


def pair_files(predictions: Path, labels: Path) -> list[tuple[Path, Path]]:
    """Pairs the label pictures of two folders by name, sorted; overlays are passed over.

    Says on stderr what else is no label picture.

    Raises:
        ValueError: a folder is missing or holds no picture, or a file has no partner.
    """
    folders = _label_files(predictions), _label_files(labels)
    tell_skipped(*folders)
    return list(paired(*folders).values())


def measure(
    pairs: Sequence[tuple[Path, Path]],
    codings: tuple[Coding, Coding],
    *,
    tolerance: float = TOLERANCE,
    void_rule: VoidRule = "ignore_nothing",
    processes: int = 1,
) -> Evidence:
    """Reads and compares (prediction, truth) files, several at a time.

    Args:
        pairs: from `pair_files`.
        codings: what predictions and truths store.
        tolerance: of BF and NSD, as a share of the image diagonal.
        void_rule: of BF, see `boundary_counts`.
        processes: 1 stays in this process.

    Raises:
        ValueError: a file is no index image, holds a value that is neither class nor void, or
            differs in size from its partner; the message names it.
    """
    measure_one = partial(_measure_pair, codings=codings, tolerance=tolerance, void_rule=void_rule)
    workers = min(processes, -(-len(pairs) // 8))  # fewer than 8 images do not repay a start
    if workers == 1:
        results = _collect(map(measure_one, pairs), len(pairs))
    else:
        with worker_pool(workers) as pool:
            results = _collect(pool.map(measure_one, pairs, chunksize=4), len(pairs))
    counts = [np.stack(counted) for counted in zip(*results, strict=True)]
    folder = Path(os.path.commonpath([truth.parent for _, truth in pairs]))
    names = tuple(truth.relative_to(folder).as_posix() for _, truth in pairs)
    return Evidence(names, *counts)


def _unseen(evidence: Evidence, labels: Coding) -> str:
    """Names the classes without a pixel in the truth where void may have swallowed them."""
    pixels = evidence.confusion.sum(axis=(0, 2))  # (K+1,), void last
    absent = [str(labels.values[index]) for index in np.flatnonzero(pixels[:-1] == 0)]
    if not absent or not pixels[-1]:
        return ""
    return (
        f"no label has a pixel of class {some(absent)}, and {100 * pixels[-1] / pixels.sum():.1f} "
        f"% of their pixels are void ({spans(labels.void_values)}); if that is a class, give "
        "--values and --void-values"
    )


def _label_files(folder: Path) -> Pictures:
    """Finds the label pictures of a folder, without the overlays that lie beside some of them."""
    pictures = picture_files(folder, LABEL_SUFFIXES)
    overlays = {f"{name}{OVERLAY}" for name in pictures.paths}
    kept = {name: path for name, path in pictures.paths.items() if name not in overlays}
    return Pictures(folder, kept, pictures.skipped)


def _measure_pair(
    pair: tuple[Path, Path],
    *,
    codings: tuple[Coding, Coding],
    tolerance: float,
    void_rule: VoidRule,
) -> Result:
    prediction, truth = (coding.read(path) for coding, path in zip(codings, pair, strict=True))
    check_palettes(pair, codings, prediction)
    num_classes = len(codings[0].values)
    confusion = confusion_matrix(
        prediction, truth, num_classes=num_classes, void=num_classes, name=str(pair[0])
    )
    boundaries = boundary_counts(
        prediction, truth, num_classes=num_classes, tolerance=tolerance, void_rule=void_rule
    )
    regions = boundary_region_counts(prediction, truth, num_classes=num_classes)
    surfaces = surface_counts(prediction, truth, num_classes=num_classes, tolerance=tolerance)
    return confusion, boundaries, regions, surfaces


def _collect(results: Iterable[Result], total: int) -> list[Result]:
    """Gathers the results; shows progress on a terminal only."""
    return list(tqdm(results, total=total, unit="image", leave=False, disable=None))


def _codings(options: argparse.Namespace) -> tuple[Coding, Coding]:
    """Returns what predictions and labels store, by the options.

    Raises:
        ValueError: naming an option that contradicts another, its value and the remedy.
    """
    if not 0 < options.tolerance < 1:
        raise ValueError(
            f"--tolerance {options.tolerance} must lie between 0 and 1: a share of the diagonal"
        )
    if options.processes < 1:
        raise ValueError(f"--processes {options.processes} must be at least 1")
    label = _coding(options, "label")
    return _coding(options, "prediction"), label


def _coding(options: argparse.Namespace, side: str) -> Coding:
    given, last = vars(options), options.first_class + options.classes - 1
    values = given[f"{side}_values"] or options.values
    if values is None:
        if options.classes < 1 or options.first_class < 0 or last > LARGEST:
            raise ValueError(
                f"--classes {options.classes} with --first-class {options.first_class} means the "
                f"values {options.first_class}..{last}; label files hold 0..{LARGEST}"
            )
        values = tuple(range(options.first_class, last + 1))
    void_values = given[f"{side}_void_values"]
    if void_values is None:
        shared = options.void if options.void_values is None else options.void_values
        if side == "prediction":  # which need not know void, and may mean a class by its value
            void_values = tuple(value for value in shared or () if value not in values)
        elif shared is None:
            raise ValueError("--void is missing: the value of unlabelled pixels, 255 if none are")
        else:
            void_values = shared
    coding = Coding(side, values, void_values)
    coding.check(options.classes)
    return coding


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.score",
        description="Scores predicted label PNGs against true ones: G, C, mIoU and BF.",
    )
    parser.add_argument("predictions", type=Path, help="folder of predicted label pictures")
    parser.add_argument("labels", type=Path, help="folder of true ones of the same names")
    parser.add_argument(
        "--classes", type=int, required=True, help="number of classes, without void"
    )
    parser.add_argument(
        "--void",
        type=value_list,
        help="value of unlabelled pixels, as stored in the files; 255 if there are none",
    )
    parser.add_argument(
        "--first-class",
        type=int,
        default=0,
        help="value of the first class as stored in the files; 1 for labels that count from one. "
        "--void is not shifted: SUN RGB-D is --classes 37 --first-class 1 --void 0 (default: 0)",
    )
    _add_values(parser)
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        help="of BF and NSD, as a share of the image diagonal (default: %(default)s)",
    )
    parser.add_argument(
        "--void-rule",
        choices=VOID_RULES,
        default=VOID_RULES[0],
        help="of BF: mask_prediction makes predictions void where the truth is void "
        "(default: %(default)s, as the authors' script)",
    )
    parser.add_argument("--json", action="store_true", help="every convention, set and images")
    parser.add_argument(
        "--processes",
        type=int,
        default=os.cpu_count() or 1,
        help="images scored at a time (default: number of cores)",
    )
    return parser


def _add_values(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say what the two sides store."""
    for side, which in (("", "both sides"), ("prediction-", "predictions"), ("label-", "labels")):
        parser.add_argument(
            f"--{side}values",
            type=value_list,
            metavar="LIST",
            help=f"what {which} store for the classes, in order: 1,2,5 or 1..11 (default: from "
            "--first-class on)",
        )
        parser.add_argument(
            f"--{side}void-values",
            type=value_list,
            metavar="LIST",
            help=f"what {which} store for void (default: --void)",
        )


if __name__ == "__main__":
    sys.exit(main())
