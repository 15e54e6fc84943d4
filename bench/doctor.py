"""`python -m bench.doctor arch=mynet`: is a network fit for training, before GPU hours are spent?

Builds the network for small synthetic images and holds it to what the harness relies on: logits of
the input's size, gradients for every parameter, training and evaluation that behave, the same
numbers twice, and that it can memorise two batches. Overrides are those of `python -m bench`.
"""

import argparse
import copy
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.batch_norm import recomputed
from bench.command_line import compose_config, user_errors
from bench.data.images import UInt8Array
from bench.data.order import derive_seed
from bench.data.pairs import some
from bench.device import prepare_device
from bench.evaluation import label_map
from bench.metrics.regions import confusion_matrix, region_score
from bench.network import build_network
from bench.training import batch_loss, make_optimiser, network_input

SMALL = "protocol.image_size=[64,96]"
DEFAULTS = ["dataset=synthetic", "protocol=demo", "protocol.precision=fp32", SMALL]
ODD = (33, 47)  # pixels added to the configured height and width
BATCH = 4
MEMORISED = 0.95
SECONDS = 105.0  # for the whole examination
TOO_FEW = 40  # iterations after which nothing can be said yet
MEMORISE_ITERATIONS = 400


@dataclass(frozen=True)
class Finding:
    """What a check found: `good`, `bad`, a `note` that is no fault, or `open`: no answer."""

    kind: str
    text: str


@dataclass(frozen=True)
class Patient:
    """A freshly built network and two batches to try it on.

    Attributes:
        inputs: normalised images (2, BATCH, 3, H, W).
        labels: uint8 (2, BATCH, H, W).
        admitted: when, by time.monotonic.
        num_classes: K.
    """

    network: nn.Module
    config: dict[str, Any]
    device: torch.device
    inputs: Tensor
    labels: Tensor
    admitted: float
    num_classes: int

    def twin(self) -> nn.Module:
        """Returns a copy that a check may train."""
        return copy.deepcopy(self.network)

    def loss(self, network: nn.Module, batch: int = 0, images: int = BATCH) -> Tensor:
        """Returns the training loss on the first images of a batch."""
        torch.manual_seed(derive_seed(0, "doctor", batch))
        return batch_loss(
            network(self.inputs[batch, :images]),
            self.labels[batch, :images],
            None,
            self.config["dataset"]["void"],
            "labelled_pixels",
        )


def main() -> None:
    """Examines a network and prints what was found; exits with 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.doctor", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="arch=NAME and other overrides")
    parser.add_argument("--config-dir", type=Path, help="a folder with your own arch/ YAML files")
    arguments = parser.parse_args()
    with user_errors(parser):
        overrides = [*DEFAULTS, *arguments.overrides]
        if arguments.config_dir is not None:  # a user's network may lie beside their YAML
            sys.path.append(str(arguments.config_dir.absolute()))
        patient = admit(compose_config(overrides, arguments.config_dir))
    kinds = []
    for finding in examine(patient):
        kinds.append(finding.kind)
        print(f"{finding.kind:>4}  {finding.text}", flush=True)
    healthy = "no fault found, but not all checked" if "open" in kinds else "fit for training"
    print(f"{kinds.count('bad')} faults" if "bad" in kinds else healthy)
    sys.exit(1 if "bad" in kinds else 0)


def admit(config: dict[str, Any]) -> Patient:
    """Builds the network and the images it is tried on.

    Raises:
        ValueError: the network cannot be built.
    """
    device = prepare_device(config)
    height, width = config["protocol"]["image_size"]
    num_classes = len(config["dataset"]["classes"])
    scenes = [quarters(index, num_classes, height, width) for index in range(2 * BATCH)]
    images = torch.from_numpy(np.stack([image for image, _ in scenes])).permute(0, 3, 1, 2)
    labels = torch.from_numpy(np.stack([label for _, label in scenes]))
    inputs = network_input(images, config["protocol"], device)
    return Patient(
        network=build_network(config).to(device),
        config=config,
        device=device,
        inputs=inputs.view(2, BATCH, 3, height, width),
        labels=labels.to(device).view(2, BATCH, height, width),
        admitted=time.monotonic(),
        num_classes=num_classes,
    )


def quarters(
    index: int, num_classes: int, height: int, width: int
) -> tuple[UInt8Array, UInt8Array]:
    """Paints an image uint8 (H, W, 3) of four noisy rectangles, with its label uint8 (H, W).

    Nothing in it is finer than the coarsest decoder can draw, and over eight images every one of
    up to 32 classes occurs, each in its own colour.
    """
    rng = np.random.default_rng(derive_seed(0, "doctor", index))
    colours = np.random.default_rng(0).integers(30, 226, (num_classes, 3))
    label = np.zeros((height, width), np.uint8)
    for part, (rows, columns) in enumerate(itertools.product((0, 1), repeat=2)):
        top, left = rows * height // 2, columns * width // 2
        label[top:, left:] = (4 * index + part) % num_classes
    noisy = colours[label] + rng.normal(0, 12, (height, width, 3))
    return noisy.clip(0, 255).astype(np.uint8), label


def examine(patient: Patient) -> Iterator[Finding]:
    """Yields the findings of every check; an exception in a check is one of them."""
    for check in (
        check_shapes,
        check_training_logits,
        check_gradients,
        check_evaluation,
        check_batch_of_one,
        check_determinism,
        check_memory,
    ):
        try:
            yield from check(patient)
        except Exception as error:  # noqa: BLE001 - whatever the network raises is a finding
            reason = " ".join(str(error).split())[:300]
            yield Finding("bad", f"{check.__doc__} It raised {type(error).__name__}: {reason}")


def check_shapes(patient: Patient) -> Iterator[Finding]:
    """In evaluation, logits (N, K, H, W) at the size of the input, odd sizes too."""
    height, width = patient.config["protocol"]["image_size"]
    network = patient.twin().eval()
    for size in ((height, width), (height + ODD[0], width + ODD[1])):
        with torch.inference_mode():
            logits = network(torch.zeros(2, 3, *size, device=patient.device))
        expected = (2, patient.num_classes, *size)
        if not isinstance(logits, Tensor):
            yield Finding(
                "bad", f"evaluation gives {type(logits).__name__}, not a tensor of logits"
            )
        elif tuple(logits.shape) != expected:
            yield Finding("bad", f"evaluation gives {tuple(logits.shape)} instead of {expected}")
        else:
            yield Finding("good", f"logits of {size[0]}x{size[1]} for an input of that size")


def check_training_logits(patient: Patient) -> Iterator[Finding]:
    """In training, logits (N, K, h, w), at most as large as the input."""
    logits = patient.twin().train()(patient.inputs[0])
    batch, channels, height, width = logits.shape
    full = patient.config["protocol"]["image_size"]
    fits = height <= full[0] and width <= full[1]
    if (batch, channels) != (BATCH, patient.num_classes) or not fits:
        yield Finding("bad", f"training gives logits of shape {tuple(logits.shape)}")
    elif [height, width] != full:
        yield Finding("note", f"it is trained at {height}x{width}; labels are shrunk to that")
    if not logits.isfinite().all():
        yield Finding("bad", "the first training logits are not all finite")


def check_gradients(patient: Patient) -> Iterator[Finding]:
    """Every parameter that is not frozen receives a finite gradient."""
    network = patient.twin().train()
    patient.loss(network).backward()  # type: ignore[no-untyped-call]
    trained = {n: p.grad for n, p in network.named_parameters() if p.requires_grad}
    frozen = sum(1 for p in network.parameters() if not p.requires_grad)
    without = [name for name, grad in trained.items() if grad is None]
    broken = [n for n, grad in trained.items() if grad is not None and not grad.isfinite().all()]
    if without:
        yield Finding("bad", f"no gradient reaches {some(without)}: the forward pass skips them")
    if broken:
        yield Finding("bad", f"the gradient of {some(broken)} is not finite")
    if not trained:
        yield Finding("bad", "no parameter is trainable")
    elif not without and not broken:
        note = f" ({frozen} are frozen)" if frozen else ""
        yield Finding("good", f"all {len(trained)} trainable tensors receive a gradient{note}")


def check_evaluation(patient: Patient) -> Iterator[Finding]:
    """In evaluation the answer for an image repeats and depends on nothing beside it."""
    network = patient.twin().eval()
    with torch.inference_mode():
        torch.manual_seed(0)
        together = network(patient.inputs[0])
        torch.manual_seed(1)
        again = network(patient.inputs[0])
        alone = network(patient.inputs[0, :1])
    scale = together.abs().max().clamp(min=1e-6)
    if not torch.equal(together, again):
        yield Finding("note", "evaluation is random: two passes over an image differ")
    elif (together[:1] - alone).abs().max() > 1e-3 * scale:
        yield Finding("bad", "the answer for an image changes with the other images of its batch")
    else:
        yield Finding("good", "evaluation repeats itself and treats each image alone")


def check_batch_of_one(patient: Patient) -> Iterator[Finding]:
    """Training with one image a batch."""
    try:
        patient.loss(patient.twin().train(), images=1)
    except ValueError as error:
        yield Finding("note", f"it cannot be trained with protocol.batch_size=1: {error}")
    else:
        yield Finding("good", "it can be trained with one image a batch")


def check_determinism(patient: Patient) -> Iterator[Finding]:
    """The same iteration twice gives the same gradients to the last bit."""
    gradients = []
    for _ in range(2):
        network = patient.twin().train()
        patient.loss(network).backward()  # type: ignore[no-untyped-call]
        gradients.append([p.grad for p in network.parameters() if p.grad is not None])
    same = all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    if same:
        yield Finding("good", "one iteration repeated gives the same gradients, bit for bit")
    else:
        yield Finding("bad", "one iteration repeated gives other gradients; runs will not repeat")


def check_memory(patient: Patient) -> Iterator[Finding]:
    """Two batches are memorised, mIoU above 0.95."""
    network = patient.twin().train()
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
    optimiser = make_optimiser(network, patient.config["protocol"])
    iteration, score, losses = 0, 0.0, []
    while iteration < MEMORISE_ITERATIONS and time.monotonic() - patient.admitted < SECONDS:
        loss = patient.loss(network, iteration % 2)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
        iteration += 1
        if iteration % 20 == 0 and (score := memorised(network, patient)) > MEMORISED:
            yield Finding("good", f"two batches memorised in {iteration} iterations")
            return
    text = f"after {iteration} iterations on two batches mIoU is {score:.2f}, not above {MEMORISED}"
    if iteration < MEMORISE_ITERATIONS and (iteration < TOO_FEW or losses[-1] < losses[0] / 2):
        yield Finding("open", f"{text}; this machine is too slow to see it memorise them")
    else:
        yield Finding("bad", f"{text}: it does not learn; check its initialisation and protocol.lr")


def memorised(network: nn.Module, patient: Patient) -> float:
    """Returns the mIoU on the two batches, batch-norm statistics set from them."""
    void = patient.config["dataset"]["void"]
    twin = recomputed(network, list(patient.inputs), "exact")
    total = np.zeros((patient.num_classes + 1,) * 2, np.int64)
    with torch.inference_mode():
        for inputs, labels in zip(patient.inputs, patient.labels, strict=True):
            for logits, label in zip(twin(inputs), labels.cpu().numpy(), strict=True):
                prediction = label_map(logits)
                total += confusion_matrix(
                    prediction, label, num_classes=patient.num_classes, void=void
                )
    return region_score(total, "mIoU")


if __name__ == "__main__":
    main()
