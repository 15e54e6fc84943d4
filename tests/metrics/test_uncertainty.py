"""Resampling in blocks, and the intervals that follow from it."""

import numpy as np
import pytest
import scipy.stats

from bench.metrics.scores import Conventions, Evidence, all_scores, weighted_scores
from bench.metrics.uncertainty import (
    Resampling,
    Source,
    half_width,
    image_error,
    image_freedom,
    interval,
    resample,
    sequences,
)

K = 3
DEFAULT = Resampling()
TWO_DRIVES = ["0001TP"] * 62 + ["Seq05VD"] * 171  # CamVid's test set


def evidence(quality, seed=0):
    """Evidence of images of 1,000 pixels a class, of which a share `quality` (N,) is right."""
    rng = np.random.default_rng(seed)
    n = len(quality)
    right = rng.binomial(1000, np.broadcast_to(np.asarray(quality)[:, None], (n, K)))
    confusion = np.zeros((n, K + 1, K + 1), np.int64)
    for index in range(K):
        confusion[:, index, index] = right[:, index]
        confusion[:, index, (index + 1) % K] = 1000 - right[:, index]
    counts = np.full((n, K, 5), 1000, np.int32)
    counts[..., 2] = right
    return Evidence(tuple(f"{image:03}.png" for image in range(n)), confusion, counts)


def bootstrap(images, sequence_of, resampling=DEFAULT, level=0.95):
    """The interval of each score over the images, as reports make it."""
    samples = weighted_scores(images, weights=resample(sequence_of, resampling))[0]
    freedom = image_freedom(sequence_of, resampling)
    errors = {name: image_error(each, sequence_of, resampling) for name, each in samples.items()}
    return {
        name: interval(value.item(), [Source(float(errors[name]), freedom)], level=level)
        for name, value in weighted_scores(images)[0].items()
    }


def test_resamples_keep_the_size_of_every_sequence():
    """Each drive contributes as many images as it has, and every image is drawn alike."""
    drawn = resample(TWO_DRIVES, Resampling(resamples=2000))
    assert drawn.shape == (2000, 233)
    assert (drawn[:, :62].sum(axis=1) == 62).all()
    assert (drawn[:, 62:].sum(axis=1) == 171).all()
    assert abs(drawn.mean(axis=0) - 1).max() < 0.2


def test_images_are_drawn_in_blocks_of_neighbours():
    """With two blocks of 20 out of 40, at most four times does a count differ from the next."""
    drawn = resample(["a"] * 40, Resampling(block_length=20, resamples=200))
    changes = (drawn != np.roll(drawn, 1, axis=1)).sum(axis=1)
    assert changes.max() <= 4
    assert (drawn != 1).any()


def test_seed_decides_the_resamples():
    """The same seed draws the same, another one differently."""
    first, again = (resample(TWO_DRIVES, Resampling(seed=3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != resample(TWO_DRIVES, Resampling(seed=4))).any()


def test_sequences_shorter_than_two_blocks_are_resampled_together():
    """Thirty clips of one image vary as a set; alone, none of them could."""
    drawn = resample([str(clip) for clip in range(30)], Resampling(block_length=10))
    assert (drawn.sum(axis=1) == 30).all()
    assert drawn.std(axis=0).min() > 0.5


def test_weights_score_like_the_images_drawn():
    """A resample given as weights scores what scoring its images, repeated, gives."""
    images = evidence(np.linspace(0.2, 0.9, 12))
    weights = resample(["a"] * 12, Resampling(block_length=2, resamples=5))
    conventions = Conventions("union", "tolerance", "union")
    by_weight = weighted_scores(images, conventions, weights)[0]
    for row, weight in enumerate(weights):
        repeated = images.select(np.repeat(np.arange(12), weight))
        for name, value in weighted_scores(repeated, conventions)[0].items():
            assert by_weight[name][row] == pytest.approx(value.item())


def test_interval_of_independent_images_agrees_with_scipy():
    """With blocks of one image, and many of them, this is nearly the percentile bootstrap."""
    images = evidence(np.random.default_rng(1).uniform(0.3, 0.9, 80))
    ours = bootstrap(images, [""] * 80, Resampling(block_length=1, resamples=8000), level=0.9)["BF"]
    per_image = images.boundaries[..., 2].mean(axis=1) / 1000
    theirs = scipy.stats.bootstrap(
        (per_image,), np.mean, confidence_level=0.9, n_resamples=8000, method="percentile", rng=0
    ).confidence_interval
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.05 * width)
    assert ours.estimate == pytest.approx(per_image.mean())


def test_blocks_widen_the_interval_of_a_correlated_drive():
    """Quality that drifts along the drive makes neighbouring frames one observation."""
    drift = 0.6 + 0.3 * np.sin(np.arange(233) / 8)
    blocks, single = (
        bootstrap(evidence(drift), TWO_DRIVES, resampling=Resampling(block_length=length))["mIoU"]
        for length in (10, 1)
    )
    assert blocks.high - blocks.low > 2 * (single.high - single.low)
    assert blocks.low < blocks.estimate < blocks.high


def test_a_difference_on_the_same_resamples_sees_through_hard_images():
    """Two runs on the same images differ by 2 points throughout: the pairing shows it."""
    hard = np.random.default_rng(2).uniform(0.2, 0.9, 233)
    better, worse = evidence(hard + 0.02, seed=1), evidence(hard, seed=2)
    drawn = resample(TWO_DRIVES)
    first, second = (weighted_scores(images, weights=drawn)[0]["G"] for images in (better, worse))
    difference, alone = image_error(np.stack([first - second, first]), TWO_DRIVES)
    assert (first - second).mean() == pytest.approx(0.02, abs=0.003)
    assert difference < 0.2 * alone


def test_sequences_come_from_the_file_name():
    """CamVid's prefix; without a pattern all images are one sequence."""
    names = ["0001TP_008550.png", "Seq05VD_f00000.png", "0001TP_008580.png"]
    assert sequences(names, r"^([^_]+)_") == ["0001TP", "Seq05VD", "0001TP"]
    assert sequences(names, None) == ["", "", ""]


def test_name_outside_the_pattern_is_refused():
    """Naming file and pattern."""
    with pytest.raises(ValueError, match=r"img-5050\.png: the sequence pattern '\^"):
        sequences(["0001TP_008550.png", "img-5050.png"], r"^([^_]+)_")


def test_images_without_labels_change_no_score_and_no_convention():
    """Void truth, on which the network predicts boundaries, is as if it were not there."""
    seen = evidence([0.9, 0.5, 0.7])
    void = np.zeros((1, K + 1, K + 1), np.int64)
    void[0, K, :K] = 1000
    names = (*seen.names, "void.png")
    boundaries = np.concatenate([seen.boundaries, [[[500, 0, 0, 0, 0]] * K]]).astype(np.int32)
    both = Evidence(names, np.concatenate([seen.confusion, void]), boundaries)
    assert all_scores(both) == all_scores(seen)
    for classes in ("ground_truth", "union"):
        conventions = Conventions(boundary_classes=classes)
        assert weighted_scores(both, conventions)[0] == weighted_scores(seen, conventions)[0]


def test_resamples_without_labels_leave_the_interval():
    """One labelled image among void ones: its score is the whole interval; none: n/a."""
    one = evidence([0.9])
    confusion, boundaries = (
        np.concatenate([a, 0 * a, 0 * a]) for a in (one.confusion, one.boundaries)
    )
    three = Evidence(("a", "b", "c"), confusion, boundaries)
    found = bootstrap(three, ["", "", ""], resampling=Resampling(block_length=1))
    expected = weighted_scores(one)[0]
    for name, its in found.items():
        ends = (its.low, its.estimate, its.high)
        assert ends == pytest.approx((expected[name].item(),) * 3)
    nothing = bootstrap(three.select([1, 2]), ["", ""], resampling=Resampling(block_length=1))
    for its in nothing.values():
        assert np.isnan([its.estimate, its.low, its.high]).all()


def test_half_width_of_one_source_is_students():
    """0.02 known with 7 degrees of freedom; of all pairs of 5 networks, Tukey's instead."""
    source = Source(0.02, 7)
    assert half_width([source]) == pytest.approx(0.02 * scipy.stats.t.ppf(0.975, 7))
    tukey = scipy.stats.studentized_range.ppf(0.95, 5, 7) / np.sqrt(2)
    assert half_width([source], networks=5) == pytest.approx(0.02 * tukey)


def test_half_width_of_two_sources_lies_between_their_critical_values():
    """Errors 3 and 4 make 5; a source without error changes nothing, an unknown one everything."""
    few, many = Source(3.0, 2), Source(4.0, 20)
    t_few, t_many = scipy.stats.t.ppf(0.975, [2, 20])
    assert half_width([few, many]) == pytest.approx((9 * t_few + 16 * t_many) / 5)
    assert half_width([few, Source(0.0, 1)]) == half_width([few])
    assert np.isnan(half_width([few, Source(np.nan, 3)]))
    assert half_width([Source(0.0, 2)]) == 0


def test_freedom_is_blocks_less_sequences():
    """CamVid: six blocks of ten frames and seventeen; thirty clips of one image are three."""
    assert image_freedom(TWO_DRIVES) == 6 + 17 - 2
    assert image_freedom([str(clip) for clip in range(30)]) == 3 - 1
    assert image_freedom([""] * 80, Resampling(block_length=1)) == 79


def test_error_of_independent_images_is_that_of_their_mean():
    """Resamples vary by the n-th part of the variance; the error takes the (n-1)-th."""
    values = np.random.default_rng(0).uniform(0, 1, 12)
    how = Resampling(block_length=1, resamples=20_000)
    samples = resample([""] * 12, how) @ values / 12
    assert image_error(samples, [""] * 12, how) == pytest.approx(scipy.stats.sem(values), rel=0.02)


def test_one_image_has_no_error():
    """There is nothing to tell it from."""
    assert np.isnan(image_error(np.ones((2, 5)), ["a"])).all()
