"""In which setting a cost was measured; only measurements of equal settings are comparable."""

from collections.abc import Mapping
from typing import Any

INFERENCE = "inference"
SWITCHES = ("channels_last", "compile", "deterministic")  # of the protocol, that change a time


def setting_of(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns device, image size, classes, precision, mode, batch and switches of a cost record."""
    environment, size = content.get("environment") or {}, content["image_size"]
    how, protocol = content.get("cost") or {}, content.get("protocol") or {}
    backward = how.get("backward", bool((content.get("time") or {}).get("backward_ms")))
    place = [environment.get("device") or content.get("device") or "unknown device"]
    if environment.get("device_type") == "cpu":
        place += ["CPU figures", f"threads {environment.get('threads', 'n/a')}"]
    what = [
        f"{size[0]}x{size[1]}",
        f"{content.get('num_classes', 'n/a')} classes",
        content.get("precision") or "precision n/a",
        "as in training" if backward else INFERENCE,
        f"batch {how.get('batch_size', 1)}",
        *filter(None, [windows(protocol)]),
        *(_update(protocol) if backward else []),
        *(switch for switch in SWITCHES if protocol.get(switch)),
    ]
    return tuple(map(str, [*place, *what]))


def windows(protocol: Mapping[str, Any]) -> str:
    """Says through which windows an image is seen; empty where whole, as in older records."""
    inference = protocol.get("inference") or {}
    if inference.get("mode", "whole") == "whole":
        return ""
    crop, stride = ("x".join(map(str, inference.get(key) or ["n/a"])) for key in ("crop", "stride"))
    return f"windows {crop} every {stride}"


def _update(protocol: Mapping[str, Any]) -> list[str]:
    """Says what an update has beside plain SGD on the cross-entropy, as in older records."""
    optimiser = protocol.get("optimiser", "sgd")
    dice = protocol.get("dice_weight", 0) > 0
    return [optimiser] * (optimiser != "sgd") + ["with Dice loss"] * dice
