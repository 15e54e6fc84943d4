"""`python -m reports compare A B`: two networks, image by image, and a verdict in one line."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.metrics.scores import HEADLINE
from bench.metrics.uncertainty import Interval
from bench.typed import leaves
from bench.words import ranges
from reports.compute.context import Context
from reports.compute.estimates import (
    BETTER,
    NOT_SEPARATED,
    WORSE,
    Difference,
    with_common_seeds,
)
from reports.compute.groups import contestants, equally_long, groups
from reports.compute.kept import Evaluated
from reports.compute.pooling import ENOUGH_SEEDS
from reports.read.costs import TIMES, Cost, cost_of
from reports.read.runs import Run, code_of
from reports.tables.model import signed, signed_interval

VERDICT_METRIC = "mIoU"
PLACE_ONLY = {
    "runs",
    "device",
    "command",
    "wandb",
    "checkpoint_minutes",
    "rerun",
    "dry_run",
    "seed",
}


@dataclass(frozen=True)
class Comparison:
    """The second network against the first.

    Attributes:
        lines: to print.
        change: of mIoU, as a fraction of 1.
        obstacle: why there is no verdict; empty where there is one.
    """

    lines: list[str]
    change: Difference
    obstacle: str

    def is_worse_by(self, points: float) -> bool:
        """Says whether the second loses more than so many points, by its whole interval.

        Raises:
            ValueError: there is no verdict.
        """
        if self.obstacle:
            raise ValueError(f"--fail-if-worse cannot be answered: {self.obstacle}")
        return 100 * self.change.high < -points


def compare_runs(
    first: Sequence[Run], second: Sequence[Run], context: Context, split: str
) -> Comparison:
    """Compares the second with the first.

    Args:
        first: the runs of one network, which differ in their seed.
        second: likewise.
        context: scores and costs.
        split: whose last (or best) evaluation counts.

    Raises:
        ValueError: a side holds several networks or no evaluation, or the images differ.
    """
    sides = with_common_seeds(_evaluated(first, split), _evaluated(second, split))
    before, after = (context.estimates.of(side) for side in sides)
    if before.keys() != after.keys():
        raise ValueError("the two data sets have different classes; compare runs on one data set")
    change = context.estimates.difference(sides[1], sides[0])
    one, other = first[0], second[0]
    lines = [
        f"A: {_described(sides[0])}",
        f"B: {_described(sides[1])}",
        "",
        _score_table(before, after, change),
        "Each row by itself, not corrected for their number, by the seeds of these two alone:",
        "wider than in tables and claims, which pool over all networks what is left of a seed.",
        "",
        *_cost_lines(one, other, context),
        *_difference_lines(*([run for run, _ in side] for side in sides)),
    ]
    obstacle = _obstacle(one, other, change[VERDICT_METRIC])
    lines += ["", _verdict(change[VERDICT_METRIC], obstacle)]
    return Comparison(lines, change[VERDICT_METRIC], obstacle)


def _evaluated(runs: Sequence[Run], split: str) -> list[Evaluated]:
    if len(contestants(runs)) > 1:
        names = ", ".join(one.label for one in contestants(runs))
        raise ValueError(
            f"{runs[0].folder.parent} holds several networks ({names}); give the folder of one run"
        )
    if len(groups(runs)) > 1:
        raise ValueError(
            f"{runs[0].folder.parent} holds runs of different protocols or data; give the folder "
            "of one run"
        )
    seeds = [run.seed for run in runs]
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise ValueError(
            f"{runs[0].folder.parent} holds several runs of seed {twice}; give the folder of one "
            "run"
        )
    found = [(run, run.evaluation(split, None)) for run in runs]
    complete = [(run, evaluation) for run, evaluation in found if evaluation is not None]
    if not complete:
        states = ", ".join(dict.fromkeys(run.state for run in runs))
        others = dict.fromkeys(
            evaluation["split"] for run in runs for evaluation in run.evaluations
        )
        raise ValueError(
            f"{runs[0].folder} ({states}) has no last evaluation of split {split!r}; wait for it, "
            f"or name another with --split; there are evaluations of {', '.join(others) or 'none'}"
        )
    return complete


def _described(side: Sequence[Evaluated]) -> str:
    run, _ = side[0]
    ordered = sorted(side, key=lambda one: one[0].seed)
    seeds = ranges(run.seed for run, _ in ordered)
    iterations = [str(evaluation["iteration"]) for _, evaluation in ordered]
    shown = iterations[0] if len(set(iterations)) == 1 else ", ".join(iterations)
    protocol = run.config["protocol"]["name"]
    return (
        f"{run.name}, {run.config['dataset']['name']}, protocol {protocol}, iteration {shown}, "
        f"seed {seeds}"
    )


def _score_table(
    before: dict[str, Interval], after: dict[str, Interval], change: dict[str, Difference]
) -> str:
    keys = [*HEADLINE, *(key for key in change if key not in HEADLINE)]
    rows = [
        {
            "": key.removeprefix("accuracy/"),
            "A": f"{100 * before[key].estimate:.1f}",
            "B": f"{100 * after[key].estimate:.1f}",
            "B - A": signed(100 * change[key].estimate, 1),
            "95 % interval": signed_interval(100 * change[key].low, 100 * change[key].high),
            " ": _word(change[key]),
        }
        for key in keys
    ]
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True, tablefmt="simple")


def _word(difference: Difference) -> str:
    verdict = difference.verdict()
    return verdict if verdict in {BETTER, WORSE} else ""


def _cost_lines(one: Run, other: Run, context: Context) -> list[str]:
    """Says what B costs in relation to A, as far as both were measured."""
    ratios = []
    counts = [count for run in (one, other) if (count := run.network.get("parameters"))]
    if len(counts) == 2:
        ratios.append(f"parameters {counts[1] / counts[0]:.2f}")
    costs = [cost_of(context.costs, run) for run in (one, other)]
    if costs[0] and costs[1] and costs[0].setting == costs[1].setting:
        ratios += _ratios(costs[0], costs[1])
    return [f"Cost, B as a multiple of A: {', '.join(ratios) or 'n/a'}"]


def _ratios(before: Cost, after: Cost) -> list[str]:
    ratios = []
    for name in TIMES:
        medians = [found[0] for cost in (before, after) if (found := cost.quartiles(name))]
        if len(medians) == 2:
            ratios.append(f"{name.removesuffix('_ms')} time {medians[1] / medians[0]:.2f}")
    for mode in ("training", "inference"):
        sizes = [size for cost in (before, after) if (size := cost.megabytes(mode))]
        if len(sizes) == 2:
            ratios.append(f"{mode} memory {sizes[1] / sizes[0]:.2f}")
    return ratios


def _difference_lines(first: Sequence[Run], second: Sequence[Run]) -> list[str]:
    """Says in which keys and in what code the sides differ; other networks are of other code."""
    flat = [leaves(_comparable(side[0])) for side in (first, second)]
    differing = [
        f"  {key}: {json.dumps(flat[0].get(key))} -> {json.dumps(flat[1].get(key))}"
        for key in sorted(flat[0].keys() | flat[1].keys())
        if flat[0].get(key) != flat[1].get(key)
    ]
    lines = ["Configuration, A -> B:", *differing] if differing else []
    parts = ["bench"]
    if flat[0].get("arch._target_") == flat[1].get("arch._target_"):
        parts.insert(0, "network")
    codes = [(part, code_of(first, part), code_of(second, part)) for part in parts]
    if other := [f"  {part}: {one} -> {two}" for part, one, two in codes if one != two]:
        head = "Numeric code, A -> B" if differing else "One configuration, but other numeric code"
        lines += [f"{head} (rerun=true makes it one):", *other]
    return lines or ["One configuration."]


def _comparable(run: Run) -> dict[str, Any]:
    found = {key: value for key, value in run.config.items() if key not in PLACE_ONLY}
    if found.get("tuning"):
        found["tuning"] = {k: v for k, v in found["tuning"].items() if k != "tried"}
    return found


def _obstacle(one: Run, other: Run, change: Difference) -> str:
    """Says why there can be no verdict; one network under two protocols may be judged."""
    if one.config["arch"] != other.config["arch"]:
        if one.fingerprint != other.fingerprint:
            return (
                "networks and protocols both differ, so that the difference is not of the networks "
                "alone; compare runs of one fingerprint"
            )
        if not equally_long([one, other]):
            return (
                "the networks were not trained equally long, so that the difference is not of the "
                "networks alone; compare runs of one max_iterations"
            )
    if not change.is_of_networks:
        return (
            f"these weights; needs seeds ({ENOUGH_SEEDS} that both sides have, or as many of "
            f"each; here {change.seeds})"
        )
    return ""


def _verdict(difference: Difference, obstacle: str) -> str:
    span = signed_interval(100 * difference.low, 100 * difference.high)
    change = f"{VERDICT_METRIC} {signed(100 * difference.estimate, 1)} points {span}"
    if obstacle:
        return f"No verdict: {obstacle}: {change}"
    words = {BETTER: "B is better", WORSE: "B is worse"}
    return f"Verdict: {words.get(difference.verdict(), NOT_SEPARATED)}: {change}"
