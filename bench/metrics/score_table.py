"""The table and the JSON of `python -m bench.score`: every convention by its name."""

import json
from collections.abc import Sequence
from math import isnan
from typing import Any

from bench.metrics.boundaries import BOUNDARY_CLASSES
from bench.metrics.contours import DISTANCE
from bench.metrics.regions import ABSENT_CLASSES
from bench.metrics.scores import HEADLINE, Evidence, all_scores, weighted_scores

OTHERS = ("FWIoU", "Dice", "image mIoU", "boundary IoU", "NSD")
NOTES = """\
Percent; n/a: undefined. {images} images; class values {values} as stored in the {of}.
G, C, mIoU: one confusion matrix over all images. Pixels whose truth is void (value {void}) are left
  out; void in a prediction counts as wrong. First table: paper_script. Absent classes:
  paper_script    mean over all classes, an absent class counts 0
  ground_truth    mean over the classes in the truth
  union           mean over the classes in truth or prediction
FWIoU: IoU weighted by the pixels of the truth. Dice, boundary IoU: means over classes, the latter
  within {distance:g} % of the diagonal of the contours. image mIoU: mean over images. NSD: share of
  both contours within BF's tolerance of the other, mean over classes, then over images.
BF: F1 of class boundaries within {tolerance:g} % of the image diagonal, mean over classes, then
  over images. First table: one_to_one, ground_truth. Void rule: {void_rule}.
  one_to_one      each boundary pixel serves one partner: maximum matching
  tolerance       a boundary pixel counts if any of the other map is near
  ground_truth    classes with a boundary in the image's truth
  union           classes with a boundary in the image's truth or prediction"""


def as_json(evidence: Evidence) -> str:
    """Returns every score of the set and of each image, null where it is undefined."""
    per_image = {
        name: all_scores(evidence.select([image])) for image, name in enumerate(evidence.names)
    }
    return json.dumps({"set": all_scores(evidence), "per_image": per_image}, allow_nan=False)


def as_table(evidence: Evidence, classes: Sequence[int], **notes: Any) -> str:
    """Lays out the scores of a set, and says by which conventions they are computed.

    Args:
        evidence: of all images.
        classes: the value of each class as stored in the labels.
        notes: what the text below the tables is filled with.
    """
    scores, (of_set, _) = all_scores(evidence), weighted_scores(evidence)
    of_class, bf = scores["per_class"], scores["BF"]
    columns = (of_class["accuracy"], of_class["IoU"], of_class["BF"]["one_to_one"]["ground_truth"])
    blocks: list[list[tuple[Any, ...]]] = [
        [("", *HEADLINE), ("all", *(score.item() for score in of_set.values()))],
        [("class", "accuracy", "IoU", "BF"), *zip(classes, *columns, strict=True)],
        [("absent classes", "C", "mIoU")]
        + [(rule, scores["C"][rule], scores["mIoU"][rule]) for rule in ABSENT_CLASSES],
        [("", *OTHERS), ("all", *(scores["other"][name] for name in OTHERS))],
        [("BF", *BOUNDARY_CLASSES)] + [(matching, *bf[matching].values()) for matching in bf],
    ]
    texts = ["\n".join(_row(*row) for row in block) for block in blocks]
    notes |= {"images": len(evidence.names), "distance": 100 * DISTANCE}
    return "\n\n".join([*texts, NOTES.format(**notes)])


def _row(name: str | int, *cells: str | float | None) -> str:
    """Lays out a name and its figures; fractions become percent."""
    texts = [
        cell
        if isinstance(cell, str)
        else "n/a"
        if cell is None or isnan(cell)
        else f"{cell:.2%}"[:-1]
        for cell in cells
    ]
    return f"{name:<14}" + "".join(f"{text:>14}" for text in texts)
