"""Exporting one run, scoring what was exported, and keeping both beside the run.

    RUN/deployed/int8.onnx               the graph (int8-any.onnx: for any size)
    RUN/deployed/onnxruntime-int8.json   what it is, how near to PyTorch, what it costs
    RUN/deployed/PyTorch.json            what the network itself costs, timed in the same turns
    RUN/evaluations/S.onnxruntime-int8-I.json, .npz    its scores: a variant of the run

Nothing is made again that the same weights have given before.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench import records
from bench.config import Config
from bench.cost.work import file_bytes
from bench.data.splits import Split, load_splits
from bench.deploy import graph, precision
from bench.deploy.extras import extra
from bench.deploy.parity import Deployed, compare
from bench.deploy.runtimes import Array, open_session
from bench.metrics.regions import REGION_SCORES, region_score, summed
from bench.run.evaluation import evaluate
from bench.run.inference import padded, padded_size, size_multiple, window_size
from bench.run.monitor import Monitor
from bench.run.network import network_input
from bench.run.trained import Trained
from bench.words import figure

FOLDER = "deployed"
COMPARED = 8  # images on which logits are compared
PYTORCH = "PyTorch"  # as a runtime
ANY = (256, 256)  # the example of a graph for any size, where the protocol names none


@dataclass(frozen=True)
class Plan:
    """What is to be exported.

    Attributes:
        runtimes: of `bench.deploy.runtimes.KINDS`.
        precisions: of `bench.deploy.precision.PRECISIONS`.
        any_size: graphs for any batch, height and width, or for one image of the protocol's size.
        split: that is scored.
        calibration_images: of the training split, for int8.
        threads: that compute.
        rerun: also what is there already.
    """

    runtimes: tuple[str, ...]
    precisions: tuple[str, ...]
    any_size: bool
    split: str
    calibration_images: int
    threads: int
    rerun: bool

    def require_extras(self) -> None:
        """Checks that everything is installed that it takes.

        Raises:
            ValueError: a package is missing.
        """
        converts = set(self.precisions) - {"fp32"}
        needed = ["onnx", "onnxscript", *self.runtimes, *(["onnxruntime"] if converts else [])]
        for module in needed:
            extra(module)


@dataclass
class Deployment:
    """A row of the table: a run in one runtime and precision.

    Attributes:
        run: the folder.
        record: what RUN/deployed/NAME.json holds.
        trained: the network.
    """

    run: Path
    record: dict[str, Any]
    trained: Trained

    @property
    def path(self) -> Path:
        """The record's file."""
        return self.run / FOLDER / f"{self.record['variant'] or PYTORCH}.json"

    def write(self) -> None:
        """Writes the record."""
        records.write_json(self.path, self.record)


class Exporter:
    """Exports and scores one run."""

    def __init__(self, run: Path, trained: Trained, plan: Plan) -> None:
        self.run, self.trained, self.plan = run, trained, plan
        self.folder = run / FOLDER
        self.name = str(trained.config.arch["name"])
        self.size = given_size(trained.config, any_size=plan.any_size)
        self._written: set[Path] = set()

    def deployments(self) -> Iterator[Deployment]:
        """Yields the network itself, and each runtime and precision, exported and scored."""
        with records.writing(self.folder):
            self.folder.mkdir(exist_ok=True)
        yield self._itself()
        for kind in self.plan.precisions:
            for runtime in self.plan.runtimes:
                yield self._kept(runtime, kind) or self._made(runtime, kind)

    def _itself(self) -> Deployment:
        network, config = self.trained.network, self.trained.config
        record = {
            "variant": "",
            "runtime": PYTORCH,
            "runtime_version": torch.__version__,
            "precision": config.protocol.precision,
            "bytes": file_bytes(network),
        }
        return Deployment(self.run, {**self._shared(), **record}, self.trained)

    def _kept(self, runtime: str, kind: str) -> Deployment | None:
        """Returns what was exported before from the same weights in the same way, or None.

        Raises:
            ValueError: its record is damaged, or its file is not what was exported.
        """
        path = self.folder / f"{self._variant(runtime, kind)}.json"
        if self.plan.rerun or not path.exists():
            return None
        record = records.read_json(path)
        wanted = {
            **self._shared(),
            "calibration_images": self._calibration(kind),
            "runtime_version": str(extra(runtime).__version__),
        }
        if any(record.get(key) != value for key, value in wanted.items()):
            return None
        if self._evaluation(record["variant"]) is None:
            return None
        file = self.folder / record["file"]
        if not file.is_file() or sha256(file) != record["file_sha256"]:
            raise ValueError(
                f"{file}: not the file that was exported (its SHA-256 differs); --rerun exports "
                "it again"
            )
        print(f"{self.name}, {runtime} {kind}: exported before; --rerun does it again", flush=True)
        return Deployment(self.run, record, self.trained)

    def _made(self, runtime: str, kind: str) -> Deployment:
        variant = self._variant(runtime, kind)
        file = self._graph(kind)
        session = open_session(file, runtime, self.plan.threads)
        deployed = Deployed(session, size_multiple(self.trained.network))
        parity = compare(self.trained.network, deployed, self._compared())
        print(f"{self.name}, {runtime} {kind}: {parity}", flush=True)
        summary = self._scored(deployed, variant)
        record = {
            "variant": variant,
            "runtime": runtime,
            "runtime_version": session.version,
            "precision": kind,
            "calibration_images": self._calibration(kind),
            "file": file.name,
            "file_sha256": sha256(file),
            "bytes": file.stat().st_size,
            "batch_norms": graph.batch_norms(file.read_bytes()),
            "parity": {**asdict(parity), "agrees": parity.agrees},
            "evaluation": summary,
        }
        made = Deployment(self.run, {**self._shared(), **record}, self.trained)
        made.write()
        return made

    def _graph(self, kind: str) -> Path:
        """Writes the graph of a precision, if no runtime before has asked for it."""
        path = self.folder / f"{kind}{self._size()}.onnx"
        if path not in self._written:
            model = self._exported
            if kind == "fp16":
                model = precision.half(model)
            elif kind == "int8":
                print(f"{self.name}: quantising", flush=True)
                model = precision.quantised(model, self._calibrating())
            records.write_bytes(path, model)
            self._written.add(path)
        return path

    @cached_property
    def _exported(self) -> bytes:
        print(f"{self.name}: exporting", flush=True)
        network, channels = self.trained.network, self.trained.config.dataset.in_channels
        size = padded_size(self.size, size_multiple(network))
        return graph.export(network, size, any_size=self.plan.any_size, channels=channels)

    @cached_property
    def _splits(self) -> dict[str, Split]:
        """The split that is scored, and for int8 the training split, which shares no image."""
        config = self.trained.config
        training = [config.protocol.train_split] if "int8" in self.plan.precisions else []
        return load_splits(config, [self.plan.split, *training])

    def _compared(self) -> Iterator[Tensor]:
        yield from self._images(self._splits[self.plan.split], COMPARED)

    def _calibrating(self) -> Iterator[Array]:
        split = self._splits[self.trained.config.protocol.train_split]
        for images in self._images(split, self.plan.calibration_images):
            yield images.contiguous().numpy()

    def _images(self, split: Split, count: int) -> Iterator[Tensor]:
        """Yields normalised images (1, C, H, W), spread evenly over a split."""
        spread = np.linspace(0, len(split.names) - 1, min(count, len(split.names)))
        chosen = [np.array([index]) for index in spread.round().astype(np.int64)]
        height, width = self.size
        multiple = size_multiple(self.trained.network)
        for images, _ in split.batches(chosen):
            values = network_input(images, self.trained.config, self.trained.device)
            yield padded(values[:, :, :height, :width], multiple)

    def _scored(self, deployed: Deployed, variant: str) -> str:
        """Evaluates a graph as the network was, and returns the evaluation's name."""
        config, split = self.trained.config, self._splits[self.plan.split]
        evidence: dict[str, NDArray[Any]] = evaluate(
            deployed, split, config, device=self.trained.device, monitor=Monitor(self.folder)
        )
        summary = {
            "split": split.name,
            "iteration": self.trained.iteration,
            "variant": variant,
            "deployed": True,
            "images": len(split.names),
        }
        records.write_evaluation(self.run, summary, evidence)
        matrix = summed(evidence["confusion"])
        scores = ", ".join(f"{key} {figure(region_score(matrix, key), 3)}" for key in REGION_SCORES)
        print(f"{self.name}, {variant}, {split.name}: {scores}", flush=True)
        return records.evaluation_name(split.name, self.trained.iteration, variant)

    def _evaluation(self, variant: str) -> dict[str, Any] | None:
        evaluations = records.read_evaluations(self.run, self.plan.split, variant)
        return next((e for e in evaluations if e["iteration"] == self.trained.iteration), None)

    def _shared(self) -> dict[str, Any]:
        """Returns what all records of a run say; if it changes, they are made again."""
        weights = self.trained.weights
        assert weights is not None
        return {
            "kind": FOLDER,
            "split": self.plan.split,
            "iteration": self.trained.iteration,
            "weights_sha256": sha256(weights),
            "image_size": [*self.size],
            "any_size": self.plan.any_size,
        }

    def _calibration(self, kind: str) -> int | None:
        return self.plan.calibration_images if kind == "int8" else None

    def _variant(self, runtime: str, kind: str) -> str:
        return f"{runtime}-{kind}{self._size()}"

    def _size(self) -> str:
        return "-any" if self.plan.any_size else ""


def given_size(config: Config, *, any_size: bool) -> tuple[int, int]:
    """Returns H, W that a network is given at once: those of an image, or of a window.

    Raises:
        ValueError: images have sizes of their own, and the graph would have one.
    """
    protocol = config.protocol
    crop, size = protocol.inference.crop, protocol.image_size
    if size is None and crop is None and not any_size:
        raise ValueError(
            f"{config.arch['name']}: protocol.image_size is null, so that images have sizes of "
            "their own; export it with --any-size"
        )
    height, width = crop or protocol.augmentation.crop or ANY
    return (height, width) if size is None else window_size(size, protocol.inference)


def sha256(path: Path) -> str:
    """Returns the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
