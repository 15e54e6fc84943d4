"""From a network to an ONNX graph, batch norm folded into the convolution before it.

A graph has one input `images`, float32 (N, C, H, W) normalised as the protocol says, and one output
`logits`, float32 (N, K, H, W). Its size is fixed, with one image a batch, or open in N, H and W.
"""

import copy
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bench.deploy.extras import extra
from bench.run.inference import padded_size, size_multiple

INPUT, OUTPUT = "images", "logits"
OPEN = ("batch", "height", "width")
# Added to the height and width of the example that an open graph is traced with: where a map of
# the example has one pixel, the tracer takes it for one at every size.
MARGIN = (33, 47)
LONGEST = 300  # characters of a library's message that are repeated


def export(
    network: nn.Module, image_size: Sequence[int], *, any_size: bool, channels: int = 3
) -> bytes:
    """Exports a network in evaluation mode.

    Args:
        network: maps (N, C, H, W) to logits; left as it is.
        image_size: H, W.
        any_size: leave N, H and W open.
        channels: C.

    Returns:
        The ONNX file.

    Raises:
        ValueError: onnx is not installed; the network is random or cannot be exported.
    """
    for module in ("onnx", "onnxscript"):
        extra(module)
    network = copy.deepcopy(network).to(memory_format=torch.contiguous_format).cpu().float().eval()
    require_repeatable(network, (channels, *image_size))
    height, width = image_size
    larger = padded_size((height + MARGIN[0], width + MARGIN[1]), size_multiple(network))
    shape = (2, channels, *larger) if any_size else (1, channels, height, width)
    dynamic = torch.export.Dim.DYNAMIC
    axes = ({0: dynamic, 2: dynamic, 3: dynamic},) if any_size else None
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(network, (torch.zeros(shape),), dynamic_shapes=axes)
            exported = torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT]
            )
    except Exception as error:  # whatever the network or the exporter raises
        how = "any size" if any_size else f"{height}x{width}"
        raise ValueError(
            f"{type(network).__name__} cannot be exported for {how}: {brief(error)}"
        ) from error
    assert exported is not None
    return _tidied(exported.model_proto, any_size=any_size)


def require_repeatable(network: nn.Module, shape: Sequence[int]) -> None:
    """Refuses a network whose evaluation is random: no runtime repeats torch's draws.

    Raises:
        ValueError: two passes over one image differ, or it refuses the image.
    """
    image = torch.linspace(-1, 1, math.prod(shape)).view(1, *shape)
    passes: list[Tensor] = []
    try:
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            for seed in (0, 1):
                torch.manual_seed(seed)
                passes.append(network(image))
    except Exception as error:  # whatever the network raises
        raise ValueError(f"{type(network).__name__} cannot be exported: {brief(error)}") from error
    if not torch.equal(*passes):
        raise ValueError(
            f"{type(network).__name__} cannot be exported: its evaluation is random (two passes "
            "over an image differ), and no other runtime repeats the draws"
        )


def batch_norms(model: bytes) -> int:
    """Counts the batch norms that could not be folded: those that no convolution stands before."""
    graph = extra("onnx").load_from_string(model).graph
    return sum(node.op_type == "BatchNormalization" for node in graph.node)


def brief(error: Exception) -> str:
    """Returns what a library says as one line."""
    words = " ".join(str(error.__cause__ or error).split())
    return words if len(words) <= LONGEST else f"{words[:LONGEST]} ..."


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter from telling of its own deprecations and of packages it could use."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _tidied(model: Any, *, any_size: bool) -> bytes:
    """Leaves out the sources' lines and paths of this machine, and names the open axes."""
    for holder in (model, model.graph, *model.graph.node, *model.graph.value_info):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    for value in (*model.graph.input, *model.graph.output) if any_size else ():
        dimensions = value.type.tensor_type.shape.dim
        for position, name in zip((0, 2, 3), OPEN, strict=True):
            dimensions[position].dim_param = name
    content: bytes = model.SerializeToString()
    return content
