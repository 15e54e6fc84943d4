"""The pooled residual against statsmodels, Tukey's intervals against scikit-posthocs and scipy."""

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
import scipy.stats
import statsmodels.formula.api as models
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multicomp import pairwise_tukeyhsd

from bench.metrics.uncertainty import Source, half_width
from reports.compute.pooling import common_layout, residual

NETWORKS, SEEDS = 6, 4


def scores(spread: np.ndarray | float = 1.0, seed: int = 0) -> np.ndarray:
    """Networks (rows) and seeds (columns) with effects of both, and a residual."""
    rng = np.random.default_rng(seed)
    effects = np.arange(NETWORKS)[:, None] + 3 * rng.standard_normal(SEEDS)
    return effects + np.asarray(spread) * rng.standard_normal((NETWORKS, SEEDS))


def test_the_residual_is_that_of_the_two_way_analysis_of_variance() -> None:
    values = scores()
    network, seed = np.indices(values.shape)
    frame = pd.DataFrame({"y": values.ravel(), "n": network.ravel(), "s": seed.ravel()})
    table = anova_lm(models.ols("y ~ C(n) + C(s)", frame).fit())
    found = residual(values)
    assert found.freedom == table.loc["Residual", "df"] == 15
    assert found.variance == pytest.approx(table.loc["Residual", "mean_sq"])


def test_two_networks_alone_are_the_paired_t_test() -> None:
    values = scores()[:2]
    found = residual(values)
    half = half_width([Source(np.sqrt(2 * found.variance / SEEDS), found.freedom)])
    wanted = scipy.stats.ttest_rel(*values).confidence_interval(0.95)
    assert 2 * half == pytest.approx(wanted.high - wanted.low)
    assert found.is_shared


def test_all_pairs_at_once_are_tukeys() -> None:
    """Without effects of seeds the layout is one-way, as the two libraries know it."""
    values = np.add(np.random.default_rng(1).standard_normal((3, 40)), [[0], [0.3], [0.9]])
    variance, freedom = values.var(axis=1, ddof=1).mean(), 3 * 39
    half = half_width([Source(np.sqrt(2 * variance / 40), freedom)], networks=3)
    groups = np.repeat(["a", "b", "c"], 40)
    theirs = pairwise_tukeyhsd(values.ravel(), groups)
    np.testing.assert_allclose(np.diff(theirs.confint, axis=1), 2 * half, rtol=1e-3)
    p_values = scikit_posthocs.posthoc_tukey([*values]).to_numpy()
    middles = values.mean(axis=1)
    separated = abs(middles[:, None] - middles) > half
    assert (separated == (p_values < 0.05)).all()


def test_the_assumption_is_rejected_one_time_in_twenty_and_where_it_is_wrong() -> None:
    equal = [residual(scores(seed=seed)).is_shared for seed in range(200)]
    assert 0.9 < np.mean(equal) <= 0.99
    unlike = np.array([0.02, 0.02, 0.02, 0.02, 0.02, 1.0])[:, None]
    assert np.mean([residual(scores(unlike, seed=seed)).is_shared for seed in range(50)]) < 0.2


def test_a_score_that_is_undefined_or_constant_is_not_tested() -> None:
    assert residual(np.full((3, 3), np.nan)).is_shared
    assert residual(np.ones((3, 3))).variance == 0


def test_a_layout_takes_the_seeds_that_all_networks_have() -> None:
    one = {seed: np.array([seed, 10.0]) for seed in (0, 1, 2, 3)}
    other = {seed: np.array([seed, 20.0]) for seed in (3, 2, 1)}
    layout = common_layout([one, other])
    assert layout is not None
    assert layout.tolist() == [[[1, 2, 3], [1, 2, 3]], [[10] * 3, [20] * 3]]
    assert common_layout([one]) is None
    assert common_layout([one, {0: one[0], 1: one[1]}]) is None
