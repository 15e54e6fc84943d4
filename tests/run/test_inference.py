"""Whole images and sliding windows; images at their own size; networks that want multiples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from bench import records
from bench.config import Config
from bench.data.order import mirrored
from bench.data.splits import load_splits
from bench.evaluate import evaluate_elsewhere
from bench.predict import predict
from bench.protocol import InferenceConfig, InferenceMode
from bench.run.evaluation import evaluate, evaluation_network
from bench.run.inference import evaluation_sizes, infer, windows
from bench.run.monitor import Monitor
from bench.run.network import build_network, describe_network
from bench.run.preparation import prepare_training
from bench.run.run import run
from bench.run.trained import Trained
from bench.run.training import train, training_batches

CPU = torch.device("cpu")
WHOLE = InferenceConfig()
OWN = ("protocol.image_size=null", "protocol.augmentation.crop=[24,32]")
SLIDE = "protocol.inference={mode: slide, crop: [24,32], stride: [12,16]}"
Configured = Callable[..., Config]


def slide(crop: list[int], stride: list[int]) -> InferenceConfig:
    return InferenceConfig(InferenceMode.slide, crop, stride)


@pytest.fixture
def network(tiny_config: Configured) -> nn.Module:
    return build_network(tiny_config()).eval()


@pytest.mark.parametrize("crop", [[40, 56], [64, 64]])
@torch.inference_mode()
def test_one_window_is_the_whole_image_bit_for_bit(network: nn.Module, crop: list[int]) -> None:
    images = torch.randn(2, 3, 40, 56)
    assert len(windows((40, 56), slide(crop, [8, 8]))) == 1
    assert torch.equal(infer(network, images, slide(crop, [8, 8])), network(images))
    assert torch.equal(infer(network, images, WHOLE), network(images))


@torch.inference_mode()
def test_where_windows_overlap_their_mean_counts(network: nn.Module) -> None:
    images = torch.randn(1, 3, 32, 60)
    found = infer(network, images, slide([32, 48], [32, 48]))
    left, right = network(images[..., :48]), network(images[..., 12:])
    assert torch.equal(found[..., :12], left[..., :12])
    assert torch.equal(found[..., 48:], right[..., 36:])
    both = (left[..., 12:] + right[..., :36]) / 2
    torch.testing.assert_close(found[..., 12:48], both, rtol=1e-6, atol=1e-6)


@torch.inference_mode()
def test_a_network_that_sees_single_pixels_does_not_notice_windows() -> None:
    pixelwise, images = nn.Conv2d(3, 4, 1), torch.randn(2, 3, 37, 53)
    for crop, stride in (([16, 16], [16, 16]), ([20, 53], [7, 5]), ([37, 9], [1, 8])):
        found = infer(pixelwise, images, slide(crop, stride))
        torch.testing.assert_close(found, pixelwise(images), rtol=1e-5, atol=1e-5)


def test_windows_cover_an_image_and_stay_within() -> None:
    for size, crop, stride in (((37, 53), [16, 16], [16, 11]), ((5, 99), [16, 16], [16, 16])):
        seen = np.zeros(size, int)
        for rows, columns in windows(size, slide(crop, stride)):
            assert seen[rows, columns].shape == (min(16, size[0]), min(16, size[1]))
            seen[rows, columns] += 1
        assert seen.min() >= 1


class Particular(nn.Module):
    """Insists on multiples of 8, and says so."""

    def __init__(self, num_classes: int, multiple: Any = 8) -> None:
        super().__init__()
        self.size_multiple = multiple
        self.layer = nn.Conv2d(3, num_classes, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        assert (images.shape[2] % 8, images.shape[3] % 8) == (0, 0)
        logits: Tensor = self.layer(images)
        return logits


def particular(config: Config, **arguments: Any) -> Config:
    config.arch = {"name": "particular", "_target_": f"{__name__}.Particular", **arguments}
    return config


@torch.inference_mode()
def test_a_network_that_wants_multiples_is_given_them() -> None:
    network, images = Particular(4), torch.randn(2, 3, 13, 21)
    found = infer(network, images, WHOLE)
    assert found.shape == (2, 4, 13, 21)
    edge = torch.cat([images, *[images[:, :, -1:]] * 3], 2)
    edge = torch.cat([edge, *[edge[..., -1:]] * 3], 3)
    assert torch.equal(found, network.layer(edge)[:, :, :13, :21])
    assert describe_network(network)["size_multiple"] == 8


def test_what_is_padded_in_training_is_void(tiny_config: Configured, tmp_path: Path) -> None:
    config = particular(tiny_config("protocol.image_size=[27,45]"))
    splits = load_splits(config, ["train", "test"])
    training = prepare_training(config, tmp_path, splits, CPU, Monitor(tmp_path))
    images, labels = next(training_batches(training, range(1)))
    assert images.shape[2:] == labels.shape[1:] == (32, 48)
    assert (labels[:, 27:] == 11).all()
    assert (labels[:, :, 45:] == 11).all()
    assert torch.equal(images[:, :, 27:], images[:, :, 26:27].expand(-1, -1, 5, -1))
    train(training, 1)
    evaluation_network(training)


@pytest.mark.parametrize("multiple", [0, "32", 2.0])
def test_a_multiple_that_is_none_is_one_sentence(tiny_config: Configured, multiple: Any) -> None:
    network = build_network(particular(tiny_config(), multiple=multiple))
    with pytest.raises(ValueError, match=r"Particular\.size_multiple is .*; it must be a whole"):
        describe_network(network)


@pytest.fixture
def pictures(tmp_path: Path) -> str:
    """A folder of images of several sizes."""
    rng = np.random.default_rng(0)
    sizes = {
        "train": [(40, 56), (30, 70), (48, 33), (40, 56), (64, 80)],
        "test": [(31, 45), (50, 40)],
    }
    for split, some in sizes.items():
        for kind in ("images", "labels"):
            (tmp_path / "set" / kind / split).mkdir(parents=True)
        for number, size in enumerate(some):
            image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            label = (image[..., 0] > 127).astype(np.uint8)
            for kind, picture in (("images", image), ("labels", label)):
                path = tmp_path / "set" / kind / split / f"{split}{number}.png"
                Image.fromarray(picture).save(path)
    (tmp_path / "set/classes.yaml").write_text("classes: {a: [1, 2, 3], b: [4, 5, 6]}\nvoid: 255\n")
    return f"dataset.root={tmp_path}/set"


@pytest.fixture
def own_sizes(tmp_path: Path, pictures: str) -> Callable[..., Config]:
    from bench.command_line import compose_config

    def compose(*overrides: str) -> Config:
        return compose_config(
            ["arch=segnet_basic", "arch.width=4", "protocol=demo", "dataset=folder", pictures,
             "dataset.cache=null", "protocol.evaluation_splits=[test]", "protocol.mirror=true",
             "max_iterations=4", "threads=1", f"runs={tmp_path}/runs", "protocol.batch_size=2",
             *OWN, *overrides]
        )  # fmt: skip

    return compose


def weights(folder: Path) -> dict[str, Tensor]:
    loaded = torch.load(folder / "weights-last.pt", weights_only=True)["network"]
    return {name: tensor for name, tensor in loaded.items()}


def test_images_of_several_sizes_are_trained_on_and_evaluated_at_their_own(
    own_sizes: Callable[..., Config], prepared: Callable[..., Any], tmp_path: Path
) -> None:
    """And a run that is interrupted goes on bit for bit; predict and evaluate do as it did."""
    config = own_sizes("protocol.augmentation.scale=[0.5,2]", SLIDE)
    whole, monitor = prepared(config, "whole")
    assert run(whole, monitor).iteration == 4
    config.max_iterations = 2
    parts, monitor = prepared(config, "parts")
    run(parts, monitor)
    config.max_iterations = 4
    run(*prepared(config, "parts"))
    assert all(
        torch.equal(a, b)
        for a, b in zip(weights(whole).values(), weights(parts).values(), strict=True)
    )
    (evaluation,) = records.read_evaluations(whole, "test")
    assert np.sum(evaluation["confusion"]) == 31 * 45 + 50 * 40
    network = build_network(config).eval()
    network.load_state_dict(weights(whole))
    trained = Trained(network, config, CPU, 4)
    elsewhere = evaluate_elsewhere(whole, trained, config, "test")
    name = "network.json"  # what it says of pretraining, reports read there too
    assert records.read_json(elsewhere / name) == records.read_json(whole / name)
    (again,) = records.read_evaluations(elsewhere, "test")
    assert again["confusion"] == evaluation["confusion"]
    predict(trained, {"one": Path(config.dataset.root or "") / "images/test/test0.png"}, tmp_path)
    kept = whole / "predictions" / "test-0000004" / "test0.png"
    assert (np.asarray(Image.open(tmp_path / "one.png")) == np.asarray(Image.open(kept))).all()


def test_slide_is_not_whole(own_sizes: Callable[..., Config], tmp_path: Path) -> None:
    config, sliding = own_sizes(), own_sizes(SLIDE)
    split, network = load_splits(config, ["test"])["test"], build_network(config).eval()
    found = [
        evaluate(network, split, one, device=CPU, monitor=Monitor(tmp_path))["confusion"]
        for one in (config, sliding)
    ]
    assert (found[0] != found[1]).any()
    assert evaluation_sizes(config, [split]) == [(31, 45), (50, 40)]
    assert evaluation_sizes(sliding, [split]) == [(24, 32)]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["protocol.augmentation.crop=null"],
         r"image_size is null, but the images of split 'train' have 4 sizes, from 48x33 to 64x80; "
         r"give protocol\.augmentation\.crop"),
        (["protocol.augmentation.crop=[100,100]", "protocol.augmentation.scale=[0.5,1.2]"],
         r"crop is \[100, 100\], and no image of split 'train' is so large, enlarged by at most "
         r"1\.2: the largest is 64x80; lower it"),
    ],
)  # fmt: skip
def test_what_own_sizes_forbid_is_said_before_training(
    own_sizes: Callable[..., Config], tmp_path: Path, overrides: list[str], message: str
) -> None:
    config = own_sizes(*overrides)
    splits = load_splits(config, ["train", "test"])
    with pytest.raises(ValueError, match=message):
        prepare_training(config, tmp_path, splits, CPU, Monitor(tmp_path))


def test_images_of_one_size_need_no_crop_to_be_trained_on_at_their_own(
    tiny_config: Configured, tmp_path: Path
) -> None:
    """And what is drawn of colours, or mirrored, leaves labels where they are."""
    batches = []
    for overrides in ([], ["protocol.augmentation.contrast=0.5"], ["protocol.mirror=true"]):
        config = tiny_config("protocol.image_size=null", *overrides)
        splits = load_splits(config, ["train", "test"])
        training = prepare_training(config, tmp_path, splits, CPU, Monitor(tmp_path))
        batches.append(next(training_batches(training, range(1))))
    (images, labels), (changed, unchanged), (flipped, flipped_labels) = batches
    assert images.shape == (4, 3, 40, 56)
    assert torch.equal(labels, unchanged)
    assert not torch.equal(images, changed)
    flips = torch.from_numpy(mirrored(0, 0, 4))
    assert 0 < flips.sum() < 4
    assert torch.equal(flipped[flips], images[flips].flip(3))
    assert torch.equal(flipped_labels[~flips], labels[~flips])


def test_mirroring_and_crops_are_drawn_apart(
    own_sizes: Callable[..., Config], tmp_path: Path
) -> None:
    """What is mirrored is the same with and without crops, and crops with and without mirroring."""
    batches = {}
    for mirror in ("true", "false"):
        config = own_sizes(f"protocol.mirror={mirror}", "protocol.augmentation.scale=[0.5,2]")
        splits = load_splits(config, ["train", "test"])
        training = prepare_training(config, tmp_path, splits, CPU, Monitor(tmp_path))
        batches[mirror] = list(training_batches(training, range(6)))
    for iteration, (with_it, without) in enumerate(zip(*batches.values(), strict=True)):
        flips = torch.from_numpy(mirrored(0, iteration, 2))
        for one, other in zip(with_it, without, strict=True):
            assert torch.equal(one[flips], other[flips].flip(-1))
            assert torch.equal(one[~flips], other[~flips])


def test_own_sizes_do_not_stay_on_a_device(own_sizes: Callable[..., Config]) -> None:
    config = own_sizes("dataset.resident=device")
    with pytest.raises(ValueError, match=r"resident is device, but the images of train have 4 siz"):
        load_splits(config, ["train"], CPU)


def test_a_network_that_cannot_take_evaluated_sizes_is_refused_before_training(
    own_sizes: Callable[..., Config], tmp_path: Path
) -> None:
    config = own_sizes()
    splits = load_splits(config, ["train", "test"])
    prepare_training(particular(config), tmp_path, splits, CPU, Monitor(tmp_path))
    particular(config, multiple=1)  # which asks for no padding
    with pytest.raises(ValueError, match=r"fails in evaluation of 31x45.*size_multiple = 32"):
        prepare_training(config, tmp_path, splits, CPU, Monitor(tmp_path))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("protocol.augmentation.scale=[2]", r"scale is \[2\.0\]; it must be \[lowest, highest\]"),
        ("protocol.augmentation.scale=[0,1]", r"scale is \[0\.0, 1\.0\]; it must be \[lowest"),
        ("protocol.augmentation.scale=[2,1]", r"scale is \[2\.0, 1\.0\]; it must be \[lowest"),
        ("protocol.augmentation.crop=[8]", r"crop is \[8\]; it must be \[height, width\] in pix"),
        ("protocol.augmentation.crop=[64,48]", r"crop is \[64, 48\]; it must be within protocol\."
         r"image_size=\[32, 48\], enlarged by at most 1,"),
        ("protocol.augmentation.contrast=2", r"contrast is 2\.0; it must be from 0 to 1"),
        ("protocol.augmentation.hue=0.1", r"augmentation\.hue: no such key|hue"),
        ("protocol.inference.mode=slide", r"crop is None; it must be \[height, width\] in pix"),
        ("protocol.inference.crop=[8,8]", r"crop is \[8, 8\]; it must be null where mode=whole"),
        ("protocol.inference={mode: slide, crop: [8,8], stride: [9,8]}",
         r"stride is \[9, 8\]; it must be at most protocol\.inference\.crop=\[8, 8\]"),
        ("protocol.inference={mode: slide, crop: [40,8], stride: [8,8]}",
         r"inference\.crop is \[40, 8\]; it must be within protocol\.image_size=\[32, 48\]"),
        ("protocol.inference.mode=tiles", "mode.*slide"),
    ],
)  # fmt: skip
def test_a_wrong_value_names_key_value_and_remedy(
    tiny_config: Configured, override: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_config(override)


def test_costs_need_a_size(tiny_config: Configured) -> None:
    with pytest.raises(ValueError, match=r"image_size is None; it must be .* where cost\.measure"):
        tiny_config("protocol.image_size=null", "cost.measure=true")
    config = tiny_config(*OWN, "cost.measure=true")
    assert config.protocol.measured_size == [24, 32]
