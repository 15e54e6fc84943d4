"""Streaming a set that does not fit into memory: processes decode the coming batches."""

import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.data.decoding import Decoder
from bench.data.pairs import Pair


@dataclass(frozen=True)
class _Pictures(Dataset[tuple[Tensor, Tensor]]):
    """Decodes pairs one by one, as torch's loader wants it."""

    pairs: list[Pair]
    decoder: Decoder

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = self.decoder.resized(*self.decoder.read(self.pairs[index]))
        return torch.from_numpy(image), torch.from_numpy(np.array(label))


def stream(
    pairs: list[Pair], decoder: Decoder, chosen: Iterable[NDArray[np.int64]], workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields images uint8 (n, 3, H, W) and labels uint8 (n, H, W) of each set of indices.

    What is yielded depends on the indices only, not on the number of workers.

    Args:
        pairs: of the split.
        decoder: reads them.
        chosen: the indices of each batch.
        workers: processes that decode ahead, two batches each; 0: none, batches come as asked for.
    """
    loader = DataLoader(
        _Pictures(pairs, decoder),
        batch_sampler=(indices.tolist() for indices in chosen),
        num_workers=workers,
        worker_init_fn=_let_go,
        pin_memory=torch.cuda.is_available(),
        # Whatever generator torch would draw a seed from, dropout's must not move.
        generator=torch.Generator(),
    )
    yield from loader


def _let_go(worker: int) -> None:
    """Gives a worker its own signal rules: a stop is the run's decision, a kill is obeyed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
