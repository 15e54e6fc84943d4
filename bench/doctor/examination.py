"""The checks of a network by `python -m bench.doctor`, each a generator of findings.

The last check asks whether the network can learn at all, not whether the protocol suits it: four
images of two halves each, Adam, dropout layers off, and an end as soon as it is seen. Statistics of
two images say little of those of four, so batch norm is fixed once both batches are memorised in
training, if that is not enough for evaluation.
"""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bench.data.files import some
from bench.deploy.parity import LOGITS, Deployed, compare
from bench.deploy.runtimes import graph_session
from bench.doctor.patient import BATCH, Patient
from bench.metrics.regions import mean_iou, summed
from bench.run.batch_norm import recomputed
from bench.run.contract import misfit, remarks
from bench.run.inference import logits_of, padded_size, size_multiple

ODD = (33, 47)  # pixels added to the configured height and width
# mIoU. A sound head that draws at a 32nd of the size blurs the border of the halves: it reaches
# 0.94. Who sees nothing of the image reaches 0.3.
MEMORISED = 0.85
SECONDS = 105.0  # for the whole examination
TOO_FEW = 40  # iterations after which nothing can be said yet
MEMORISE_ITERATIONS = 200
ADAM_LR = 3e-4  # at 1e-3 the networks of VGG's size overshoot first


@dataclass(frozen=True)
class Finding:
    """What a check found: `good`, `bad`, a `note` that is no fault, or `open`: no answer."""

    kind: str
    text: str


def examine(patient: Patient) -> Iterator[Finding]:
    """Yields the findings of every check; an exception in a check is one of them."""
    for check in (
        check_shapes,
        check_habits,
        check_training_logits,
        check_gradients,
        check_evaluation,
        check_batch_of_one,
        check_determinism,
        check_export,
        check_memory,
    ):
        try:
            yield from check(patient)
        except Exception as error:  # noqa: BLE001 - whatever the network raises is a finding
            reason = " ".join(str(error).split())[:300]
            yield Finding("bad", f"{check.__doc__} It raised {type(error).__name__}: {reason}")


def check_shapes(patient: Patient) -> Iterator[Finding]:
    """In evaluation, logits (N, K, H, W) at the size of the input, odd sizes too."""
    height, width = patient.inputs.shape[-2:]
    network = patient.twin().eval()
    for size in ((height, width), (height + ODD[0], width + ODD[1])):
        with torch.inference_mode():
            image = patient.inputs.new_zeros(1, patient.inputs.shape[2], *size)
            logits = logits_of(network, image)
        expected = (1, patient.num_classes, *size)
        wrong = misfit(logits, expected)
        if wrong is not None:
            yield Finding("bad", f"evaluation gives {wrong}")
        else:
            yield Finding("good", f"logits of {size[0]}x{size[1]} for an input of that size")


def check_habits(patient: Patient) -> Iterator[Finding]:
    """The input stays as it is, and logits are no probabilities."""
    texts = remarks(patient.twin(), patient.inputs[0])
    yield from (Finding("bad", text) for text in texts)
    if not texts:
        yield Finding("good", "the input stays as it is, and the output is no softmax")


def check_training_logits(patient: Patient) -> Iterator[Finding]:
    """In training, logits (N, K, h, w), at most as large as the input."""
    logits, _ = patient.first_pass
    batch, channels, height, width = logits.shape
    full = [*patient.inputs.shape[-2:]]
    fits = height <= full[0] and width <= full[1]
    if (batch, channels) != (BATCH, patient.num_classes) or not fits:
        yield Finding("bad", f"training gives logits of shape {tuple(logits.shape)}")
    elif [height, width] != full:
        yield Finding("note", f"it is trained at {height}x{width}; labels are shrunk to that")
    if not logits.isfinite().all():
        yield Finding("bad", "the first training logits are not all finite")


def check_gradients(patient: Patient) -> Iterator[Finding]:
    """Every parameter that is not frozen receives a finite gradient."""
    _, gradients = patient.first_pass
    trainable = [n for n, p in patient.network.named_parameters() if p.requires_grad]
    frozen = sum(1 for p in patient.network.parameters() if not p.requires_grad)
    without = [name for name in trainable if name not in gradients]
    broken = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
    if without:
        yield Finding("bad", f"no gradient reaches {some(without)}: the forward pass skips them")
    if broken:
        yield Finding("bad", f"the gradient of {some(broken)} is not finite")
    if not trainable:
        yield Finding("bad", "no parameter is trainable")
    elif not without and not broken:
        note = f" ({frozen} are frozen)" if frozen else ""
        yield Finding("good", f"all {len(trainable)} trainable tensors receive a gradient{note}")


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
        patient.logits(patient.twin().train(), images=1)
    except ValueError as error:
        yield Finding("note", f"it cannot be trained with protocol.batch_size=1: {error}")
    else:
        yield Finding("good", "it can be trained with one image a batch")


def check_determinism(patient: Patient) -> Iterator[Finding]:
    """The same iteration twice gives the same gradients to the last bit."""
    (_, first), (_, second) = patient.first_pass, patient.training_pass()
    same = all(torch.equal(first[name], second[name]) for name in first)
    if same:
        yield Finding("good", "one iteration repeated gives the same gradients, bit for bit")
    else:
        yield Finding("bad", "one iteration repeated gives other gradients; runs will not repeat")


def check_export(patient: Patient) -> Iterator[Finding]:
    """Exported to ONNX, it gives the same logits, image by image and at other sizes."""
    size, multiple = patient.inputs.shape[-2:], size_multiple(patient.network)
    try:
        session = graph_session(patient.network, size, patient.config.dataset.in_channels)
    except ValueError as error:  # not installed, or it cannot be exported: no fault in training
        yield Finding("note", str(error))
        return
    exported, any_size = Deployed(session, multiple), session.shape[0] is None
    images = patient.inputs[0].cpu()
    odd = padded_size((size[0] + ODD[0], size[1] + ODD[1]), multiple)
    larger = torch.nn.functional.interpolate(images, odd)
    network = patient.twin().cpu().float().eval()
    parity = compare(network, exported, [images, larger] if any_size else [images])
    yield Finding("good" if parity.is_near else "bad", f"exported to ONNX: {parity}")
    together, alone = exported(images), exported(images[:1])
    if (together[:1] - alone).abs().max() > LOGITS * max(1.0, parity.largest_logit):
        yield Finding("bad", "exported, the answer for an image changes with its batch")
    if not any_size:
        yield Finding("note", "exported for its own size alone; for any size it cannot be")


def check_memory(patient: Patient) -> Iterator[Finding]:
    """Two batches are memorised, mIoU above 0.85."""
    network = patient.twin().train()
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
    trainable = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trainable, ADAM_LR, fused=True)
    losses: list[float] = []
    seen = np.zeros((2, *[patient.num_classes + 1] * 2), np.int64)  # in training, for nothing
    fixed = False
    while True:
        batch = len(losses) % 2
        logits = patient.logits(network, batch)
        loss = patient.loss(logits, batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
        seen[batch] = patient.confusion(logits.detach(), batch)
        late = time.monotonic() - patient.admitted > SECONDS
        last = late or len(losses) == MEMORISE_ITERATIONS
        if last or (batch == 1 and mean_iou(summed(seen), "ground_truth") > MEMORISED):
            if not fixed:
                fix_batch_norm(network, patient)
                fixed = True
            score = memorised(network, patient)
            if score > MEMORISED:
                text = f"two batches memorised in {len(losses)} iterations, mIoU {score:.2f}"
                yield Finding("good", text)
                return
        if last:
            yield not_memorised(losses, score)
            return


def fix_batch_norm(network: nn.Module, patient: Patient) -> None:
    """Sets batch norm to the statistics of the two batches, for training too."""
    twin = recomputed(network, list(patient.inputs), "exact")
    network.load_state_dict(twin.state_dict())
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def memorised(network: nn.Module, patient: Patient) -> float:
    """Returns the mIoU on the two batches in evaluation."""
    twin = copy.deepcopy(network).eval()
    with torch.inference_mode():
        counts = [patient.confusion(patient.logits(twin, batch), batch) for batch in (0, 1)]
    return mean_iou(np.sum(counts, axis=0), "ground_truth").item()


def not_memorised(losses: list[float], score: float) -> Finding:
    """Says what is known of a network that did not reach the mIoU: ill, or only slow."""
    count = len(losses)
    text = f"after {count} iterations on two batches mIoU is {score:.2f}, not above {MEMORISED}"
    if count < MEMORISE_ITERATIONS and (count < TOO_FEW or losses[-1] < losses[0] / 2):
        return Finding("open", f"{text}; this machine is too slow to see it memorise them")
    return Finding("bad", f"{text}: it does not learn; check its forward pass and initialisation")
