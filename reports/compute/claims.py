"""What the paper says about its decoder variants (section 3.3), tested on our runs.

A claim holds where the interval of the paired difference bears out every comparison it makes, is
refuted where one comes out the other way round, and is undecided otherwise. Below three seeds there
is no verdict: a third of the differences that one or two seeds separate are gone with the third.
One comparison of many refutes a claim by chance more easily than one alone, so that refutations are
corrected for their number (Bonferroni); that all agree needs no correction. Networks that were not
trained equally long are not compared. A correlation that the
paper asserts is judged by the interval of its rank correlation. Beside each verdict stands what the
paper's own figures say.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import product
from math import isnan

import numpy as np
import pandas as pd

from bench.metrics.uncertainty import Interval
from reports.compute.context import Context
from reports.compute.correlation import rank_correlation
from reports.compute.estimates import Difference, Pool
from reports.compute.groups import (
    CONDITION_OF_COLUMNS,
    Contestant,
    contestants,
    equally_long,
    groups,
    told_apart,
)
from reports.compute.kept import Evaluated
from reports.compute.paper_claims import (
    CLAIMS,
    EQUAL_POINTS,
    FAILS,
    HOLDS,
    Claim,
    own_figures,
    scores_of_table_1,
)
from reports.compute.pooling import ENOUGH_SEEDS, FEW_SEEDS
from reports.compute.tuned import NOTHING_TUNED
from reports.read.published import PAPER_CLASSES, has_published, is_indoor, printed, row_of
from reports.read.runs import Run, code_of, matrix, warn, weighting
from reports.read.tuning import chosen_values

SUPPORTED, REFUTED, UNDECIDED, NO_RUNS = "supported", "refuted", "undecided", "no runs"
TOO_FEW, UNEQUAL = "too few seeds", "unequal"
NO_FIGURES = "no figures"
COLUMNS = ("claim", "verdict", "why", "the paper's own")
WIDTHS = (31, 13, 29, 21)  # of the columns in a terminal of 100


@dataclass(frozen=True)
class ClaimRow:
    """A claim, or one comparison of it: its verdict, what decided it, and the paper's own."""

    claim: str
    verdict: str
    why: str
    paper: str = ""


def claim_lines(
    runs: Sequence[Run],
    context: Context,
    *,
    every: bool = False,
    tuned: bool = False,
    margin: float = EQUAL_POINTS,
) -> list[str]:
    """Formats the claims and correlations for a terminal, for each set of conditions.

    Args:
        runs: any runs.
        context: scores.
        every: each comparison has a row, and not only what decided the claim.
        tuned: sections of tuned networks alone are asked.
        margin: no further apart than so many points counts as "equally well".

    Raises:
        ValueError: no network is tuned, where that is asked for.
    """
    lines: list[str] = []
    for group in groups(runs, (CONDITION_OF_COLUMNS,)):
        config = group[0].config
        if tuned and not chosen_values(config):
            continue
        on = told_apart(group, runs)
        where = f"{config['dataset']['name']}, protocol {config['protocol']['name']}"
        lines += [f"{where}, {on}" if on else where, ""]
        rows = claim_rows(group, context, every=every, margin=margin)
        frame = pd.DataFrame(map(astuple, rows), columns=list(COLUMNS))
        lines += [
            frame.to_markdown(
                index=False, disable_numparse=True, tablefmt="simple", maxcolwidths=list(WIDTHS)
            ),
            "",
        ]
        if few_seeds(group):
            lines += [FEW_SEEDS, ""]
    if tuned and not lines:
        raise ValueError(f"--tuned: {NOTHING_TUNED}")
    return lines[:-1]


def few_seeds(group: Sequence[Run]) -> bool:
    """Says whether some network has too few seeds for a verdict on its architecture."""
    return any(len({run.seed for run in one.runs}) < ENOUGH_SEEDS for one in contestants(group))


def claim_rows(
    group: Sequence[Run], context: Context, *, every: bool = False, margin: float = EQUAL_POINTS
) -> list[ClaimRow]:
    """Tests every claim on the runs of one protocol; arguments as for `claim_lines`."""
    found = contestants(group)
    rows = []
    for claim in CLAIMS:
        weightings, compared = _compared(claim, found, context, margin)
        own = own_figures(claim, weightings, margin)
        rows.append(ClaimRow(claim.words(margin), *_decided(claim, compared), own))
        rows += [ClaimRow("", *one) for one in compared] if every else []
    return [*rows, _scores_correlate(found, context), _size_correlates(found, context)]


def _compared(
    claim: Claim, found: Sequence[Contestant], context: Context, points: float
) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """Makes the comparisons of a claim, as far as there are runs.

    Returns:
        The class weightings of both sides in the first comparison, and (verdict, difference) of
        each.
    """
    changes: list[tuple[str, str, dict[str, Difference], str]] = []
    unequal: list[tuple[str, str]] = []
    used: tuple[str, str] | None = None
    for one, other in product(claim.first, claim.second):
        for weightings in claim.pairs():
            sides = (
                _evaluated(found, one, weightings[0]), _evaluated(found, other, weightings[1])
            )  # fmt: skip
            if all(sides):
                break
        else:
            continue
        used = used or weightings
        if not equally_long(run for side in sides for run, _ in side):
            unequal.append((UNEQUAL, f"not trained equally long ({one}, {other})"))
            continue
        try:
            change = context.estimates.difference(*sides, _pool(weightings, found, context))
        except ValueError as error:  # records are incomplete
            warn(str(error))
            continue
        codes = {code_of((run for run, _ in side), "bench") for side in sides}
        changes.append((one, other, change, "; other bench code" if len(codes) > 1 else ""))
    made = len(changes) * len(claim.metrics)
    return used or claim.pairs()[0], [
        (
            _verdict(change[m], claim.relation, made, points / 100),
            _reason(one, other, m, change[m]) + code,
        )
        for one, other, change, code in changes
        for m in claim.metrics
    ] + unequal


def _pool(weightings: tuple[str, str], found: Sequence[Contestant], context: Context) -> Pool:
    """Estimates the residual from all networks of the weighting that both sides share."""
    if weightings[0] != weightings[1]:
        return {}
    return context.estimates.pool([_evaluated([one], one.label, weightings[0]) for one in found])


def _decided(claim: Claim, compared: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Returns the verdict of a claim, and what decided it."""
    if not compared:
        return NO_RUNS, ""
    for outcome in (REFUTED, UNEQUAL, TOO_FEW, UNDECIDED):
        reasons = [reason for verdict, reason in compared if verdict == outcome]
        if reasons:
            more = f"; {len(reasons) - 1} more" if len(reasons) > 1 else ""
            return outcome, reasons[0] + more
    possible = len(claim.first) * len(claim.second) * len(claim.metrics)
    return SUPPORTED, f"{len(compared)} of {possible} comparisons could be made"


def _evaluated(found: Sequence[Contestant], label: str, weights: str) -> list[Evaluated]:
    runs = [run for one in found if one.label == label for run in one.runs]
    chosen = [run for run in runs if weighting(run) == weights]
    return [(run, e) for run in chosen if (e := run.evaluation(_split(run), None)) is not None]


def _split(run: Run) -> str:
    return str(run.config["protocol"]["evaluation_splits"][0])


def _verdict(change: Difference, relation: str, comparisons: int, margin: float) -> str:
    if not change.is_of_networks:
        return TOO_FEW
    corrected = change.corrected(comparisons)
    if relation == "better":
        return SUPPORTED if change.low > 0 else REFUTED if corrected.high < 0 else UNDECIDED
    if -margin <= change.low and change.high <= margin:
        return SUPPORTED
    return REFUTED if corrected.low > margin or corrected.high < -margin else UNDECIDED


def _reason(one: str, other: str, metric: str, change: Interval) -> str:
    if isnan(change.low):
        return f"{metric}: no evidence by image ({one}, {other})"
    numbers = f"{100 * change.estimate:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
    names = f"{one} - {other}" if one != other else one
    return f"{metric} {numbers} ({names})"


def _scores_correlate(found: Sequence[Contestant], context: Context) -> ClaimRow:
    """Tests section 4.2's remark that C and mIoU rank networks alike."""
    sides = [seeds for one in found if (seeds := _all(one))]
    points = [(e["C"].estimate, e["mIoU"].estimate) for e in map(context.estimates.of, sides)]
    return ClaimRow(
        "C and mIoU are correlated over networks",
        *_correlated(points, "networks", sides),
        _own_correlation(scores_of_table_1(), "Table 1's networks"),
    )


def _size_correlates(found: Sequence[Contestant], context: Context) -> ClaimRow:
    """Tests section 4.2's remark that large classes are segmented well, small ones poorly.

    The accuracy of a class is the mean over networks: classes are few, whatever their number.
    """
    text = "Accuracy of a class grows with its share of the pixels"
    sides = [seeds for one in found if (seeds := _all(one))]
    if not sides:
        return ClaimRow(text, NO_RUNS, "", NO_FIGURES)
    run, evaluation = sides[0][0]
    classes = run.config["dataset"]["classes"]
    pixels = dict(zip(classes, matrix(evaluation)[:-1].sum(axis=1).tolist(), strict=True))
    estimates = [context.estimates.of(seeds) for seeds in sides]
    points = [
        (count, float(np.mean([e[f"accuracy/{name}"].estimate for e in estimates])))
        for name, count in pixels.items()
    ]
    return ClaimRow(
        text, *_correlated(points, "classes", sides), _own_size_correlation(run, pixels)
    )


def _own_size_correlation(run: Run, pixels: dict[str, int]) -> str:
    """Correlates the accuracies that Tables 2 and 5 print for SegNet with the pixels of classes."""
    dataset = run.config["dataset"]["name"]
    table = "5" if is_indoor(dataset) else "2"
    row = row_of(table, "SegNet", "none") if has_published(table, dataset) else None
    accuracy = {
        name: printed(table, row, column.capitalize() if table == "5" else column)
        for name in pixels
        for column in [PAPER_CLASSES.get(name, name)]
    }
    points = [
        (float(pixels[name]), cell.number)
        for name, cell in accuracy.items()
        if cell is not None and cell.number is not None
    ]
    return _own_correlation(points, f"Table {table}'s classes")


def _all(one: Contestant) -> list[Evaluated]:
    return _evaluated([one], one.label, weighting(one.first))


def _correlated(
    points: Sequence[tuple[float, float]], what: str, sides: Sequence[Sequence[Evaluated]]
) -> tuple[str, str]:
    """Judges the rank correlation (Spearman) over so many of what: (verdict, why)."""
    correlation = rank_correlation(points)
    if correlation is None:
        return UNDECIDED, f"no rank correlation over {len(points)} {what}"
    why = (
        f"rank correlation {correlation.estimate:.2f} [{correlation.low:.2f}, "
        f"{correlation.high:.2f}] over {len(points)} {what}"
    )
    if min(len({run.seed for run, _ in seeds}) for seeds in sides) < ENOUGH_SEEDS:
        return TOO_FEW, why
    verdict = SUPPORTED if correlation.low > 0 else REFUTED if correlation.high < 0 else UNDECIDED
    return verdict, why


def _own_correlation(points: Sequence[tuple[float, float]], what: str) -> str:
    correlation = rank_correlation(points)
    if correlation is None:
        return NO_FIGURES
    outcome = HOLDS if correlation.low > 0 else FAILS
    return f"{outcome}: {correlation.estimate:.2f} over {len(points)} of {what}"
