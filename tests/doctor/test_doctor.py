"""`python -m bench.doctor`: a healthy network passes, each illness is named."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.config import Config
from bench.doctor import patient
from bench.doctor.examination import check_export, examine, not_memorised
from bench.doctor.patient import admit
from bench.run.run import run


class Healthy(nn.Module):
    """Small, and quick to memorise two batches."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (3, 24, 24):
            layers += [nn.Conv2d(channels, 24, 5, padding=2), nn.BatchNorm2d(24), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(24, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


class WantsMultiples(Healthy):
    """Takes heights and widths divisible by 20 alone, and says so."""

    size_multiple = 20

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[2] % 20 or images.shape[3] % 20:
            raise ValueError(f"{tuple(images.shape)} is not divisible by 20")
        return super().forward(images)


class Shrinks(Healthy):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[..., 1:, 1:]


class ForgetsALayer(Healthy):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.unused = nn.Conv2d(3, 3, 1)


class LooksAtItsNeighbours(Healthy):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images - images.mean(dim=0, keepdim=True))


class Dices(Healthy):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images + torch.rand_like(images))


class Constant(Healthy):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(0 * images)


class SeesNoPlaces(Healthy):
    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits.mean(dim=(2, 3), keepdim=True).expand_as(logits)


class Detaches(Healthy):
    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).detach())


class DetachesAll(Healthy):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).detach()


class MixesAtOnePixel(Healthy):
    """Normalises a map of one pixel, as DeconvNet and the pooling of DeepLab v3 do."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(24))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.body(images)
        return self.head(maps + self.whole(maps))


class ChangesItsInput(Healthy):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.mul_(2.0))


class Softmax(Healthy):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).softmax(dim=1)


class SoftmaxInTraining(Healthy):
    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits.softmax(dim=1) if self.training else logits


class Sigmoid(Healthy):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).sigmoid()


class Dictionary(Healthy):
    def forward(self, images: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return {"out": super().forward(images), "aux": images}


class Tuple(Healthy):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(images), images


class Strided(Healthy):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[..., ::8, ::8]


class ClassesLast(Healthy):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).permute(0, 2, 3, 1)


class TooManyClasses(Healthy):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes + 1)


class WithoutClasses(Healthy):
    def __init__(self) -> None:
        super().__init__(11)


class Coarse(nn.Module):
    """A sound network that draws at a 32nd of the size and enlarges that, as FCN-32s does."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels, stride in ((3, 4), (32, 8)):
            layers += [nn.Conv2d(channels, 32, stride, stride), nn.BatchNorm2d(32), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(32, num_classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        padded = nn.functional.pad(images, (0, -width % 32, 0, -height % 32))
        logits = self.body(padded)
        return nn.functional.interpolate(logits, (height, width), mode="bilinear")


class Breaks(Healthy):
    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError("size mismatch\nin some layer")


@pytest.fixture
def findings(tiny_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Examines a network by the name of its class; its export, of seconds, has tests of its own."""
    monkeypatch.setattr("bench.doctor.examination.MEMORISE_ITERATIONS", 100)
    monkeypatch.setattr("bench.doctor.examination.check_export", lambda _: iter(()))

    def examined(network: str) -> dict[str, str]:
        config = tiny_config()
        config.arch = {"name": network, "_target_": f"{__name__}.{network}"}
        return {finding.text: finding.kind for finding in examine(admit(config))}

    return examined


@pytest.mark.parametrize("network", ["Healthy", "WantsMultiples"])
def test_a_healthy_network_passes_every_check(findings: Any, network: str) -> None:
    found = findings(network)
    assert set(found.values()) == {"good"}, found
    assert len(found) == 8


@pytest.mark.parametrize(
    ("network", "illness"),
    [
        ("Shrinks", "instead of (1, 11, 32, 48)"),
        ("ChangesItsInput", "changes its input in place; give its first layer inplace=False"),
        ("Softmax", "gives probabilities, not logits: the loss has a softmax of its own"),
        ("Dictionary", "evaluation gives a dictionary of out, aux; return the logits alone"),
        ("Tuple", "evaluation gives a tuple of 2; return the part that is the logits"),
        ("Strided", "logits at a stride of 8; enlarge them at the end, as F.interpolate"),
        ("ClassesLast", "the classes last; return logits.permute(0, 3, 1, 2)"),
        ("TooManyClasses", "its last layer must have num_classes=11 channels"),
        ("ForgetsALayer", "no gradient reaches unused.bias, unused.weight"),
        ("LooksAtItsNeighbours", "changes with the other images of its batch"),
        ("Constant", "it does not learn"),
        ("SeesNoPlaces", "it does not learn"),
        ("Detaches", "no gradient reaches body.0.bias, body.0.weight"),
        ("DetachesAll", "It raised RuntimeError: element 0 of tensors does not require grad"),
        ("Breaks", "It raised RuntimeError: size mismatch in some layer"),
    ],
)
def test_an_illness_is_named(findings: Any, network: str, illness: str) -> None:
    bad = [text for text, kind in findings(network).items() if kind == "bad"]
    assert any(illness in text for text in bad), bad


def test_random_evaluation_is_a_note(findings: Any) -> None:
    found = findings("Dices")
    assert found["evaluation is random: two passes over an image differ"] == "note"


def test_a_network_that_refuses_one_image_is_healthy_with_two(findings: Any) -> None:
    found = findings("MixesAtOnePixel")
    notes = [text for text, kind in found.items() if kind == "note"]
    assert len(notes) == 1
    assert "cannot be trained with protocol.batch_size=1: Expected more than 1 value" in notes[0]
    assert set(found.values()) == {"good", "note"}, found


@pytest.mark.parametrize(
    ("losses", "kind"),
    [
        ([2.0] * 200, "bad"),  # it had all iterations
        ([2.0] * 100, "bad"),  # it had some, and learnt nothing
        ([2.0] * 99 + [0.9], "open"),  # it is learning
        ([2.0] * 8, "open"),  # it had hardly any
    ],
)
def test_slow_is_not_ill(losses: list[float], kind: str) -> None:
    finding = not_memorised(losses, score=0.5)
    assert finding.kind == kind
    assert f"after {len(losses)} iterations on two batches mIoU is 0.50" in finding.text


def test_memorising_stops_when_time_is_up(findings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.doctor.examination.SECONDS", 0.0)
    found = findings("Healthy")
    (text,) = [text for text, kind in found.items() if kind == "open"]
    assert text.startswith("after 1 iterations on two batches")
    assert "too slow" in text


@pytest.mark.parametrize("num_classes", [2, 3, 11, 37])
def test_the_batches_show_the_same_few_classes(num_classes: int) -> None:
    labels = [patient.halves(index, num_classes, 8, 12)[1] for index in range(4)]
    first, second = np.stack(labels[:2]), np.stack(labels[2:])
    assert np.array_equal(np.bincount(first.ravel()), np.bincount(second.ravel()))
    assert set(first.ravel()) == set(range(min(4, num_classes)))
    assert all(len(set(label.ravel())) == 2 for label in labels)


def test_the_command_exits_by_what_it_found() -> None:
    command = [sys.executable, "-m", "bench.doctor", "arch=segnit"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "segnet" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_network_without_num_classes_is_told_so(findings: Any) -> None:
    with pytest.raises(ValueError, match="takes no num_classes; give its constructor that arg"):
        findings("WithoutClasses")


class Forks(Healthy):
    """Goes another way with one image, which a graph cannot."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return 2 * logits if torch.compiler.is_exporting() else logits


@pytest.mark.parametrize(
    ("network", "kind", "words"),
    [
        ("Healthy", "good", "exported to ONNX: logits within"),
        ("WantsMultiples", "good", "exported to ONNX: logits within"),
        ("Forks", "bad", "exported to ONNX: logits within"),
        ("Dices", "note", "Dices cannot be exported: its evaluation is random"),
        ("Breaks", "note", "Breaks cannot be exported: size mismatch"),
    ],
)
def test_the_export_is_checked(
    tiny_config: Callable[..., Config], network: str, kind: str, words: str
) -> None:
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    config = tiny_config()
    config.arch = {"name": network, "_target_": f"{__name__}.{network}"}
    first, *others = check_export(admit(config))
    assert (first.kind, others) == (kind, [])
    assert first.text.startswith(words)


def test_without_the_extra_the_export_is_not_checked(
    tiny_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (found,) = check_export(admit(tiny_config()))
    assert found.kind == "note"
    assert 'onnxruntime is not installed, and this needs it: pip install "segbench' in found.text


def test_a_coarse_head_is_not_ill(tiny_config: Callable[..., Config]) -> None:
    config = tiny_config("protocol.image_size=[64,64]")
    config.arch = {"name": "Coarse", "_target_": f"{__name__}.Coarse"}
    found = [finding for finding in examine(admit(config)) if finding.kind == "bad"]
    assert not found


@pytest.mark.parametrize(
    ("network", "warning"),
    [
        ("ChangesItsInput", "changes its input in place"),
        ("Softmax", "gives probabilities"),
        ("SoftmaxInTraining", "in training, it gives probabilities"),
        ("Sigmoid", "gives numbers between 0 and 1 alone"),
        ("ForgetsALayer", "no gradient reaches unused.bias, unused.weight"),
        ("Healthy", None),
    ],
)
def test_the_cheap_checks_run_before_every_training(
    tiny_config: Callable[..., Config], prepared: Any, network: str, warning: str | None
) -> None:
    config = tiny_config("dry_run=true")
    config.arch = {"name": network, "_target_": f"{__name__}.{network}"}
    folder, monitor = prepared(config)
    run(folder, monitor)
    warned = [text for text in monitor._progress.notices if text.startswith("WARNING")]
    assert [text for text in warned if warning and warning in text] == warned
    assert len(warned) == (warning is not None)
