"""The paper's sentences about its networks (section 3.3), and what its own figures say of them.

A sentence that Table 1 itself does not bear out cannot be held against a run, so the paper's own
differences stand beside every verdict. They are of one training run each, without an interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from bench.metrics.scores import HEADLINE
from reports.read.published import BALANCINGS, MEDIAN, UNWEIGHTED, printed

EQUAL_POINTS = 1.0  # "equally well": no further apart than this, in percentage points
ROUNDING = 1e-9  # 82.7 - 81.7 is 1.0000000000000142
HOLDS, FAILS = "holds", "fails"

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

    def words(self, margin: float) -> str:
        """The sentence, with the margin within which networks count as equal, in points."""
        points = f"{margin:g} point{'' if margin == 1 else 's'}"
        return f"{self.text} (within {points})" if self.relation == "equal" else self.text

    def pairs(self) -> Sequence[tuple[str, str]]:
        """Lists the weightings to compare under, the first that can be being meant."""
        return [self.weightings] if all(self.weightings) else [(MEDIAN,) * 2, (UNWEIGHTED,) * 2]


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
                (MEDIAN, UNWEIGHTED),
            ),
            (f"Natural weights raise G of {name}", ("G",), (UNWEIGHTED, MEDIAN)),
        )
    ),
)


def own_figures(claim: Claim, weightings: tuple[str, str], margin: float = EQUAL_POINTS) -> str:
    """Says whether Table 1's test scores bear a claim out, and by how much they fail it at worst.

    Args:
        claim: the sentence.
        weightings: the class weightings of the two sides, as `Claim.pairs` gives them.
        margin: no further apart than so many points counts as equal.
    """
    failures = []
    for one, other in product(claim.first, claim.second):
        for metric in claim.metrics:
            change = _in_table_1(one, metric, weightings[0]) - _in_table_1(
                other, metric, weightings[1]
            )
            short = -change if claim.relation == "better" else abs(change) - margin
            if short > ROUNDING or (claim.relation == "better" and change == 0):
                names = f"{one} - {other}" if one != other else one
                digits = 2 if metric == "BF" else 1  # as the paper prints them
                failures.append((short, f"{metric} {change:+.{digits}f} ({names})"))
    if not failures:
        return HOLDS
    _, worst = max(failures)
    more = f"; {len(failures) - 1} more" if len(failures) > 1 else ""
    return f"{FAILS}: {worst}{more}"


def _in_table_1(network: str, metric: str, weighting: str) -> float:
    """Returns a test score as Table 1 prints it."""
    found = printed("1", network, f"{BALANCINGS[weighting]}/test/{metric}")
    assert found is not None, network
    assert found.number is not None, (network, metric)
    return found.number


def scores_of_table_1(weighting: str = MEDIAN) -> list[tuple[float, float]]:
    """Returns C and mIoU of Table 1's eight networks."""
    networks = ("Bilinear-Interpolation", *VARIANTS)
    return [
        (_in_table_1(network, "C", weighting), _in_table_1(network, "mIoU", weighting))
        for network in networks
    ]
