"""An exported graph in half precision, or quantised to 8 bits; both by ONNX Runtime's tools."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.deploy.extras import extra
from bench.deploy.graph import INPUT, brief
from bench.deploy.runtimes import Array

PRECISIONS = ("fp32", "fp16", "int8")


def half(model: bytes) -> bytes:
    """Converts a graph to fp16; input and output stay float32.

    Raises:
        ValueError: onnxruntime is not installed.
    """
    extra("onnxruntime")
    convert = extra("onnxruntime.transformers.float16").convert_float_to_float16
    converted = convert(extra("onnx").load_from_string(model), keep_io_types=True)
    content: bytes = converted.SerializeToString()
    return content


def quantised(model: bytes, images: Iterable[Array]) -> bytes:
    """Quantises weights and activations to 8 bits, statically.

    Activations lie between the extremes that they have on the images, weights have a scale for each
    output channel. The quantisation nodes stand in the graph (QDQ), so that every runtime computes
    with the same scales.

    Args:
        model: the graph in fp32.
        images: batches as the graph takes them, of the training split.

    Raises:
        ValueError: onnxruntime is not installed, or it cannot quantise the graph.
    """
    extra("onnxruntime")
    tools = extra("onnxruntime.quantization")
    prepare = extra("onnxruntime.quantization.shape_inference").quant_pre_process
    with tempfile.TemporaryDirectory() as folder:
        source, ready, target = (Path(folder) / name for name in ("a.onnx", "b.onnx", "c.onnx"))
        source.write_bytes(model)
        try:
            # Its optimisation would store the zeros that unpooling begins with, a map for each.
            prepare(source, ready, skip_symbolic_shape=True, skip_optimization=True)
            tools.quantize_static(
                ready,
                target,
                _reader(tools.CalibrationDataReader, images),
                quant_format=tools.QuantFormat.QDQ,
                activation_type=tools.QuantType.QUInt8,
                weight_type=tools.QuantType.QInt8,
                per_channel=True,
                calibrate_method=tools.CalibrationMethod.MinMax,
            )
        except ValueError:  # an image that cannot be read
            raise
        except Exception as error:  # the tools' own
            raise ValueError(f"onnxruntime cannot quantise the graph: {brief(error)}") from error
        return target.read_bytes()


def _reader(kind: type, images: Iterable[Array]) -> object:
    """Hands out images as the tools ask for them: a dictionary a call, None at the end."""

    class Reader(kind):  # type: ignore[misc]
        def __init__(self) -> None:
            self._images: Iterator[Array] = iter(images)

        def get_next(self) -> dict[str, Array] | None:
            image = next(self._images, None)
            return None if image is None else {INPUT: image}

    return Reader()
