"""Gaussian filtering of values at scattered points on the permutohedral lattice, in plain torch.

Source: Adams, Baek, Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice",
Eurographics 2010. Values are splatted from each point onto the d + 1 vertices of the simplex that
holds it, blurred along the d + 1 lattice axes, and sliced back with the same weights. The cost is
linear in the points, whatever the width of the Gaussian; comparing all pairs would be quadratic.

All three steps are weighted sums of rows, that is, `embedding_bag`: several times faster on the
CPU than gathering and adding, the same call on CUDA, and free of atomics, hence deterministic.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, Self, get_args

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

Normalisation = Literal["after", "symmetric"]

# Beyond this, float32 places a point within its simplex to fewer than 5 bits.
LARGEST_COORDINATE = 2.0**20

TOO_FINE = (
    "the lattice is too fine to be indexed: the standard deviations are too small for the range "
    "of the positions or colours; make them larger"
)


@dataclass(frozen=True)
class Lattice:
    """The lattice under N points: built once, then a linear map that serves any values.

    N points in d dimensions touch M vertices. Vertex number M stands for every neighbour that no
    point touches: nothing is splatted onto it, so it reads as zero.
    """

    splat_points: Tensor  # (N * (d + 1),) int32, points in the order of the vertex they touch
    splat_weights: Tensor  # (N * (d + 1),) float32
    splat_starts: Tensor  # (M + 1,) int32, where each vertex begins in the two above
    blur_vertices: Tensor  # (d + 1, M + 1, 3) int32: previous, self and next along each axis
    blur_weights: Tensor  # (M + 1, 3) float32
    slice_vertices: Tensor  # (N, d + 1) int32
    slice_weights: Tensor  # (N, d + 1) float32

    @classmethod
    def build(cls, features: Tensor) -> Self:
        """Builds the lattice for a Gaussian of unit standard deviation.

        Args:
            features: (N, d) float32 positions, already divided by the standard deviations wanted.

        Returns:
            The lattice, on the device of `features`. Its kernel is proportional to the Gaussian;
            see `normalised`.

        Raises:
            ValueError: if the positions are too far apart for the lattice to be indexed.
        """
        points, dimensions = features.shape
        axes_count = dimensions + 1
        origin, axes, weights = _enclosing_simplex(features)
        keys, steps = _vertex_keys(origin, axes)

        # Sorting every (point, vertex) pair by its vertex yields the numbering and the splat.
        sorted_keys, order = keys.flatten().sort(stable=True)
        vertices, number, counts = torch.unique_consecutive(
            sorted_keys, return_inverse=True, return_counts=True
        )
        starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        blur_weights = torch.tensor([0.25, 0.5, 0.25], device=features.device)
        return cls(
            splat_points=(order // axes_count).int(),
            splat_weights=weights.flatten()[order],
            splat_starts=starts.int(),
            blur_vertices=_neighbours(vertices, steps),
            blur_weights=blur_weights.repeat(len(starts), 1),
            slice_vertices=torch.empty_like(order)
            .scatter_(0, order, number)
            .view(points, axes_count)
            .int(),
            slice_weights=weights,
        )

    def filter(self, values: Tensor) -> Tensor:
        """Filters every column of `values`, (N, C) float32 -> (N, C)."""
        vertices = embedding_bag(
            self.splat_points,
            values,
            self.splat_starts,
            mode="sum",
            per_sample_weights=self.splat_weights,
        )  # (M + 1, C)
        for along_axis in self.blur_vertices:
            vertices = embedding_bag(
                along_axis, vertices, mode="sum", per_sample_weights=self.blur_weights
            )
        return embedding_bag(
            self.slice_vertices, vertices, mode="sum", per_sample_weights=self.slice_weights
        )

    def normalised(self, normalisation: Normalisation) -> Self:
        """Returns the lattice with its kernel divided by m = K 1, the weight each point receives.

        Args:
            normalisation: `after`, K / m, under which every output is a weighted mean; or
                `symmetric`, m^-1/2 K m^-1/2.

        Raises:
            ValueError: if `normalisation` is neither.
        """
        if normalisation not in get_args(Normalisation):
            raise ValueError(
                f"normalisation={normalisation!r} is unknown: use one of {get_args(Normalisation)}"
            )
        mass = self.filter(self.slice_weights.new_ones(len(self.slice_weights), 1))  # (N, 1)
        # The divisors go into the weights, so that filtering costs what it did before.
        if normalisation == "after":
            return replace(self, slice_weights=self.slice_weights / mass)
        root = mass.sqrt()
        return replace(
            self,
            slice_weights=self.slice_weights / root,
            splat_weights=self.splat_weights / root[self.splat_points, 0],
        )


@lru_cache(maxsize=8)  # data sets have few sizes; a 360x480 filter holds 10 MB
def smoothness_lattice(
    height: int,
    width: int,
    sigma_gamma: float,
    normalisation: Normalisation = "after",
    device: torch.device | None = None,
) -> Lattice:
    """The Gaussian of position alone; kept, since it is the same for every image of a size."""
    positions = _positions(height, width, device)
    return _build(positions / sigma_gamma, normalisation, f"sigma_gamma={sigma_gamma}")


def appearance_lattice(
    image: Tensor,
    sigma_alpha: float,
    sigma_beta: float,
    normalisation: Normalisation = "after",
) -> Lattice:
    """The Gaussian of position and colour, for one (H, W, 3) uint8 image, on its device."""
    height, width, _ = image.shape
    positions = _positions(height, width, image.device)
    features = torch.cat([positions / sigma_alpha, image.flatten(0, 1).float() / sigma_beta], dim=1)
    return _build(features, normalisation, f"sigma_alpha={sigma_alpha}, sigma_beta={sigma_beta}")


def _positions(height: int, width: int, device: torch.device | None) -> Tensor:
    """(H * W, 2) float32 pixel positions (x, y), row-major."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    return torch.stack([x, y], dim=2).flatten(0, 1).float()


def _build(features: Tensor, normalisation: Normalisation, parameters: str) -> Lattice:
    try:
        return Lattice.build(features).normalised(normalisation)
    except ValueError as error:
        raise ValueError(f"{parameters}: {error}") from None


def _enclosing_simplex(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Finds the simplex that holds each point (Adams et al. 2010, section 3).

    The lattice lies in the hyperplane of R^(d+1) whose coordinates sum to zero. The d + 1 vertices
    of a simplex are reached from its `origin` (all coordinates multiples of d + 1) by walking along
    the axes in the order of ascending residual.

    Returns:
        origin (N, d + 1) int64, in units of d + 1; axes (N, d + 1) int64, the order of the walk;
        weights (N, d + 1) float32, barycentric, of the vertices in the order of the walk.
    """
    dimensions = features.shape[1]
    axes_count = dimensions + 1
    elevated = _elevate(features) / axes_count
    if not elevated.abs().amax() * axes_count < LARGEST_COORDINATE:
        raise ValueError(TOO_FINE)

    origin = (elevated - 0.5).ceil()  # the nearest integer; a tie goes down
    rank = (elevated - origin).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    # Rounding may leave the hyperplane; the coordinates with the largest error are moved back.
    rank += origin.sum(1, keepdim=True).long()
    correction = (rank < 0).long() - (rank > dimensions).long()
    rank += correction * axes_count
    origin += correction

    axes = rank.argsort(dim=1, descending=True)
    residual = (elevated - origin).gather(1, axes)  # ascending
    weights = residual - residual.roll(1, dims=1)
    weights[:, 0] += 1
    return origin.long(), axes, weights


def _elevate(features: Tensor) -> Tensor:
    """Maps (N, d) features onto the hyperplane in d + 1 dimensions (Adams et al. 2010, p. 5).

    The basis vectors are orthogonal. The scale makes splat, blur and slice together a Gaussian of
    unit standard deviation (p. 6): their variance on the unscaled lattice is 2 (d + 1)^2 / 3.
    """
    dimensions = features.shape[1]
    deviation = math.sqrt(2 / 3) * (dimensions + 1)
    columns = []
    tail = torch.zeros_like(features[:, 0])  # sum of the scaled features after this one
    for j in range(dimensions, 0, -1):
        scaled = features[:, j - 1] * (deviation / math.sqrt(j * (j + 1)))
        columns.append(tail - j * scaled)
        tail = tail + scaled
    return torch.stack([tail, *reversed(columns)], dim=1)


def _vertex_keys(origin: Tensor, axes: Tensor) -> tuple[Tensor, list[int]]:
    """Numbers the vertices of every simplex by one int64 each.

    A vertex is known by its first d coordinates (all sum to zero); the key reads them as digits of
    a mixed radix. One step along axis j adds 1 to every coordinate and takes d + 1 from the j-th,
    so in keys it adds a constant, in the walk around a simplex and between blur neighbours alike.

    Returns:
        keys (N, d + 1) int64, and the d + 1 constants, one for each axis.
    """
    axes_count = origin.shape[1]
    corner = origin[:, :-1] * axes_count
    # A walk and one blur step change a coordinate by at most 2 d; the margin keeps digits apart.
    lowest = corner.amin(0) - 2 * axes_count
    extents = (corner.amax(0) + 2 * axes_count - lowest + 1).tolist()
    strides = [math.prod(extents[i + 1 :]) for i in range(len(extents))] + [0]
    if math.prod(extents) >= 2**63:
        raise ValueError(TOO_FINE)
    steps = [sum(strides) - axes_count * stride for stride in strides]

    first = ((corner - lowest) * corner.new_tensor(strides[:-1])).sum(1, keepdim=True)
    walked = corner.new_tensor(steps)[axes[:, :-1]].cumsum(1)
    return torch.cat([first, first + walked], dim=1), steps


def _neighbours(vertices: Tensor, steps: list[int]) -> Tensor:
    """The previous vertex, the vertex and the next one along each axis.

    Args:
        vertices: (M,) int64 keys, ascending.
        steps: the d + 1 steps in key space.

    Returns:
        (d + 1, M + 1, 3) int32 vertex numbers; M where there is no such vertex.
    """
    missing = len(vertices)

    def find(wanted: Tensor) -> Tensor:
        position = torch.searchsorted(vertices, wanted).clamp_(max=missing - 1)
        return torch.where(vertices[position] == wanted, position, missing)

    itself = torch.arange(missing, device=vertices.device)
    along_axes = torch.stack(
        [
            torch.stack([find(vertices - step), itself, find(vertices + step)], dim=1)
            for step in steps
        ]
    )  # (d + 1, M, 3)
    nothing = along_axes.new_full((len(steps), 1, 3), missing)
    return torch.cat([along_axes, nothing], dim=1).int()
