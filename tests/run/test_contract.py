"""Networks that do not fit the harness are told in a sentence, before data are read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.config import Config
from bench.doctor.examination import examine
from bench.doctor.patient import admit
from bench.run.monitor import Monitor
from bench.run.network import OWN, describe_network
from bench.run.run import run

Compose = Callable[..., Config]
Prepare = Callable[..., tuple[Path, Monitor]]


class Plain(nn.Module):
    """One layer; what a test changes is its forward pass."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, num_classes, 1)

    def forward(self, x: Tensor) -> Any:
        return self.layer(x)


class Halves(Plain):
    """Joins maps of sizes that agree only where the input can be divided by 32."""

    def forward(self, x: Tensor) -> Any:
        small = nn.functional.avg_pool2d(x, 32)
        return self.layer(x + nn.functional.interpolate(small, scale_factor=32))


class Rounds(Plain):
    """Gives the logits of as many whole cells of 32 as there are, which may be fewer."""

    def forward(self, x: Tensor) -> Any:
        small = nn.functional.max_pool2d(x, 32)
        return self.layer(nn.functional.interpolate(small, scale_factor=32))


class Pair(Plain):
    """Adds an auxiliary output in training, as torchvision's networks do."""

    def forward(self, x: Tensor) -> Any:
        return (self.layer(x), self.layer(x)) if self.training else self.layer(x)


class Named(Plain):
    def forward(self, x: Tensor) -> Any:
        return {"out": self.layer(x)} if self.training else self.layer(x)


class Larger(Plain):
    def forward(self, x: Tensor) -> Any:
        return (
            self.layer(nn.functional.interpolate(x, scale_factor=2))
            if self.training
            else x[:, :1].expand(-1, self.layer.out_channels, -1, -1)
        )


class Global(Plain):
    """Normalises a map of one pixel."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Any:
        return self.layer(x + self.norm(nn.functional.adaptive_avg_pool2d(x, 1)))


class Instances(Global):
    """Normalises each map of one pixel by itself."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.norm = nn.InstanceNorm2d(3)


class Lazy(Plain):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.layer = nn.LazyConv2d(num_classes, 1)


class Hungry(Plain):
    def forward(self, x: Tensor) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")


DOCTOR = r".*`python -m bench\.doctor` with this network examines it$"


@pytest.mark.parametrize(
    ("network", "overrides", "message"),
    [
        ("Halves", ["protocol.image_size=[40,48]"], r"fails in evaluation, given 1 image \("
         r".*protocol\.image_size=\[40, 48\]\): RuntimeError: .*multiples of 32" + DOCTOR),
        ("Rounds", ["protocol.image_size=[40,56]"], r"gives, .* of 40x56, \(1, 11, 32, 32\) instead"
         r".*; many networks need multiples of 32.*, whatever protocol\.image_size is;" + DOCTOR),
        ("Pair", [], r"in training gives a tuple of 2; return the part that is the logits; given 4 "
         r"images \(protocol\.batch_size=4, .*logits \(4, 11, h, w\) alone" + DOCTOR),
        ("Named", [], r"in training gives a dictionary of out; return the logits" + DOCTOR),
        ("Larger", [], r"in training gives logits of shape \(4, 11, 64, 96\);" + DOCTOR),
        ("Global", ["protocol.batch_size=1"], r"fails in training, given 1 image \(protocol\."
         r"batch_size=1, .*more than 1 value per channel.*; raise protocol\.batch_size or "
         r"protocol\.image_size" + DOCTOR),
        ("Instances", [], r"fails in evaluation, given 1 image .*protocol\.image_size=\[32, 48\]\)"
         r".*more than 1 spatial element.*; raise protocol\.image_size" + DOCTOR),
        ("Lazy", [], r"has the lazy layer 'layer', .*protocol\.image_size; .*Conv2d for LazyConv2d"
         r".*`python -m bench\.doctor` with this network examines it$"),
    ],
)  # fmt: skip
def test_a_network_that_does_not_fit_is_a_sentence(
    network: str, overrides: list[str], message: str, tiny_config: Compose, prepared: Prepare
) -> None:
    config = tiny_config(*overrides)
    config.arch = {"name": "Mine", "_target_": f"{__name__}.{network}"}
    folder, monitor = prepared(config)
    with pytest.raises(ValueError, match=f"^arch Mine {message}") as error:
        run(folder, monitor)
    assert "\n" not in str(error.value)


def test_a_wrong_argument_is_named_before_data_are_read(
    tiny_config: Compose, prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.run.run.load_splits", lambda *_: pytest.fail("data are read"))
    folder, monitor = prepared(tiny_config("arch.width=-3"))
    with pytest.raises(ValueError, match=r"^arch\.width=-3: must be at least 1$"):
        run(folder, monitor)


def test_the_cause_is_kept(tiny_config: Compose, prepared: Prepare) -> None:
    """So that out of memory is told from a network that is wrong, and the log has the traceback."""
    config = tiny_config()
    config.arch = {"name": "Mine", "_target_": f"{__name__}.Hungry"}
    folder, monitor = prepared(config)
    with pytest.raises(ValueError, match=r"^arch Mine fails in evaluation") as error:
        run(folder, monitor)
    assert isinstance(error.value.__cause__, torch.OutOfMemoryError)


def test_the_doctor_says_it_too(tiny_config: Compose) -> None:
    config = tiny_config()
    config.arch = {"name": "Mine", "_target_": f"{__name__}.Pair"}
    texts = [finding.text for finding in examine(admit(config)) if finding.kind == "bad"]
    assert any("arch Mine in training gives a tuple of 2" in text for text in texts)


@pytest.mark.parametrize("loaded", [True, ["weight"], {"weight": 1}, {1: "a.pth"}])
def test_loaded_weights_that_say_nothing_are_a_sentence(loaded: Any) -> None:
    network = Plain(1)
    network.loaded_weights = loaded
    with pytest.raises(ValueError, match=r"^Plain\.loaded_weights is a \w+; it must be"):
        describe_network(network)


def test_a_method_by_that_name_says_nothing_of_the_initialisation() -> None:
    class Methodical(Plain):
        def initialisation(self) -> None: ...

    assert describe_network(Methodical(1))["initialisation"] == OWN
