"""Data order and other randomness: functions of (seed, iteration) and of nothing else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.data.order import batch_indices, epoch_order, mirrored
from bench.seeds import derive_seed


@given(st.integers(0, 99), st.integers(1, 9), st.integers(9, 40))
def test_every_image_occurs_once_per_epoch_even_when_batches_span_epochs(
    seed: int, batch: int, size: int
) -> None:
    drawn = np.concatenate([batch_indices(seed, i, batch, size) for i in range(3 * size)])
    for epoch in range(3):
        assert sorted(drawn[epoch * size : (epoch + 1) * size]) == list(range(size))


def test_a_batch_does_not_depend_on_the_batches_before_it() -> None:
    alone = batch_indices(3, 17, 5, 12)
    for iteration in range(17):
        batch_indices(3, iteration, 5, 12)
    assert (batch_indices(3, 17, 5, 12) == alone).all()


def test_seeds_and_epochs_have_their_own_order() -> None:
    orders = [tuple(epoch_order(seed, epoch, 30)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9


def test_the_next_seed_is_not_the_next_iteration() -> None:
    assert derive_seed(0, "dropout", 1) != derive_seed(1, "dropout", 0)
    assert derive_seed(0, "dropout", 1) != derive_seed(0, "mirror", 1)


def test_half_of_the_images_are_mirrored() -> None:
    share = np.mean([mirrored(0, iteration, 10) for iteration in range(300)])
    assert 0.46 < share < 0.54
