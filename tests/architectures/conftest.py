"""Every network of conf/arch, built as the harness builds it, at any width."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import OmegaConf
from torch import nn

CONFIGURATIONS = sorted((Path(__file__).parents[2] / "conf" / "arch").glob("*.yaml"))
EXTRAS = {"smp_network": "segmentation_models_pytorch", "segformer": "transformers"}


@pytest.fixture
def build() -> Callable[..., nn.Module]:
    """The function that builds a configured network by name."""
    return build_network


@pytest.fixture(params=[path.stem for path in CONFIGURATIONS])
def arch(request: pytest.FixtureRequest) -> str:
    """The name of each configured network in turn; those of a missing extra are skipped."""
    name: str = request.param
    target = load(name)["_target_"].rpartition(".")[2]
    if target in EXTRAS:
        pytest.importorskip(EXTRAS[target])
    return name


def load(name: str) -> dict[str, Any]:
    """A YAML's own keys, interpolations unresolved."""
    path = next(path for path in CONFIGURATIONS if path.stem == name)
    keys: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(path))  # type: ignore[assignment]
    return keys


def build_network(
    name: str,
    num_classes: int = 11,
    *,
    small: bool = False,
    image_size: tuple[int, int] = (360, 480),
    dropout: float = 0.5,
    **arguments: Any,
) -> nn.Module:
    """Compose a stand-in protocol around the YAML and instantiate it.

    ``small`` makes layers narrow where the network has such arguments.
    """
    keys = load(name)
    if small:
        sizes = {"width": 8, "fc_width": 8, "samples": 2}
        keys.update({key: size for key, size in sizes.items() if key in keys})
    keys.update(arguments)
    protocol = {
        "dropout": dropout,
        "batch_norm": {"eps": 1e-5},
        "image_size": list(image_size),
    }
    config = OmegaConf.create({"arch": keys, "protocol": protocol})
    for key in ("name", "pretraining"):  # the harness's own
        config.arch.pop(key, None)
    network: nn.Module = hydra.utils.instantiate(config.arch, num_classes=num_classes)
    return network
