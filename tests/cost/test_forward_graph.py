"""The forward pass as a CUDA graph: the order of calls, on a GPU that is not there."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
import torch

from bench.config import Config
from bench.cost.check import KnownWork
from bench.cost.forward_graph import WARM_UP_PASSES, ForwardGraph
from bench.cost.timing import take_turn
from bench.cost.worker import Worker

SECOND = torch.device("cuda:1")


class Recorder:
    """Stands in for torch.cuda, and lists what is asked of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.moment = 0.0
        recorder = self

        class Stream:
            def __init__(self, name: object) -> None:
                self.name = name

            def wait_stream(self, other: "Stream") -> None:
                recorder.calls.append(f"{self.name} waits for {other.name}")

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing

            def record(self, stream: Stream) -> None:
                recorder.calls.append(f"event on {stream.name}")
                self.moment = recorder.moment

            def elapsed_time(self, later: "Event") -> float:
                return later.moment - self.moment

        class CUDAGraph:
            def replay(self) -> None:
                recorder.calls.append("replay")
                recorder.moment += 3

        @contextlib.contextmanager
        def graph(captured: CUDAGraph) -> Iterator[None]:
            recorder.calls.append("capture")
            yield
            recorder.calls.append("captured")

        @contextlib.contextmanager
        def stream(used: Stream) -> Iterator[None]:
            yield

        main = Stream("main")
        for name, value in {
            "Stream": lambda device: Stream(f"side of {device}"), "Event": Event, "graph": graph,
            "CUDAGraph": CUDAGraph, "stream": stream, "current_stream": lambda device: main,
            "synchronize": lambda device: self.calls.append(f"wait, {device}"),
        }.items():  # fmt: skip
            monkeypatch.setattr(torch.cuda, name, value)


class Pass(KnownWork):
    def forward(self) -> torch.Tensor:
        self.function()
        return torch.zeros(1, requires_grad=True)


def test_a_replay_is_timed_alone_between_two_events(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    captured = ForwardGraph(Pass(lambda: recorder.calls.append("forward"), SECOND))
    assert recorder.calls == [
        "side of cuda:1 waits for main",
        *["forward"] * WARM_UP_PASSES,
        "main waits for side of cuda:1",
        "capture",
        "forward",
        "captured",
    ]
    recorder.calls.clear()
    assert captured.replay_ms() == 3
    wait, event = "wait, cuda:1", "event on main"
    assert recorder.calls == [wait, event, "replay", event, wait]


def test_every_sample_of_a_turn_has_the_graphs_time_beside_the_eager_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder(monkeypatch)

    def launched_one_by_one() -> None:
        recorder.moment += 5

    work = Pass(launched_one_by_one, SECOND)
    samples = take_turn(work, typical_ms=5.0, at_most=2, graph=ForwardGraph(work))
    assert len(samples) == 2
    for sample in samples:
        assert sample["device"] == {"forward_ms": 5, "step_ms": 5}
        assert sample["graph"] == {"forward_ms": 3}


def test_a_network_that_cannot_be_captured_is_timed_without(
    tiny_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that looks at a number on its way."""
    Recorder(monkeypatch)

    def refuse(graph: object) -> None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nadvice")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    worker = Worker(tiny_config())
    worker.work = Pass(lambda: None, SECOND)
    graph, reason = worker.graph
    assert graph is None
    assert reason == ("RuntimeError: CUDA error: operation not permitted when stream is capturing")
