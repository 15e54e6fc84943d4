"""The process in which an exported graph is measured, by the tasks of bench/cost/worker.py.

python -m bench.deploy.worker FILE.onnx RUNTIME MULTIPLE
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.config import Config
from bench.cost.memory import MemoryMeter
from bench.cost.worker import Worker, main
from bench.cost.workload import measured_input
from bench.deploy.extras import extra
from bench.deploy.parity import Deployed
from bench.deploy.runtimes import Session, open_session
from bench.run.views import as_evaluated
from bench.seeds import derive_seed


@dataclass(frozen=True)
class GraphWork:
    """A graph with a batch, as `bench.cost.workload.Workload` is a network with one.

    Attributes:
        session: of the graph.
        images: normalised (N, C, H, W).
        evaluated: the graph with the windows that slide over an image; None: it sees it whole.
    """

    session: Session
    images: Tensor
    evaluated: nn.Module | None = None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return torch.device("cpu")

    def phases(self) -> tuple[str, ...]:
        """Names what `run` does."""
        return ("forward",)

    def run(self, mark: Callable[[], None] = lambda: None) -> None:
        """Computes the logits once; `mark` is called before and after."""
        mark()
        if self.evaluated is None:
            self.session.run(self.images.numpy())
        else:
            with torch.inference_mode():
                self.evaluated(self.images)
        mark()


class GraphWorker(Worker):
    """Measures a graph where its parent class measures the network that it was made from."""

    def __init__(self, config: Config, path: Path, runtime: str, multiple: int) -> None:
        super().__init__(config)
        self.path, self.runtime, self.multiple = path, runtime, multiple

    @cached_property
    def work(self) -> GraphWork:  # type: ignore[override]  # all that timing asks of it
        """The graph at work on a batch."""
        return self._work(self.cost.batch_size)

    def memory_task(self, training: bool, batch: int) -> dict[str, Any]:
        """Measures memory from before the graph is loaded; to be the only task of its process."""
        assert not training
        extra(self.runtime)  # a library is no more part of a network than torch is
        meter = MemoryMeter(None)
        self._work(batch).run()
        return {
            "batch": batch,
            "readings": meter.read(self.device),
            "baselines": meter.baselines,
            "missing": {},
        }

    def _work(self, batch: int) -> GraphWork:
        self.device  # noqa: B018 - sets the number of threads
        session = open_session(self.path, self.runtime, torch.get_num_threads())
        torch.manual_seed(derive_seed(self.config.seed, "cost"))
        deployed = Deployed(session, self.multiple)
        size = measured_input(deployed, self.config.protocol)
        images = torch.randn(batch, self.config.dataset.in_channels, *size)
        evaluated = as_evaluated(deployed, self.config)
        return GraphWork(session, images, None if evaluated is deployed else evaluated)


if __name__ == "__main__":
    file, kind, multiple_of = sys.argv[1:]
    main(partial(GraphWorker, path=Path(file), runtime=kind, multiple=int(multiple_of)))
