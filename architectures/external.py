"""Networks of other libraries, wrapped to give plain logits at the size of their input.

torchvision is always there; segmentation-models-pytorch and transformers are the optional extra
``external``. They keep their own layers, initialisation and dropout. Nothing is downloaded unless
weights are asked for.
"""

import importlib
from collections.abc import Callable
from itertools import accumulate
from operator import mul
from types import ModuleType
from typing import Any

import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from architectures.layers import check_arguments, crop, image_size


class External(nn.Module):
    """Feeds a network images of sizes it can take, and brings its output to logits.

    Args:
        network: maps (N, 3, H, W) to whatever it returns.
        logits: takes the logits (N, K, h, w) out of that.
        multiple: the network wants H and W divisible by this; images are padded below and to the
            right by repeating their edge, and the logits cut.
        smallest: H and W below this are refused.
    """

    def __init__(
        self,
        network: nn.Module,
        logits: Callable[[Any], Tensor],
        *,
        multiple: int = 1,
        smallest: int = 1,
    ) -> None:
        super().__init__()
        self.network = network
        self.logits = logits
        self.multiple = multiple
        self.smallest = smallest

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) to logits (N, K, H, W), enlarged bilinearly if they are smaller.

        Raises:
            ValueError: the image is too small for the network.
        """
        height, width = size = image_size(x)
        if min(size) < self.smallest:
            raise ValueError(
                f"an image of {height}x{width} is too small for {type(self.network).__name__}: it "
                f"needs at least {self.smallest}x{self.smallest}"
            )
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        x = F.pad(x, padding, mode="replicate")
        logits = self.logits(self.network(x))
        if image_size(logits) != image_size(x):
            logits = F.interpolate(logits, image_size(x), mode="bilinear", align_corners=False)
        return crop(logits, size)


def torchvision_network(
    num_classes: int, model: str, weights_backbone: str | None = None
) -> External:
    """A network of torchvision.models.segmentation.

    Args:
        num_classes: channels of the logits.
        model: its name, such as deeplabv3_resnet50.
        weights_backbone: None, or the name of ImageNet weights to download, such as
            IMAGENET1K_V1.

    Raises:
        ValueError: no such model or weights; fewer than 2 classes.
    """
    check_arguments(num_classes)
    try:
        network = torchvision.models.get_model(
            model, weights=None, weights_backbone=weights_backbone, num_classes=num_classes
        )
    except KeyError as error:
        raise ValueError(
            f"weights_backbone={weights_backbone}: {model} has no such weights; torchvision's "
            "documentation of the backbone names them, IMAGENET1K_V1 is one"
        ) from error
    return External(network, _out)


def smp_network(
    num_classes: int, architecture: str, encoder_name: str, encoder_weights: str | None = None
) -> External:
    """A network of segmentation-models-pytorch.

    Args:
        num_classes: channels of the logits.
        architecture: unet, fpn, deeplabv3plus, ...
        encoder_name: "tu-" and a name of timm.
        encoder_weights: None, or "imagenet" to download.

    Raises:
        ValueError: the extra is not installed; no such network; fewer than 2 classes.
    """
    check_arguments(num_classes)
    smp = _import("segmentation_models_pytorch")
    try:
        network = smp.create_model(
            architecture, encoder_name, encoder_weights=encoder_weights, classes=num_classes
        )
    except (
        KeyError,
        RuntimeError,
    ) as error:  # its answers to an unknown name; timm's is the latter
        raise ValueError(
            f"architecture={architecture}, encoder_name={encoder_name}, encoder_weights="
            f"{encoder_weights}: segmentation-models-pytorch cannot build it: {error.args[0]}"
        ) from error
    return External(network, _itself, multiple=32)  # the deepest encoder map has a 32nd of the size


def segformer(num_classes: int, pretrained: str | None = None, **config: Any) -> External:
    """SegFormer of transformers; without further arguments MiT-B0's sizes.

    Args:
        num_classes: channels of the logits.
        pretrained: None, or a checkpoint to download, such as nvidia/mit-b0.
        config: for ``SegformerConfig`` where nothing is downloaded, such as ``depths``.

    Raises:
        ValueError: the extra is not installed; fewer than 2 classes.
    """
    check_arguments(num_classes)
    transformers = _import("transformers")
    kind = transformers.SegformerForSemanticSegmentation
    if pretrained is None:
        network = kind(transformers.SegformerConfig(num_labels=num_classes, **config))
    else:
        network = kind.from_pretrained(pretrained, num_labels=num_classes)
    # The attention of each stage shrinks its map by a stride that must fit into the map.
    shrunk = accumulate(network.config.strides, mul)  # 4, 8, 16, 32
    smallest = max(
        scale * (stride - 1) + 1
        for scale, stride in zip(shrunk, network.config.sr_ratios, strict=True)
    )
    return External(network, _logits, smallest=smallest)


# Functions of the module, for networks with a lambda do not pickle.
def _itself(output: Tensor) -> Tensor:
    return output


def _out(output: dict[str, Tensor]) -> Tensor:
    return output["out"]


def _logits(output: Any) -> Tensor:
    logits: Tensor = output.logits
    return logits


def _import(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ValueError(
            f'{module} is not installed; this network needs it: pip install "segbench[external]"'
        ) from error
