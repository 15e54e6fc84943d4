"""What stands under a table: deviations from the paper, machines, conventions, how to read it.

Deviations are found, not declared: a run's protocol is compared with the one that conf/protocol
gives for the paper's table.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from bench.metrics.boundaries import TOLERANCE
from bench.metrics.scores import Conventions
from bench.metrics.uncertainty import BLOCK_LENGTH
from bench.protocol import ProtocolConfig
from bench.records import State
from bench.typed import leaves, neutral_values
from reports.compute.groups import Contestant, pretraining
from reports.compute.pooling import ENOUGH_SEEDS, FEW_SEEDS
from reports.read.published import (
    IN_CAPTION,
    MEDIAN,
    SOURCE,
    UNWEIGHTED,
    has_published,
    printed,
    row_of,
)
from reports.read.runs import Run, conditions, weighting
from reports.tables.conditions import condition_notes, frozen_note
from reports.tables.model import Column

CONF = Path(__file__).parents[2] / "conf"
ROAD_IMAGES = 3433  # section 4.1: the images that Tables 2 and 3 were trained on
# Keys whose value changes no definition of the experiment, or that a column shows.
NOT_A_DEVIATION = {
    "protocol.name", "protocol.channels_last", "protocol.compile", "protocol.deterministic",
}  # fmt: skip
# Class weightings of the paper's own rows; Table 1's columns say theirs.
WEIGHTINGS = {"2": {UNWEIGHTED, MEDIAN}, "4": {UNWEIGHTED, MEDIAN}}
TABLE_2 = (
    "Class weights: section 4.1 says that SegNet was trained with median frequency balancing for "
    "Table 2; the figures printed there are those of Table 3's last column, trained without. "
    "These runs: class_weights {}."
)


@cache
def paper_protocol(number: str) -> dict[str, Any]:
    """Returns the protocol that conf/protocol gives for a table, by dotted keys."""
    files = ["paper", "table1"] if number == "1" else ["paper"]
    merged = OmegaConf.merge(*(OmegaConf.load(CONF / "protocol" / f"{f}.yaml") for f in files))
    plain = OmegaConf.to_container(merged)
    assert isinstance(plain, dict)
    found = neutral_values(ProtocolConfig, "protocol") | leaves(plain["protocol"], "protocol")
    if number in {"4", "5"}:
        found["protocol.batch_size"] = 4  # section 4
    return found


def deviations(number: str, run: Run) -> list[str]:
    """Says in which settings a run departs from the protocol of a table."""
    known_weighting = number == "1" or weighting(run) in WEIGHTINGS.get(number, ())
    left_out = {*NOT_A_DEVIATION, *({"protocol.class_weights"} if known_weighting else ())}
    ours = conditions(run)
    found = [
        f"{key.removeprefix('protocol.')} {_plain(ours[key])} (paper {_plain(value)})"
        for key, value in paper_protocol(number).items()
        if key in ours and ours[key] != value and key not in left_out
    ]
    limit = run.config["dataset"].get("limit")
    if limit is not None:
        found.append(f"dataset.limit {limit} (paper all images)")
    split = run.config["protocol"].get("train_split", "train")
    images = run.data.get("splits", {}).get(split, {}).get("images")
    if number in {"2", "3"} and images not in {None, ROAD_IMAGES}:
        found.append(f"{images} training images (paper {ROAD_IMAGES})")
    return found


def row_marks(number: str, one: Contestant) -> list[str]:
    """Returns the deviations of one network: what it started from, where it stopped."""
    paper_row = row_of(number, one.first.name, weighting(one.first))
    if paper_row is None:
        return []
    marks = published_marks(paper_row)
    network = one.first.network
    if number != "1" and network and not network.get("loaded_weights"):
        marks.append(f"{network.get('initialisation')}; the paper starts from VGG-16 weights")
    longest = printed(number, paper_row, "Max iter")
    last = one.first.config["max_iterations"]
    if longest and longest.number and last < longest.number:
        marks.append(f"trained for {last} iterations; the paper, {longest.number:.0f}")
    return marks


def published_marks(paper_row: str) -> list[str]:
    """Says where a published row stands, if it is in no table."""
    if paper_row != IN_CAPTION:
        return []
    iterations = printed("4", IN_CAPTION, "Max iter")
    assert iterations is not None
    return [f"published in Table 4's caption, after {iterations.text} iterations"]


def state_marks(one: Contestant) -> list[str]:
    """Returns what befell the runs of a network that did not finish, and what was frozen."""
    several = len({weighting(run) for run in one.runs}) > 1
    lines = frozen_note(one.first)
    for run in one.runs:
        if run.state != State.finished:
            weights = f", class weights {weighting(run)}" if several else ""
            state = run.state.replace("_", " ") + (f": {run.detail}" if run.detail else "")
            lines.append(f"seed {run.seed}{weights}: {state}")
    return lines


def section_notes(number: str, group: Sequence[Run], ours: Sequence[Contestant]) -> list[str]:
    """Returns what must be known to read the figures of a section."""
    notes = []
    dataset = group[0].config["dataset"]
    if has_published(number, dataset["name"]):
        found = deviations(number, group[0])
        if found:
            notes.append("Deviations from the paper: " + "; ".join(found) + ".")
        if number == "2":
            notes.append(TABLE_2.format(weighting(group[0])))
    if len(ours) > 1 and any(len({run.seed for run in one.runs}) < ENOUGH_SEEDS for one in ours):
        notes.append(FEW_SEEDS)
    notes += dict.fromkeys(note for run in group for note in _postprocessing_notes(run))
    return [*notes, *condition_notes(group, ours)]


def background_notes(group: Sequence[Run], ours: Sequence[Contestant]) -> list[str]:
    """Returns what stands behind the figures: data set, initialisation, machines."""
    notes = []
    dataset = group[0].config["dataset"]
    if dataset.get("note"):
        notes.append(" ".join(dataset["note"].split()))
    if dataset.get("sequence") is None:
        notes.append("The data set names no sequences: intervals take its images as independent.")
    started: dict[str, list[str]] = {}
    for one in ours:
        start = one.first.network.get("initialisation")
        if start:
            started.setdefault(start, []).append(one.label)
    notes += [f"Started from {start}: {', '.join(names)}." for start, names in started.items()]
    notes += [
        f"Weights that {one.label} loaded, {pretraining(one.first)}: digest {digest[:12]}."
        for one in ours
        if (digest := one.first.network.get("weights_digest"))
    ]
    return notes + machines([run.environment for run in group])


def _postprocessing_notes(run: Run) -> list[str]:
    """Says what a post-processing was set to and what it costs, where its record tells."""
    notes = []
    for evaluation in run.evaluations:
        if not {"variant", "parameters"} <= evaluation.keys():
            continue
        settings = ", ".join(f"{key} {value}" for key, value in evaluation["parameters"].items())
        text = f"{run.name}: {settings}"
        if "searched_images" in evaluation:
            text += f", searched on {len(evaluation['searched_images'])} training images"
        if {"passes", "seconds_per_image"} <= evaluation.keys():
            text += (
                f"; {evaluation['passes']} views of an image, together "
                f"{evaluation['seconds_per_image']:.2f} s"
            )
        elif "seconds_per_image" in evaluation:
            text += (
                f"; {evaluation['seconds_per_image']:.2f} s an image on "
                f"{evaluation['processes']} processes, the network included, at most "
                f"{evaluation['peak_resident_bytes'] / 1e6:.0f} MB each"
            )
        notes.append(text + ".")
    return notes


def machines(environments: Sequence[dict[str, Any]]) -> list[str]:
    """Says on what, and with what, the figures were made; one line for each combination."""
    lines = dict.fromkeys(
        ", ".join(
            [
                str(e.get("device", "unknown device")),
                f"CPU threads {e.get('threads', 'n/a')}",
                f"torch {e.get('torch', 'n/a')}",
                *([f"CUDA {e['cuda']}"] if e.get("cuda") else []),
                *([f"driver {e['driver']}"] if e.get("driver") else []),
                f"Python {e.get('python', 'n/a')}",
                f"commit {_commit(e.get('commit'))}",
            ]
        )
        for e in environments
        if e
    )
    return [f"Made on {line}." for line in lines]


def _commit(commit: str | None) -> str:
    """Shortens a commit; a + says that the sources had changed since."""
    if not commit:
        return "n/a"
    return commit[:10] + ("+" if commit.endswith("+") else "")


def table_notes(number: str, columns: Sequence[Column], conventions: Conventions) -> list[str]:
    """Returns the notes that hold for a whole table: bold, intervals, metrics, source."""
    notes = [
        "Bold (* in plain text): the best of a column and every network that is not separated from "
        "it, on the same images and seed by seed, at 5 % over all pairs of the column (Tukey). "
        f"Networks with fewer than {ENOUGH_SEEDS} seeds are not ranked.",
        f"Figures are means over seeds. [ ]: 95 % interval, by Student's t, for other images of "
        f"the same sequences (resamples in blocks of {BLOCK_LENGTH} frames; not for other drives) "
        f"and, with {ENOUGH_SEEDS} seeds or more, for other seeds; below, it is of these weights. "
        "Not corrected for the number of figures.",
        "In percent. G: labelled pixels that are right; C: mean accuracy of the classes; mIoU: "
        "mean over classes of intersection over union on the whole set; void pixels do not count. "
        f"BF: F1 of boundaries within {100 * TOLERANCE:g} % of the diagonal, mean over classes, "
        f"then over images; edges of void regions count. Conventions: {conventions}.",
    ]
    if number == "1" and any(column.source[:1] == ("storage",) for column in columns):
        notes.append(
            "Storage multiplier: what the first level keeps for the decoder, in fp32 maps of its "
            "size. Infer time: median of the forward pass at batch 1, with its quartiles."
        )
    if any(column.published for column in columns):
        notes.append(f"Published figures, and ours minus them in parentheses: {SOURCE}.")
    return notes


def _plain(value: Any) -> str:
    if isinstance(value, list):
        numbers = all(isinstance(part, int) for part in value)
        return ("x" if numbers else " and ").join(map(str, value))
    return "none" if value is None else str(value)
