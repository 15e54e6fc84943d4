"""The numbers in the prose of reports/results/README.md, computed again from the records."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import f as f_distribution

from bench import records
from bench.evidence import read_evidence
from bench.losses import read_losses
from bench.metrics.regions import region_score
from reports.compute.claims import claim_rows
from reports.compute.estimates import Estimates, Pool
from reports.compute.groups import contestants
from reports.compute.kept import Evaluated
from reports.read.costs import read_costs
from reports.read.published import printed
from reports.read.runs import Run, matrix, read_runs
from reports.tables.choice import context_of, numbered_table

RESULTS = Path(__file__).parents[2] / "reports/results"
PROSE = " ".join((RESULTS / "README.md").read_text().split())
SCORES = ("G", "C", "mIoU", "BF")
BILINEAR, SEGNET, FCN = "Bilinear-Interpolation", "SegNet-Basic", "FCN-Basic"
ADDITION, SINGLE = f"{SEGNET}-EncoderAddition", f"{SEGNET}-SingleChannelDecoder"
NO_ADDITION, NO_REDUCTION = f"{FCN}-NoAddition", f"{FCN}-NoDimReduction"
NEITHER = f"{NO_ADDITION}-NoDimReduction"

Change = Callable[[str, str, str], str]


def runs_of(name: str) -> list[Run]:
    return read_runs(records.run_folders(RESULTS / name))


def evaluated(runs: Sequence[Run], split: str) -> list[Evaluated]:
    return [(run, e) for run in runs if (e := run.evaluation(split, None)) is not None]


@pytest.fixture(scope="module")
def estimates() -> Estimates:
    return Estimates(None)


@pytest.fixture(scope="module")
def networks() -> dict[str, Sequence[Run]]:
    return {one.label: one.runs for one in contestants(runs_of("camvid_short"))}


@pytest.fixture(scope="module")
def sides(networks: dict[str, Sequence[Run]]) -> dict[str, list[Evaluated]]:
    return {name: evaluated(runs, "test") for name, runs in networks.items()}


@pytest.fixture(scope="module")
def pool(sides: dict[str, list[Evaluated]], estimates: Estimates) -> Pool:
    return estimates.pool(list(sides.values()))


@pytest.fixture(scope="module")
def points(sides: dict[str, list[Evaluated]], estimates: Estimates) -> dict[str, np.ndarray]:
    """By score, percent: (networks, seeds)."""
    found = [estimates.points(side) for side in sides.values()]
    return {s: 100 * np.array([list(one[s].values()) for one in found]) for s in SCORES}


@pytest.fixture(scope="module")
def change(sides: dict[str, list[Evaluated]], estimates: Estimates, pool: Pool) -> Change:
    def words(score: str, one: str, other: str) -> str:
        found = estimates.difference(sides[one], sides[other], pool)[score]
        ends = (f"{100 * end:.1f}" for end in (found.estimate, found.low, found.high))
        return "{} [{}, {}]".format(*ends)

    return words


def says(words: str) -> None:
    assert words in PROSE, words


def test_what_three_seeds_can_show_and_what_two_drives_differ_by(
    networks: dict[str, Sequence[Run]], sides: dict[str, list[Evaluated]]
) -> None:
    """Of the drives: the mean over all runs."""
    runs = [run for some in networks.values() for run in some]
    (table, *_) = numbered_table("1", runs, context_of(RESULTS / "camvid_short"))
    (power,) = (note for note in table.sections[0].notes if note.startswith("Power"))
    shown = power.partition("if it is G ")[2].partition(" points")[0]
    g, c, miou, bf = (part.split()[-1] for part in shown.split(","))
    says(f"only if it is {g} points of G, {c} of C, {miou} of mIoU or {bf} of BF")
    apart = []
    for run, evaluation in (one for side in sides.values() for one in side):
        evidence = read_evidence(run.folder, evaluation)
        of_drive = np.array([str(name).startswith("0001TP") for name in evidence["names"]])
        one, other = (
            region_score(evidence["confusion"][some].sum(axis=0, dtype=np.int64), "G")
            for some in (of_drive, ~of_drive)
        )
        apart.append(100 * (other - one))
    says(f"differs by {abs(np.mean(apart)):.1f} points between the two")


def test_the_differences_that_decide_the_claims(change: Change) -> None:
    for score in ("G", "C", "mIoU", "BF"):
        says(f"{score} {change(score, SEGNET, NO_ADDITION)}")
        says(f"{score} {change(score, SEGNET, NEITHER)}")
        says(f"{score} +{change(score, ADDITION, SEGNET)}")
    says(f"C differs by {change('C', FCN, SEGNET)} in favour of FCN-Basic")
    says(f"mIoU by {change('mIoU', FCN, SEGNET)}; G and BF do not separate them")
    says(f"in BF, by {change('BF', NO_REDUCTION, FCN)}; undecided in G, C and mIoU")
    costs = {score: change(score, SEGNET, SINGLE) for score in ("C", "mIoU", "BF")}
    says(
        f"in C, by {costs['C']}, mIoU, by {costs['mIoU']}, and BF, by {costs['BF']}; undecided in G"
    )
    says(f"behind SegNet-Basic by {change('BF', SEGNET, BILINEAR)} in BF")
    says(f"mIoU differs by {change('mIoU', SEGNET, BILINEAR)}")
    of_bf = {name: change("BF", name, BILINEAR).split()[0] for name in (SINGLE, ADDITION)}
    says(f"behind five of seven by {of_bf[SINGLE]} to {of_bf[ADDITION]}")
    blind = [change("BF", name, BILINEAR).split()[0] for name in (NO_ADDITION, NEITHER)]
    says(f"without addition ({' and '.join(blind)})")


def test_who_is_behind_and_ahead_of_bilinear_upsampling_over_all_comparisons(
    sides: dict[str, list[Evaluated]], estimates: Estimates, pool: Pool
) -> None:
    others = [name for name in sides if name != BILINEAR]
    ahead: dict[str, set[str]] = {score: set() for score in SCORES}
    for name in others:
        found = estimates.difference(sides[name], sides[BILINEAR], pool)
        for score in SCORES:
            ends = found[score].corrected(len(others) * len(SCORES))
            ahead[score] |= {name} if ends.low > 0 else set()
            assert ends.high > 0  # "it is ahead of none in anything"
    assert ahead["BF"] == {*others} - {NO_ADDITION, NEITHER}
    assert ahead["mIoU"] == {ADDITION, FCN, NO_REDUCTION}


def test_the_verdicts_and_rank_correlations(networks: dict[str, Sequence[Run]]) -> None:
    runs = [run for some in networks.values() for run in some]
    rows = {r.claim: r for r in claim_rows(runs, context_of(RESULTS / "camvid_short"))}
    for claim, words, noun in (
        ("C and mIoU are correlated over networks", "rank correlation {} over eight networks", "8"),
        ("Accuracy of a class", "the mean over networks, {} over eleven classes", "11"),
    ):
        (row,) = (row for name, row in rows.items() if name.startswith(claim))
        figures, _, count = row.why.removeprefix("rank correlation ").partition(" over ")
        assert count.startswith(noun)
        says(words.format(figures))
    verdicts = [row.verdict for row in rows.values()]
    assert verdicts[:7] == [
        "undecided", "refuted", "supported", "supported", "supported", "undecided", "undecided",
    ]  # fmt: skip


def test_what_surprised_us(
    networks: dict[str, Sequence[Run]], points: dict[str, np.ndarray]
) -> None:
    names = [*networks]
    of_seeds = points["G"][names.index(NEITHER)]
    says("test G of {:.1f}, {:.1f} and {:.1f}".format(*of_seeds))
    drop = points["G"][:, 0] - points["G"][:, 2]
    assert (drop > 0).all()
    says(f"with all eight, by {drop.mean():.1f} points in the mean")
    statistic, p_value = seeds_effect(points["G"])
    says(f"F(2, 14) = {statistic:.1f}, p = {p_value:.3f}")
    assert seeds_effect(points["C"])[1] > 0.05
    bf = dict(zip(names, points["BF"], strict=True))
    for some in (
        (BILINEAR, NO_ADDITION, NEITHER),
        (SINGLE,),
        (SEGNET, ADDITION, FCN, NO_REDUCTION),
    ):
        found = np.concatenate([bf[name] for name in some])
        says(f"{found.min():.1f} to {found.max():.1f}")


def seeds_effect(scores: np.ndarray) -> tuple[float, float]:
    """F and p of the seeds in a two-way layout (networks, seeds) with one run a cell."""
    of_networks, of_seeds = scores.mean(axis=1, keepdims=True), scores.mean(axis=0)
    left = scores - of_networks - of_seeds + scores.mean()
    networks, seeds = scores.shape
    freedom = (networks - 1) * (seeds - 1)
    mean_square = networks * of_seeds.var() * seeds / (seeds - 1)
    statistic = float(mean_square / ((left**2).sum() / freedom))
    return statistic, float(f_distribution.sf(statistic, seeds - 1, freedom))


def test_training_and_validation_are_scored_above_the_test_set(
    networks: dict[str, Sequence[Run]],
) -> None:
    above: dict[str, list[float]] = {"train": [], "val": []}
    for run in (run for some in networks.values() for run in some):
        g = {}
        for evaluation in run.evaluations:
            score = 100 * region_score(matrix(evaluation), "G")
            g.setdefault(evaluation["split"], {})[evaluation["iteration"]] = score
        test = g["test"][run.best_iteration]
        above["train"].append(g["train"][run.best_iteration] - test)
        above["val"].append(max(g["val"].values()) - test)
    says(f"{np.mean(above['train']):.1f} points of G above the test set")
    val = above["val"]
    says(f"the best validation {np.mean(val):.1f} ({min(val):.0f} to {max(val):.0f})")


def test_how_much_longer_segnet_basic_takes() -> None:
    costs = read_costs(RESULTS / "camvid_short")
    times = {
        cost.name: cost.quartiles("forward_ms")[0]
        for cost in costs
        if any("360x480" in part for part in cost.setting)
    }
    paper = [printed("1", name, "Infer time (ms)").number for name in (SEGNET, BILINEAR)]
    says(
        f"takes {times[SEGNET] / times[BILINEAR]:.1f} times as long as bilinear upsampling's at "
        f"360x480 on this processor, and {paper[0] / paper[1]:.1f} times in the paper"
    )


def test_segnet_under_the_short_protocol() -> None:
    runs = sorted(runs_of("camvid_short_segnet"), key=lambda run: run.seed)
    assert [run.best_iteration for run in runs] == [650, 650]
    g = {
        (run.seed, e["iteration"]): 100 * region_score(matrix(e), "G")
        for run in runs
        for e in run.evaluations
        if e["split"] == "test"
    }
    says(f"Test G is {g[0, 650]:.1f} and {g[1, 650]:.1f} for the networks that validation chose")
    says(f"and {g[0, 1300]:.1f} and {g[1, 1300]:.1f} for the last ones")
    last = [last_loss(run.folder) for run in runs]
    others = [last_loss(run.folder) for run in runs_of("camvid_short") if run.name == SEGNET]
    says(
        f"({last[0]:.2f} and {last[1]:.2f} over the last 130 iterations; SegNet-Basic's three runs "
        f"{min(others):.2f} to {max(others):.2f})"
    )


def last_loss(folder: Path) -> float:
    losses = [x for line in read_losses(folder) for x in line["losses"]]
    return float(np.mean(losses[-130:]))
