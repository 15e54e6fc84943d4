"""Post-processing as a stage after evaluation: it adds rows and leaves the network's own alone.

`postprocess=dense_crf` works with every contestant. The CRF's parameters are searched on training
images, as in the paper, which has no validation set for Tables 3 and 4; then the splits asked for
are predicted again with the last network, or the best one where validation selected it.
"""

import hashlib
import json
import os
import resource
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench.crf.search import Appearance, Example, Fixed, Search, describe, refine
from bench.data.images import UInt8Array
from bench.data.splits import Split
from bench.launch.processes import worker_pool
from bench.run.evaluation import Prediction, full_size_logits
from bench.run.milestones import evaluated_network
from bench.run.postprocessing import missing_rows, record_row
from bench.run.training import Training
from bench.seeds import derive_seed

VARIANT = "denseCRF"


def postprocess(training: Training, splits: dict[str, Split]) -> list[str]:
    """Evaluates with the dense CRF the splits that `postprocess` names and that have no row yet.

    Returns:
        The names of the post-processings that the record now holds.
    """
    settings = training.config.postprocess
    iteration, missing = missing_rows(training, splits, VARIANT)
    if missing:
        with worker_pool(os.cpu_count(), partial(torch.set_num_threads, 1)) as pool:
            network = evaluated_network(training, iteration)
            stage = _DenseCrf(training, network, iteration, pool, Fixed(**settings["fixed"]))
            stage.run(missing)
    return [settings["name"]]


@dataclass(frozen=True)
class _DenseCrf:
    """The CRF on top of one network of a run."""

    training: Training
    network: nn.Module
    iteration: int
    pool: ProcessPoolExecutor
    fixed: Fixed

    def run(self, splits: list[Split]) -> None:
        """Searches the parameters and evaluates the splits with them."""
        training = self.training
        chosen = self._search_images()
        names = [training.split.names[index] for index in chosen]
        search = self._search(chosen, names)
        ranges = training.config.postprocess["search"]
        best = search.run(ranges, self.pool, training.monitor)
        shown = ", ".join(f"{name} {value:g}" for name, value in best._asdict().items())
        training.monitor.notice(f"dense CRF: {shown}, by mIoU on {len(names)} training images")

        def details() -> dict[str, Any]:
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            return {
                "parameters": describe(best, self.fixed),
                "processes": os.cpu_count(),
                "peak_resident_bytes": 1024 * peak,
                "search": search.table(),
                "searched_images": names,
            }

        for split in splits:
            refined = self._refined(split, best)
            record_row(training, split, self.iteration, VARIANT, refined, details=details)

    def _search_images(self) -> NDArray[np.int64]:
        """Chooses the training images that the search looks at, the same for every contestant."""
        count = self.training.config.postprocess["search"]["images"]
        rng = np.random.default_rng(derive_seed(0, "crf_search"))
        return np.sort(rng.permutation(len(self.training.split.names))[:count])

    def _search(self, chosen: NDArray[np.int64], names: list[str]) -> Search:
        """Opens the search on some training images, with what an interrupted one has found."""
        config = self.training.config
        folder = self.training.folder / "dense_crf"
        folder.mkdir(exist_ok=True)
        described = json.dumps([config.postprocess["fixed"], names])
        digest = hashlib.sha256(described.encode()).hexdigest()[:8]
        path = folder / f"search-{self.iteration:07d}-{digest}.jsonl"
        examples = [example for _, example in self._examples(self.training.split, chosen)]
        return Search(path, examples, self.fixed, config.dataset)

    def _examples(
        self, split: Split, only: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[int, Example]]:
        """Yields each image with the network's probabilities, both at the size of the truth."""
        config, training = self.training.config, self.training
        for index, scores in full_size_logits(
            self.network, split, config, training.device, training.monitor, only=only
        ):
            name, probs = split.names[index], scores.softmax(dim=0).cpu().numpy()
            yield index, Example(name, probs, split.pairs[index].image(), split.truths[index])

    def _refined(self, split: Split, point: Appearance) -> Iterator[Prediction]:
        """Predicts each image, the CRF on all cores beside the network.

        Of the probabilities of the mean field only the likeliest class is kept.
        """
        waiting: deque[tuple[int, Future[UInt8Array]]] = deque()
        for index, example in self._examples(split):
            waiting.append((index, self.pool.submit(_refine_one, example, point, self.fixed)))
            if len(waiting) > 2 * (os.cpu_count() or 1):  # so that memory stays bounded
                ready, future = waiting.popleft()
                yield ready, future.result(), None
        for ready, future in waiting:
            yield ready, future.result(), None


def _refine_one(example: Example, point: Appearance, fixed: Fixed) -> UInt8Array:
    return next(refine(example, [point], fixed))
