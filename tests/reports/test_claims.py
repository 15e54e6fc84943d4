"""The paper's sentences: tested on runs, not below three seeds, beside the paper's own figures."""

from collections.abc import Callable
from pathlib import Path

import pytest
from scipy.stats import spearmanr

from bench import records
from reports.compute.claims import ClaimRow, claim_lines, claim_rows
from reports.compute.correlation import rank_correlation
from reports.compute.paper_claims import CLAIMS, Claim, own_figures
from reports.read.runs import read_runs
from reports.tables.choice import context_of

pytest_plugins = ["run_fixtures"]

Make = Callable[..., Path]


@pytest.fixture
def tested(tmp_path: Path) -> Callable[..., dict[str, ClaimRow]]:
    """Tests the claims on the runs of a folder, by their text."""

    def test() -> dict[str, ClaimRow]:
        runs = read_runs(records.run_folders(tmp_path / "runs"))
        return {row.claim: row for row in claim_rows(runs, context_of(tmp_path / "runs"))}

    return test


def many(make_run: Make, seeds: int, **shares: float) -> None:
    for name, share in shares.items():
        for seed in range(seeds):
            make_run(name.replace("_", "-"), share, seed=seed, spread=10 * name.endswith("tion"))


NETWORKS = {
    "SegNet_Basic": 0.8,
    "FCN_Basic": 0.8,
    "Bilinear_Interpolation": 0.5,
    "SegNet_Basic_SingleChannelDecoder": 0.9,
    "FCN_Basic_NoAddition": 0.8,
}
WORST = "Fixed bilinear upsampling performs worst"
EQUAL = "SegNet-Basic and FCN-Basic perform equally well (within 1 point)"
SINGLE = "A decoder of single-channel filters costs accuracy"
ADDITION = "Without the addition of encoder maps, FCN-Basic falls behind SegNet-Basic"
NATURAL = "Natural weights raise G of SegNet-Basic"


def test_claims_are_supported_refuted_or_undecided(
    make_run: Make, tested: Callable[..., dict[str, ClaimRow]]
) -> None:
    """Equal on average, FCN-Basic-NoAddition is better on half of the images."""
    many(make_run, 3, **NETWORKS)
    found = {claim: row.verdict for claim, row in tested().items()}
    assert found[WORST] == "supported"
    assert found[EQUAL] == "supported"
    assert found[SINGLE] == "refuted"
    assert found[ADDITION] == "undecided"
    assert found[NATURAL] == "no runs"


@pytest.mark.parametrize("seeds", [1, 2])
def test_below_three_seeds_there_is_no_verdict(
    make_run: Make, tested: Callable[..., dict[str, ClaimRow]], seeds: int
) -> None:
    many(make_run, seeds, **NETWORKS)
    found = tested()
    assert {row.verdict for row in found.values()} == {"too few seeds", "no runs", "undecided"}
    assert found[WORST].verdict == found[EQUAL].verdict == found[SINGLE].verdict == "too few seeds"
    assert "+30.0 [" in found[WORST].why


def test_the_margin_of_equality_is_chosen_and_shown(make_run: Make, tmp_path: Path) -> None:
    """Three points apart with every seed and image: equal within five, not within one."""
    many(make_run, 3, SegNet_Basic=0.80, FCN_Basic=0.77)
    runs, context = read_runs(records.run_folders(tmp_path / "runs")), context_of(tmp_path / "runs")
    verdicts = {}
    for margin in (1.0, 5.0):
        rows = {row.claim: row for row in claim_rows(runs, context, margin=margin)}
        (row,) = (row for claim, row in rows.items() if "equally well" in claim)
        verdicts[row.claim] = row.verdict, row.paper
    text = EQUAL.partition(" (")[0]
    assert verdicts == {
        f"{text} (within 1 point)": ("refuted", "fails: mIoU +1.3 (SegNet-Basic - FCN-Basic)"),
        f"{text} (within 5 points)": ("supported", "holds"),
    }


def test_a_side_with_too_few_seeds_is_enough_for_no_verdict(
    make_run: Make, tested: Callable[..., dict[str, ClaimRow]]
) -> None:
    many(make_run, 3, SegNet_Basic=0.8)
    many(make_run, 2, SegNet_Basic_SingleChannelDecoder=0.9)
    assert tested()[SINGLE].verdict == "too few seeds"


def test_networks_that_were_not_trained_equally_long_are_not_compared(
    make_run: Make, tested: Callable[..., dict[str, ClaimRow]]
) -> None:
    many(make_run, 3, SegNet_Basic=0.8)
    for seed in range(3):
        make_run("SegNet-Basic-SingleChannelDecoder", 0.5, seed=seed, max_iterations=200)
    row = tested()[SINGLE]
    assert row.verdict == "unequal"
    assert row.why.startswith("not trained equally long (SegNet-Basic, SegNet-Basic-SingleCh")


def test_a_claim_says_that_its_sides_are_of_other_code_of_the_harness(
    make_run: Make, tested: Callable[..., dict[str, ClaimRow]]
) -> None:
    for seed in range(3):
        make_run("SegNet-Basic", 0.8, seed=seed, code={"bench": "1"})
        make_run("SegNet-Basic-SingleChannelDecoder", 0.9, seed=seed, code={"bench": "2"})
        make_run("FCN-Basic", 0.7, seed=seed, code={"bench": "1"})
    found = tested()
    assert "SingleChannelDecoder); other bench code" in found[SINGLE].why
    assert "other bench code" not in found[EQUAL].why


def test_every_comparison_is_shown_when_asked(make_run: Make, tmp_path: Path) -> None:
    many(make_run, 3, SegNet_Basic=0.8, FCN_Basic=0.7)
    runs = read_runs(records.run_folders(tmp_path / "runs"))
    lines = claim_lines(runs, context_of(tmp_path / "runs"), every=True)
    joined = " ".join(" ".join(lines).split())
    for metric in ("G", "C", "BF"):
        assert f"refuted {metric} +10.0 [+10.0, +10.0]" in joined


@pytest.mark.parametrize("seeds", [2, 3])
def test_a_terminal_of_a_hundred_columns_has_the_papers_own_figures(
    make_run: Make, tmp_path: Path, seeds: int
) -> None:
    many(make_run, seeds, **NETWORKS)
    runs = read_runs(records.run_folders(tmp_path / "runs"))
    lines = "\n".join(claim_lines(runs, context_of(tmp_path / "runs"), every=True)).splitlines()
    assert any("the paper's own" in line for line in lines)
    assert max(map(len, lines)) <= 100


# What Table 1 says of its own sentences, by subtraction, in percentage points.
OWN = {
    WORST: "fails: C -2.5 (FCN-Basic-NoAddition - Bilinear-Interpolation); 1 more",
    EQUAL: "fails: BF -2.33 (SegNet-Basic - FCN-Basic)",
    "Full encoder maps in the decoder do best: no reduction improves FCN-Basic": (
        "fails: BF -0.74 (FCN-Basic-NoDimReduction - FCN-Basic)"
    ),
}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.text)
def test_the_papers_own_figures_stand_beside_a_claim(claim: Claim) -> None:
    """58.6 - 61.1 in C, 35.78 - 38.11 and 37.37 - 38.11 in BF; all else holds."""
    assert own_figures(claim, claim.pairs()[0]) == OWN.get(claim.words(1.0), "holds")


def test_the_papers_figures_are_those_of_the_weighting_that_was_compared(
    make_run: Make, tested: Callable[..., dict[str, ClaimRow]]
) -> None:
    """Without class weights SegNet-Basic's mIoU is 1.3 above FCN-Basic's: 46.3 - 45.0."""
    many(make_run, 3, SegNet_Basic=0.8, FCN_Basic=0.8)
    assert tested()[EQUAL].paper == "fails: mIoU +1.3 (SegNet-Basic - FCN-Basic)"


def test_the_papers_classes_are_compared_with_the_pixels_that_they_have(
    make_run: Make, tested: Callable[..., dict[str, ClaimRow]]
) -> None:
    text = "Accuracy of a class grows with its share of the pixels"
    classes = ["Sky", "Road", "Car", "Pole", "SignSymbol"]
    for seed in range(3):
        make_run("SegNet-Basic", 0.8, seed=seed, classes=classes)
    assert tested()[text].paper == "no figures"  # all five have as many pixels
    assert tested()[text].verdict == "undecided"


def test_a_rank_correlation_is_spearmans_and_has_the_interval_of_fishers_z() -> None:
    """By hand: ranks of y are 2 1 4 3 6 5, so rho = 1 - 6 * 6 / (6 * 35) = 29 / 35."""
    points = [(1.0, 5.0), (2.0, 3.0), (3.0, 9.0), (4.0, 8.0), (5.0, 20.0), (60.0, 10.0)]
    found = rank_correlation(points)
    assert found is not None
    assert found.estimate == pytest.approx(29 / 35)
    assert found.estimate == pytest.approx(spearmanr(*zip(*points, strict=True)).statistic)
    # z = ln(32 / 3) / 2 = 1.1836, half-width 1.96 * sqrt(1.06 / 3) = 1.1651
    assert (found.low, found.high) == pytest.approx((0.0185, 0.9819), abs=1e-4)


def test_few_points_say_nothing_however_well_they_are_ordered() -> None:
    assert rank_correlation([(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]) is None
    assert rank_correlation([(1.0, 1.0)] * 9) is None
    four = rank_correlation([(float(i), float(i)) for i in range(4)])
    assert four is not None
    assert four.low < 0 < four.estimate == pytest.approx(1)
