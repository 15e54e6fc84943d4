"""BF against hand-made masks, brute force with networkx, and laws."""

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt

from bench.data.images import read_label
from bench.metrics.boundaries import (
    BOUNDARY_CLASSES,
    MATCHINGS,
    boundary_counts,
    boundary_f1,
    class_f1,
    image_f1,
)

K = 3
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
TOLERANCES = st.sampled_from([0.01, 0.1, 0.2, 0.35, 0.6])


@st.composite
def map_pairs(draw):
    """A prediction and a truth of one size with values 0..K-1 and void (K or 255)."""
    shape, values = draw(SHAPES), st.sampled_from([*range(K), K, 255])
    return tuple(draw(arrays(np.uint8, shape, elements=values)) for _ in range(2))


def boundary_by_definition(mask):
    """The (row, column) of every pixel whose clipped 2x2 block is not constant."""
    return [
        (i, j)
        for i, j in np.ndindex(mask.shape)
        if len(np.unique(mask[i : i + 2, j : j + 2])) == 2  # slices clip at the border
    ]


def counts_by_definition(prediction, label, tolerance):
    """`boundary_counts` by loops over pixel pairs and networkx's matching."""
    rows = []
    for index in range(K):
        predicted, truth = (boundary_by_definition(m == index) for m in (prediction, label))
        graph = networkx.Graph()
        for p in predicted:
            for t in truth:
                if np.hypot(p[0] - t[0], p[1] - t[1]) <= tolerance * np.hypot(*label.shape):
                    graph.add_edge(("predicted", p), ("truth", t))
        near = [sum(side == name for side, _ in graph) for name in ("predicted", "truth")]
        top = [node for node in graph if node[0] == "predicted"]
        matched = len(networkx.bipartite.hopcroft_karp_matching(graph, top)) // 2
        rows.append([len(predicted), len(truth), matched, *near])
    return np.array(rows)


def counts(prediction, label, **options):
    """`boundary_counts` of K classes."""
    return boundary_counts(prediction, label, num_classes=K, **options)


@settings(max_examples=150, deadline=None)
@given(map_pairs(), TOLERANCES)
def test_counts_agree_with_brute_force(maps, tolerance):
    """Boundaries, maximum matching and nearness of random maps."""
    result = counts(*maps, tolerance=tolerance)
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, counts_by_definition(*maps, tolerance))


@settings(deadline=None)
@given(map_pairs(), TOLERANCES)
def test_one_to_one_never_exceeds_the_tolerance_reading(maps, tolerance):
    """A matched pixel is near one; so holds for the counts, and for F1."""
    result = counts(*maps, tolerance=tolerance)
    assert (result[:, 2] <= result[:, 3:].min(axis=1)).all()
    for classes in BOUNDARY_CLASSES:
        strict, loose = (class_f1(result, matching=m, classes=classes) for m in MATCHINGS)
        assert (np.isnan(strict) | (strict <= loose + 1e-12)).all()


@settings(deadline=None)
@given(map_pairs(), TOLERANCES)
def test_identity_matches_every_boundary_pixel(maps, tolerance):
    """A perfect prediction scores 1 in every reading, in every class that has a boundary."""
    result = counts(maps[0], maps[0], tolerance=tolerance)
    np.testing.assert_array_equal(result, np.repeat(result[:, :1], 5, axis=1))
    for matching in MATCHINGS:
        f1 = class_f1(result, matching=matching, classes="union")
        assert (f1[result[:, 0] > 0] == 1).all()


@settings(deadline=None)
@given(map_pairs(), TOLERANCES)
def test_exchanging_prediction_and_truth_exchanges_their_counts(maps, tolerance):
    """Nearness and matching are symmetric."""
    there, back = counts(*maps, tolerance=tolerance), counts(*maps[::-1], tolerance=tolerance)
    np.testing.assert_array_equal(there, back[:, [1, 0, 2, 4, 3]])


@settings(deadline=None)
@given(map_pairs(), TOLERANCES, st.permutations(range(K)))
def test_relabelling_permutes_and_transposing_changes_nothing(maps, tolerance, order):
    """Class names carry no meaning, and rows and columns are treated alike."""
    rename = np.arange(256, dtype=np.uint8)
    rename[:K] = order
    result = counts(*maps, tolerance=tolerance)
    renamed = counts(*(rename[m] for m in maps), tolerance=tolerance)
    np.testing.assert_array_equal(renamed[list(order)], result)
    np.testing.assert_array_equal(counts(*(m.T for m in maps), tolerance=tolerance), result)


@settings(deadline=None)
@given(map_pairs(), TOLERANCES)
def test_mirroring_is_exact_when_nothing_touches_the_border(maps, tolerance):
    """Mirroring moves every boundary by one pixel, in both maps alike, inside a void frame."""
    framed = [np.pad(m, 1, constant_values=K) for m in maps]
    mirrored = [m[:, ::-1] for m in framed]
    np.testing.assert_array_equal(
        counts(*mirrored, tolerance=tolerance), counts(*framed, tolerance=tolerance)
    )


def test_mirroring_is_not_exact_at_the_border():
    """A corner pixel has 1 boundary pixel at the top left and 3 at the bottom right.

    The 2x2 block reaches to the right and down, and is clipped there; that is the authors' rule.
    """
    corner = np.zeros((5, 5), np.uint8)
    corner[0, 0] = 1
    assert counts(corner, corner)[1, 0] == 1
    assert counts(corner[::-1, ::-1], corner)[1, 0] == 3


def test_isolated_pixel_has_four_boundary_pixels():
    """Itself, the one above, the one on the left and the one between; both classes share them."""
    label = np.zeros((6, 7), np.uint8)
    label[3, 4] = 1
    assert boundary_by_definition(label == 1) == [(2, 3), (2, 4), (3, 3), (3, 4)]
    np.testing.assert_array_equal(counts(label, label), [[4] * 5, [4] * 5, [0] * 5])


@pytest.mark.parametrize("shape", [(5, 7), (1, 9), (9, 1), (1, 1)])
@pytest.mark.parametrize("value", [0, K, 255])
def test_constant_image_has_no_boundary(shape, value):
    """The image border is no boundary, for classes and for void."""
    constant = np.full(shape, value, np.uint8)
    assert not counts(constant, constant).any()


def test_matching_is_maximal_where_greedy_is_not():
    """Boundaries at columns 0, 4 and 4, 8 with 4 pixels of tolerance pair up twice.

    Taking the coincident pair (4, 4) first would leave 0 and 8 alone.
    """
    prediction, label = np.zeros((2, 1, 20), np.uint8)
    prediction[0, 1:5] = 1
    label[0, 5:9] = 1
    np.testing.assert_array_equal(counts(prediction, label, tolerance=0.2)[:2], [[2] * 5] * 2)


def test_one_partner_each_is_what_separates_the_readings():
    """Two predicted edges near a single true one: one of them is matched, both are near."""
    prediction, label = np.zeros((2, 1, 20), np.uint8)
    label[0, 10:] = 1  # one edge, at column 9
    prediction[0, 9] = 1  # two edges, at columns 8 and 9
    np.testing.assert_array_equal(counts(prediction, label, tolerance=0.06)[1], [2, 1, 1, 2, 1])


@pytest.mark.parametrize(("shift", "near"), [((2, 4), 1), ((0, 4), 1), ((3, 4), 0), ((0, 5), 0)])
def test_tolerance_is_four_and_a_half_pixels_at_360x480(shift, near):
    """A squared distance of 20 is near and of 25 is not."""
    label, prediction = np.zeros((2, 360, 480), np.uint8)
    label[100, 100] = 1
    prediction[100 + shift[0], 100 + shift[1]] = 1
    # Of the two 2x2 blocks, the closest pixels are one nearer in each direction that moved.
    result = counts(prediction, label, tolerance=0.0075)
    assert result[1, 0] == result[1, 1] == 4
    assert (result[1, 2] == 4) == bool(near)


def test_distance_equal_to_the_tolerance_counts():
    """At 300x400 a tolerance of 1 % of the diagonal is 5 pixels, though 0.01 has no exact float."""
    label, prediction = np.zeros((2, 300, 400), np.uint8)
    label[:, 200:], prediction[:, 205:] = 1, 1
    assert (counts(prediction, label, tolerance=0.01)[:2] == 300).all()
    prediction[:, 205] = 0
    assert (counts(prediction, label, tolerance=0.01)[:2, 2:] == 0).all()


def test_void_rules_differ_at_the_edge_of_void():
    """The edge between class 0 and void is a true boundary; masking gives it to the prediction."""
    label, prediction = np.zeros((2, 1, 20), np.uint8)
    label[0, 10:] = 255
    np.testing.assert_array_equal(counts(prediction, label)[0], [0, 1, 0, 0, 0])
    np.testing.assert_array_equal(
        counts(prediction, label, void_rule="mask_prediction")[0], [1, 1, 1, 1, 1]
    )
    assert not prediction.any()


def test_f1_of_known_counts():
    """Precision and recall: 1/4 and 1/2 one to one, 3/4 and 1 within the tolerance."""
    row = np.array([[4, 2, 1, 3, 2]])
    one_to_one = class_f1(row, matching="one_to_one", classes="ground_truth")
    tolerance = class_f1(row, matching="tolerance", classes="ground_truth")
    assert (one_to_one.item(), tolerance.item()) == pytest.approx((1 / 3, 6 / 7))


def test_class_rules_and_absent_boundaries():
    """Classes: both sides, truth only, prediction only, neither; then an image with none."""
    image = [[4, 4, 4, 4, 4], [0, 5, 0, 0, 0], [6, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    stack = np.array([image, np.zeros((4, 5), int)])
    for matching in MATCHINGS:
        per_class = class_f1(stack, matching=matching, classes="union")
        np.testing.assert_array_equal(per_class[0], [1, 0, 0, np.nan])
        np.testing.assert_array_equal(
            image_f1(stack, matching=matching, classes="ground_truth"), [1 / 2, np.nan]
        )
        assert boundary_f1(stack, matching=matching, classes="ground_truth") == 1 / 2
        assert boundary_f1(stack, matching=matching, classes="union") == pytest.approx(1 / 3)
        assert np.isnan(boundary_f1(stack[1:], matching=matching, classes="union"))


@pytest.mark.parametrize("num_classes", [37, 150])
def test_many_classes(num_classes):
    """Vertical stripes, one a class: an edge on each side, one only for the first and last."""
    label = np.repeat(np.arange(num_classes, dtype=np.uint8), 3)[None].repeat(4, axis=0)
    result = boundary_counts(label, label, num_classes=num_classes)
    expected = np.full(num_classes, 8)
    expected[[0, -1]] = 4
    np.testing.assert_array_equal(result, expected[:, None].repeat(5, axis=1))


def test_negative_void_is_no_class():
    """Labels of a signed type may mark void as -1."""
    label = np.zeros((1, 20), np.int64)
    label[0, 10:] = -1
    np.testing.assert_array_equal(
        counts(np.zeros_like(label), label, void_rule="mask_prediction")[0], [1] * 5
    )


def test_sizes_that_differ_are_refused():
    """The message names both sizes."""
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        counts(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))


def test_real_labels_agree_with_distance_transforms_and_networkx(camvid_root):
    """One CamVid frame against its neighbour: full size, all classes."""
    paths = sorted((camvid_root / "testannot").glob("0001TP*.png"))[:2]
    prediction, label = (read_label(path) for path in paths)
    result = boundary_counts(prediction, label, num_classes=11)
    for index, (_, _, matched, *near) in enumerate(result):
        edges = []
        for pixels in (prediction, label):
            edge = np.zeros(pixels.shape, bool)
            mask = np.pad(pixels == index, ((0, 1), (0, 1)), mode="edge")
            for other in (mask[:-1, 1:], mask[1:, :-1], mask[1:, 1:]):
                edge |= mask[:-1, :-1] != other
            edges.append(edge)
        if not all(edge.any() for edge in edges):
            continue
        far = [distance_transform_edt(~edge) for edge in edges]
        assert near == [(edges[0] & (far[1] <= 4.5)).sum(), (edges[1] & (far[0] <= 4.5)).sum()]
        assert matched == maximum_matching(*(np.argwhere(edge) for edge in edges), 4.5)


def maximum_matching(predicted, truth, radius):
    """The maximum matching, by networkx, of two point sets (n, 2) and (m, 2)."""
    squared = ((predicted[:, None] - truth) ** 2).sum(axis=2)
    graph = networkx.Graph()
    graph.add_edges_from((("p", p), ("t", t)) for p, t in np.argwhere(squared <= radius**2))
    top = [node for node in graph if node[0] == "p"]
    return len(networkx.bipartite.hopcroft_karp_matching(graph, top)) // 2
