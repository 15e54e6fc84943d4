"""What the seeds of a table can show: the pooled residual, its assumption, and the power."""

from collections.abc import Sequence
from math import isnan, sqrt
from statistics import median

from bench.metrics.scores import HEADLINE
from bench.metrics.uncertainty import Source, half_width
from reports.compute.estimates import Estimates, Pool
from reports.compute.kept import Evaluated
from reports.compute.pooling import ENOUGH_SEEDS, Residual
from reports.read.runs import warn

POWER = 0.8  # of the differences so large, the share that is shown
WANTED = 0.01  # the difference whose seeds are counted
MOST_SEEDS = 1000
PAIRS = 10  # of networks whose images' error stands for all


def seeds_notes(
    sides: Sequence[Sequence[Evaluated]], pool: Pool, estimates: Estimates
) -> list[str]:
    """Returns what to say under a table of networks with enough seeds; nothing below that.

    Args:
        sides: the evaluations of each network.
        pool: their residuals.
        estimates: for the images' error.
    """
    found = {
        name: (pool[name], source)
        for name, source in _image_sources(sides, estimates).items()
        if name in pool and not isnan(pool[name].variance + source.error)
    }
    if not found:
        return []
    complete = [len(side) for side in sides if len(side) >= ENOUGH_SEEDS]
    return [
        _residual_note({name: left for name, (left, _) in found.items()}, len(complete)),
        _power_note(found, min(complete), len(complete)),
    ]


def detectable(left: Residual, images: Source, seeds: int) -> float:
    """Returns the difference of two networks that is shown with the usual power, as a fraction.

    Args:
        left: the residual over seeds.
        images: the error of a difference over images.
        seeds: of each network.
    """
    sources = [images, Source(sqrt(2 * left.variance / seeds), left.freedom)]
    return half_width(sources) + half_width(sources, level=2 * POWER - 1)


def seeds_needed(left: Residual, images: Source, networks: int) -> int | None:
    """Returns how many seeds show a difference of 1 point; None where no number does."""
    for seeds in range(ENOUGH_SEEDS, MOST_SEEDS + 1):
        more = Residual(left.variance, (networks - 1) * (seeds - 1))
        if detectable(more, images, seeds) <= WANTED:
            return seeds
    return None


def _image_sources(sides: Sequence[Sequence[Evaluated]], estimates: Estimates) -> dict[str, Source]:
    """Returns the images' error of a difference, the median over some pairs."""
    complete = [side for side in sides if len(side) >= ENOUGH_SEEDS]
    changes = []
    for side in complete[1 : PAIRS + 1]:
        try:
            changes.append(estimates.difference(complete[0], side))
        except ValueError as error:  # records are incomplete
            warn(str(error))
    sources = {name: [change[name].sources[0] for change in changes] for name in HEADLINE}
    return {
        name: Source(median(s.error for s in some), some[0].freedom)
        for name, some in sources.items()
        if some
    }


def _residual_note(residuals: dict[str, Residual], networks: int) -> str:
    one = next(iter(residuals.values()))
    sizes = ", ".join(f"{name} {100 * sqrt(r.variance):.1f}" for name, r in residuals.items())
    text = (
        f"Between seeds, with what a seed does to all networks alike taken out: {sizes} points, "
        f"pooled over {networks} networks ({one.freedom} degrees of freedom)."
    )
    unlike = [f"{name} (p {r.p_value:.3f})" for name, r in residuals.items() if not r.is_shared]
    if unlike:
        return (
            f"{text} That the networks share it is rejected in {', '.join(unlike)}: there each "
            "pair has its own seeds only."
        )
    values = [f"{name} {r.p_value:.2f}" for name, r in residuals.items() if not isnan(r.p_value)]
    tested = f"; a test does not reject it (p: {', '.join(values)})" if values else ""
    return f"{text} That the networks share it is an assumption{tested}."


def _power_note(found: dict[str, tuple[Residual, Source]], seeds: int, networks: int) -> str:
    shown = ", ".join(
        f"{name} {100 * detectable(*parts, seeds):.1f}" for name, parts in found.items()
    )
    needed = {name: seeds_needed(*parts, networks) for name, parts in found.items()}
    counts = [f"{name} {count}" for name, count in needed.items() if count]
    text = (
        f"Power: of two networks named beforehand, {seeds} seeds show a difference four times in "
        f"five if it is {shown} points."
    )
    if counts:
        text += f" For 1 point it takes so many seeds: {', '.join(counts)}."
    short = [name for name, count in needed.items() if count is None]
    if short:
        text += f" The images are too few to show 1 point of {', '.join(short)} with any seeds."
    return text
