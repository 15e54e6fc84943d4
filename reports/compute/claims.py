"""What the paper says about its decoder variants (section 3.3), tested on our runs.

A claim holds where the interval of the paired difference bears out every comparison it makes, is
refuted where one comes out the other way round, and is undecided otherwise. One of many refutes it
by chance more easily than one alone, so that refutations are corrected for the number of
comparisons (Bonferroni); that all of them agree needs no correction. A correlation it asserts is
judged by its rank correlation alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from bench.metrics.scores import HEADLINE
from bench.metrics.uncertainty import Interval
from reports.compute.estimates import Difference, Pool
from reports.compute.groups import CONDITION_OF_COLUMNS, Contestant, contestants, groups
from reports.compute.kept import Evaluated
from reports.compute.pooling import ENOUGH_SEEDS
from reports.read.runs import Run, matrix, warn
from reports.tables.notes import FEW_SEEDS
from reports.tables.of_scores import Context

SUPPORTED, REFUTED, UNDECIDED, NO_RUNS = "supported", "refuted", "undecided", "no runs"
EQUAL_POINTS = 1.0  # "equally well": closer than one point; Table 1's own pair differs by up to 2.4
STRONG_CORRELATION = 0.5

VARIANTS = (
    "SegNet-Basic",
    "SegNet-Basic-EncoderAddition",
    "SegNet-Basic-SingleChannelDecoder",
    "FCN-Basic",
    "FCN-Basic-NoAddition",
    "FCN-Basic-NoDimReduction",
    "FCN-Basic-NoAddition-NoDimReduction",
)


@dataclass(frozen=True)
class Claim:
    """That some networks do better than others, or as well, in some scores.

    Attributes:
        text: the paper's sentence in our words.
        first: the networks said to be better, or equal.
        second: those they are compared with; each with each.
        metrics: in which scores.
        relation: better or equal.
        weightings: class weighting of either side; empty: median frequency on both, or else none.
    """

    text: str
    first: Sequence[str]
    second: Sequence[str]
    metrics: Sequence[str] = HEADLINE
    relation: str = "better"
    weightings: tuple[str, str] = ("", "")


CLAIMS = (
    Claim("Fixed bilinear upsampling performs worst", VARIANTS, ("Bilinear-Interpolation",)),
    Claim(
        "SegNet-Basic and FCN-Basic perform equally well",
        ("SegNet-Basic",),
        ("FCN-Basic",),
        relation="equal",
    ),
    Claim(
        "Without the addition of encoder maps, FCN-Basic falls behind SegNet-Basic",
        ("SegNet-Basic",),
        ("FCN-Basic-NoAddition",),
    ),
    Claim(
        "Even with 64 channels all the way up it does, which is larger than SegNet-Basic",
        ("SegNet-Basic",),
        ("FCN-Basic-NoAddition-NoDimReduction",),
    ),
    Claim(
        "Full encoder maps in the decoder do best: addition improves SegNet-Basic",
        ("SegNet-Basic-EncoderAddition",),
        ("SegNet-Basic",),
    ),
    Claim(
        "Full encoder maps in the decoder do best: no reduction improves FCN-Basic",
        ("FCN-Basic-NoDimReduction",),
        ("FCN-Basic",),
    ),
    Claim(
        "A decoder of single-channel filters costs accuracy",
        ("SegNet-Basic",),
        ("SegNet-Basic-SingleChannelDecoder",),
    ),
    *(
        Claim(text, (name,), (name,), metrics, weightings=sides)
        for name in ("SegNet-Basic", "FCN-Basic")
        for text, metrics, sides in (
            (
                f"Median-frequency weights raise C and mIoU of {name}",
                ("C", "mIoU"),
                ("median_frequency", "none"),
            ),
            (f"Natural weights raise G of {name}", ("G",), ("none", "median_frequency")),
        )
    ),
)


def claim_lines(runs: Sequence[Run], context: Context, *, every: bool = False) -> list[str]:
    """Formats the claims and correlations for a terminal, for each set of conditions.

    With `every`, each comparison has a row, and not only what decided the claim.
    """
    lines: list[str] = []
    for group in groups(runs, (CONDITION_OF_COLUMNS,)):
        config = group[0].config
        lines += [f"{config['dataset']['name']}, protocol {config['protocol']['name']}", ""]
        rows = claim_rows(group, context, every=every)
        lines += [
            pd.DataFrame(rows, columns=["claim", "verdict", "why"]).to_markdown(
                index=False,
                disable_numparse=True,
                tablefmt="simple",
                maxcolwidths=[46, None, 36],
            ),
            "",
        ]
        if few_seeds(group):
            lines += [FEW_SEEDS, ""]
    return lines[:-1]


def few_seeds(group: Sequence[Run]) -> bool:
    """Says whether some network has too few seeds for a verdict on its architecture."""
    return any(len({run.seed for run in one.runs}) < ENOUGH_SEEDS for one in contestants(group))


def claim_rows(
    group: Sequence[Run], context: Context, *, every: bool = False
) -> list[tuple[str, str, str]]:
    """Tests every claim on the runs of one protocol: (claim, verdict, why)."""
    found = contestants(group)
    rows = []
    for claim in CLAIMS:
        compared = _compared(claim, found, context)
        rows += [(claim.text, *_decided(claim, compared))]
        rows += [("", *one) for one in compared] if every else []
    return [*rows, _scores_correlate(found, context), _size_correlates(found, context)]


def _compared(claim: Claim, found: Sequence[Contestant], context: Context) -> list[tuple[str, str]]:
    """Makes the comparisons of a claim, as far as there are runs: (verdict, difference)."""
    changes: list[tuple[str, str, dict[str, Difference]]] = []
    for one, other in product(claim.first, claim.second):
        sides = _sides(found, one, other, claim.weightings)
        if sides is None:
            continue
        try:
            change = context.estimates.difference(*sides, _pool(sides, found, context))
        except ValueError as error:  # records are incomplete
            warn(str(error))
            continue
        changes.append((one, other, change))
    made = len(changes) * len(claim.metrics)
    return [
        (_verdict(change[m], claim.relation, made), _reason(one, other, m, change[m]))
        for one, other, change in changes
        for m in claim.metrics
    ]


def _pool(
    sides: tuple[list[Evaluated], list[Evaluated]], found: Sequence[Contestant], context: Context
) -> Pool:
    """Estimates the residual from all networks of the weighting that both sides share."""
    weightings = {str(run.config["protocol"]["class_weights"]) for side in sides for run, _ in side}
    if len(weightings) > 1:
        return {}
    (weighting,) = weightings
    return context.estimates.pool([_evaluated([one], one.label, weighting) for one in found])


def _decided(claim: Claim, compared: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Returns the verdict of a claim, and what decided it."""
    if not compared:
        return NO_RUNS, ""
    for outcome in (REFUTED, UNDECIDED):
        reasons = [reason for verdict, reason in compared if verdict == outcome]
        if reasons:
            more = f"; {len(reasons) - 1} more" if len(reasons) > 1 else ""
            return outcome, reasons[0] + more
    possible = len(claim.first) * len(claim.second) * len(claim.metrics)
    return SUPPORTED, f"{len(compared)} of {possible} comparisons could be made"


def _sides(
    found: Sequence[Contestant], one: str, other: str, weightings: tuple[str, str]
) -> tuple[list[Evaluated], list[Evaluated]] | None:
    """Finds the evaluations of both sides: of one weighting, or of the two that are named."""
    pairs = [weightings] if all(weightings) else [("median_frequency",) * 2, ("none",) * 2]
    for first, second in pairs:
        sides = _evaluated(found, one, first), _evaluated(found, other, second)
        if all(sides):
            return sides
    return None


def _evaluated(found: Sequence[Contestant], label: str, weighting: str) -> list[Evaluated]:
    runs = [run for one in found if one.label == label for run in one.runs]
    chosen = [run for run in runs if run.config["protocol"]["class_weights"] == weighting]
    return [(run, e) for run in chosen if (e := run.evaluation(_split(run), None)) is not None]


def _split(run: Run) -> str:
    return str(run.config["protocol"]["evaluation_splits"][0])


def _verdict(change: Difference, relation: str, comparisons: int) -> str:
    corrected = change.corrected(comparisons)
    if relation == "better":
        return SUPPORTED if change.low > 0 else REFUTED if corrected.high < 0 else UNDECIDED
    margin = EQUAL_POINTS / 100
    if -margin <= change.low and change.high <= margin:
        return SUPPORTED
    return REFUTED if corrected.low > margin or corrected.high < -margin else UNDECIDED


def _reason(one: str, other: str, metric: str, change: Interval) -> str:
    if np.isnan(change.low):
        return f"{metric}: no evidence by image ({one}, {other})"
    numbers = f"{100 * change.estimate:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
    names = f"{one} - {other}" if one != other else one
    return f"{metric} {numbers} ({names})"


def _scores_correlate(found: Sequence[Contestant], context: Context) -> tuple[str, str, str]:
    """Tests section 4's remark that C and mIoU rank networks alike."""
    text = "C and mIoU are correlated over networks"
    estimates = [context.estimates.of(seeds) for one in found if (seeds := _all(one))]
    return text, *_correlated([(e["C"].estimate, e["mIoU"].estimate) for e in estimates])


def _size_correlates(found: Sequence[Contestant], context: Context) -> tuple[str, str, str]:
    """Tests section 4.2's remark that large classes are segmented well, small ones poorly."""
    text = "Accuracy of a class grows with its share of the pixels"
    points = []
    for one in found:
        seeds = _all(one)
        if not seeds:
            continue
        run, evaluation = seeds[0]
        pixels = matrix(evaluation)[:-1].sum(axis=1)
        estimates = context.estimates.of(seeds)
        for name, count in zip(run.config["dataset"]["classes"], pixels, strict=False):
            points.append((float(count), estimates[f"accuracy/{name}"].estimate))
    return text, *_correlated([point for point in points if not np.isnan(point[1])])


def _all(one: Contestant) -> list[Evaluated]:
    first = one.first.config["protocol"]["class_weights"]
    return _evaluated([one], one.label, first)


def _correlated(points: Sequence[tuple[float, float]]) -> tuple[str, str]:
    """Judges the rank correlation (Spearman) of points; three or fewer say nothing."""
    if len(points) <= 3:
        return UNDECIDED, f"{len(points)} points"
    ranks = pd.DataFrame(points).rank().to_numpy()
    if (ranks.std(axis=0) == 0).any():
        return UNDECIDED, f"no spread over {len(points)} points"
    rho = float(np.corrcoef(ranks.T)[0, 1])
    verdict = SUPPORTED if rho >= STRONG_CORRELATION else REFUTED if rho <= 0 else UNDECIDED
    return verdict, f"rank correlation {rho:.2f} over {len(points)} points"
