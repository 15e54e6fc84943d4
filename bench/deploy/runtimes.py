"""Runtimes that compute an exported graph on the CPU: ONNX Runtime and OpenVINO.

What other devices need (TensorRT, Core ML, a phone) is not here: their times are given in a CSV
(reports/read/given.py).
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench.deploy.extras import extra
from bench.deploy.graph import INPUT, OUTPUT, brief, export

Array = NDArray[np.float32]


class Session(Protocol):
    """A graph that a runtime has loaded.

    Attributes:
        version: of the runtime.
        shape: of its input, (N, 3, H, W); what is open is None.
    """

    version: str
    shape: list[int | None]

    def run(self, images: Array) -> Array:
        """Maps images (N, 3, H, W) to logits (N, K, H, W), which the next call may overwrite."""


class OnnxRuntime:
    """A session of ONNX Runtime."""

    def __init__(self, path: Path, threads: int) -> None:
        ort = extra("onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors alone
        self.version = str(ort.__version__)
        self._session = ort.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        _require_ours([tensor.name for tensor in inputs], [tensor.name for tensor in outputs])
        self.shape = [n if isinstance(n, int) else None for n in inputs[0].shape]

    def run(self, images: Array) -> Array:
        """Maps images (N, 3, H, W) to logits (N, K, H, W)."""
        logits: Array = self._session.run([OUTPUT], {INPUT: images})[0]
        return logits


class OpenVino:
    """A compiled model of OpenVINO, in fp32 where the graph is."""

    def __init__(self, path: Path, threads: int) -> None:
        openvino = extra("openvino")
        core = openvino.Core()
        model = core.read_model(path)
        _require_ours(
            [name for port in model.inputs for name in port.names],
            [name for port in model.outputs for name in port.names],
        )
        # Without the hint it computes in bfloat16 on CPUs that have it.
        how = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self.version = str(openvino.__version__)
        self.shape = [
            n.get_length() if n.is_static else None for n in model.inputs[0].partial_shape
        ]
        self._request: Any = core.compile_model(model, "CPU", how).create_infer_request()

    def run(self, images: Array) -> Array:
        """Maps images (N, 3, H, W) to logits (N, K, H, W)."""
        self._request.infer({INPUT: images}, share_inputs=True)
        logits: Array = self._request.get_output_tensor(0).data
        return logits


KINDS: dict[str, type[OnnxRuntime | OpenVino]] = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}


def open_session(path: Path, runtime: str, threads: int) -> Session:
    """Loads an exported graph.

    Args:
        path: the ONNX file.
        runtime: onnxruntime or openvino.
        threads: that compute.

    Raises:
        ValueError: the runtime is not installed; the file is missing, broken or no exported graph.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; python -m bench.export RUN --rerun makes it")
    extra(runtime)
    try:
        return KINDS[runtime](path, threads)
    except ForeignGraphError as error:
        raise ValueError(f"{path}: {error}; python -m bench.export exports a run") from error
    except Exception as error:  # both raise classes of their own
        raise ValueError(
            f"{path}: {runtime} cannot load it ({brief(error)}); if it is damaged, "
            "python -m bench.export RUN --rerun makes it again"
        ) from error


def graph_session(network: nn.Module, image_size: Sequence[int], channels: int = 3) -> Session:
    """Exports a network for any size, or if that cannot be for its own, and loads it.

    Raises:
        ValueError: it cannot be exported, or ONNX Runtime is not installed.
    """
    extra("onnxruntime")
    try:
        model = export(network, image_size, any_size=True, channels=channels)
    except ValueError:
        model = export(network, image_size, any_size=False, channels=channels)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(model)
        return open_session(path, "onnxruntime", torch.get_num_threads())


class ForeignGraphError(Exception):
    """A sound ONNX file that is no graph of ours."""


def _require_ours(inputs: list[str], outputs: list[str]) -> None:
    if (inputs, outputs) != ([INPUT], [OUTPUT]):
        raise ForeignGraphError(
            f"is no network exported from a run: it takes {', '.join(inputs) or 'nothing'} and "
            f"gives {', '.join(outputs) or 'nothing'}, not {INPUT} and {OUTPUT}"
        )
