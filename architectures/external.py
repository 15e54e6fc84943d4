"""Networks of other libraries, wrapped to give plain logits at the size of their input.

torchvision is always there; segmentation-models-pytorch and transformers are the optional extra
``external``. They keep their own layers, initialisation and dropout. Nothing is downloaded unless
weights are asked for; weights of an encoder can also come from a file.
"""

import importlib
from collections.abc import Callable, Mapping
from itertools import accumulate
from operator import mul
from types import ModuleType
from typing import Any

import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from architectures.layers import check_arguments, crop, image_size
from architectures.pretrained import load_pretrained


class External(nn.Module):
    """Feeds a network images of sizes it can take, and brings its output to logits.

    Args:
        network: maps (N, 3, H, W) to whatever it returns.
        logits: takes the logits (N, K, h, w) out of that.
        size_multiple: the network wants H and W divisible by this; images are padded below and to
            the right by repeating their edge, and the logits cut.
        smallest: H and W below this are refused.
        loaded: name of each tensor of the network that came with weights -> where it is from.

    Attributes:
        loaded_weights: `loaded`, by the names that the tensors have here.
    """

    def __init__(
        self,
        network: nn.Module,
        logits: Callable[[Any], Tensor],
        *,
        size_multiple: int = 1,
        smallest: int = 1,
        loaded: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.loaded_weights = {f"network.{name}": said for name, said in (loaded or {}).items()}
        self.network = network
        self.logits = logits
        self.size_multiple = size_multiple
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
        padding = (0, -width % self.size_multiple, 0, -height % self.size_multiple)
        x = F.pad(x, padding, mode="replicate")
        logits = self.logits(self.network(x))
        if image_size(logits) != image_size(x):
            logits = F.interpolate(logits, image_size(x), mode="bilinear", align_corners=False)
        return crop(logits, size)


def torchvision_network(
    num_classes: int,
    model: str,
    weights_backbone: str | None = None,
    *,
    weights: str | None = None,
    weights_match: str = "name",
) -> External:
    """A network of torchvision.models.segmentation.

    Args:
        num_classes: channels of the logits.
        model: its name, such as deeplabv3_resnet50.
        weights_backbone: None, or the name of ImageNet weights to download, such as
            IMAGENET1K_V1.
        weights: None, or the path of weights of the backbone; see `load_pretrained`.
        weights_match: "name" or "order".

    Raises:
        ValueError: no such model or weights; fewer than 2 classes.
    """
    check_arguments(num_classes)
    _check_one_source(weights, weights_backbone=weights_backbone)
    try:
        network = torchvision.models.get_model(
            model, weights=None, weights_backbone=weights_backbone, num_classes=num_classes
        )
    except KeyError as error:
        raise ValueError(
            f"weights_backbone={weights_backbone}: {model} has no such weights; torchvision's "
            "documentation of the backbone names them, IMAGENET1K_V1 is one"
        ) from error
    hub = weights_backbone and f"torchvision {model} {weights_backbone}"
    loaded = _loaded(network, "backbone", hub, weights, weights_match)
    return External(network, _out, loaded=loaded)


def smp_network(
    num_classes: int,
    architecture: str,
    encoder_name: str,
    encoder_weights: str | None = None,
    *,
    weights: str | None = None,
    weights_match: str = "name",
    in_channels: int = 3,
) -> External:
    """A network of segmentation-models-pytorch.

    Args:
        num_classes: channels of the logits.
        architecture: unet, fpn, deeplabv3plus, ...
        encoder_name: "tu-" and a name of timm, or a name of its own.
        encoder_weights: None, or "imagenet" to download.
        weights: None, or the path of weights of the encoder; see `load_pretrained`.
        weights_match: "name" or "order".
        in_channels: bands of the images; weights of others are adapted by the rule "repeat".

    Raises:
        ValueError: the extra is not installed; no such network or weights; fewer than 2 classes.
    """
    check_arguments(num_classes)
    _check_one_source(weights, encoder_weights=encoder_weights)
    smp = _import("segmentation_models_pytorch")
    try:
        network = smp.create_model(
            architecture,
            encoder_name,
            encoder_weights=encoder_weights,
            in_channels=in_channels,
            classes=num_classes,
        )
    except (
        KeyError,
        RuntimeError,
    ) as error:  # its answers to an unknown name; timm's is the latter
        raise ValueError(
            f"architecture={architecture}, encoder_name={encoder_name}, encoder_weights="
            f"{encoder_weights}: segmentation-models-pytorch cannot build it: {error.args[0]}"
        ) from error
    encoder = "encoder.model" if encoder_name.startswith("tu-") else "encoder"  # timm's own names
    hub = encoder_weights and f"segmentation-models-pytorch {encoder_name} {encoder_weights}"
    loaded = _loaded(network, encoder, hub, weights, weights_match)
    # The deepest encoder map has a 32nd of the size.
    return External(network, _itself, size_multiple=32, loaded=loaded)


def segformer(
    num_classes: int, pretrained: str | None = None, *, in_channels: int = 3, **config: Any
) -> External:
    """SegFormer of transformers; without further arguments MiT-B0's sizes.

    Args:
        num_classes: channels of the logits.
        pretrained: None, a checkpoint to download, such as nvidia/mit-b0, or the folder of one.
        in_channels: bands of the images; checkpoints are of 3.
        config: for ``SegformerConfig`` where nothing is loaded, such as ``depths``.

    Raises:
        ValueError: the extra is not installed; no such checkpoint, or one for other bands; fewer
            than 2 classes.
    """
    check_arguments(num_classes, in_channels=in_channels)
    if pretrained is not None and in_channels != 3:
        raise ValueError(
            f"pretrained={pretrained}: its first convolution is of 3 bands and the images have "
            f"{in_channels}; give null"
        )
    transformers = _import("transformers")
    kind = transformers.SegformerForSemanticSegmentation
    loaded = {}
    if pretrained is None:
        network = kind(
            transformers.SegformerConfig(num_labels=num_classes, num_channels=in_channels, **config)
        )
    else:
        network, told = _from_pretrained(kind, pretrained, num_classes)
        new = {*told["missing_keys"], *(name for name, *_ in told["mismatched_keys"])}
        loaded = {name: pretrained for name in network.state_dict() if name not in new}
    # The attention of each stage shrinks its map by a stride that must fit into the map.
    shrunk = accumulate(network.config.strides, mul)  # 4, 8, 16, 32
    smallest = max(
        scale * (stride - 1) + 1
        for scale, stride in zip(shrunk, network.config.sr_ratios, strict=True)
    )
    return External(network, _logits, smallest=smallest, loaded=loaded)


def _from_pretrained(kind: Any, pretrained: str, num_classes: int) -> tuple[Any, dict[str, Any]]:
    """Loads a checkpoint of transformers, its head made new where it has other classes."""
    try:
        network, told = kind.from_pretrained(
            pretrained,
            num_labels=num_classes,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except OSError as error:
        raise ValueError(
            f"pretrained={pretrained}: {' '.join(str(error).split())}; give a checkpoint that can "
            "be downloaded, the folder of one, or null"
        ) from error
    return network, told


def _check_one_source(weights: str | None, **other: str | None) -> None:
    """Rejects two sources of the same weights."""
    ((name, value),) = other.items()
    if weights is not None and value is not None:
        raise ValueError(f"weights={weights} and {name}={value}: give one of them, the other null")


def _loaded(
    network: nn.Module, encoder: str, hub: str | None, weights: str | None, match: str
) -> dict[str, str]:
    """Loads a file into an encoder, if there is one, and says what the network came with."""
    module = network.get_submodule(encoder)
    if weights is not None:
        filled = load_pretrained(module, weights, match)
    else:
        filled = dict.fromkeys(module.state_dict(), hub) if hub else {}
    return {f"{encoder}.{name}": said for name, said in filled.items()}


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
