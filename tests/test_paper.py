"""What conf/ and DEVIATIONS say in numbers of the paper and of its authors' files, recomputed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bench.command_line import compose_config
from bench.data.class_weights import class_weights
from bench.run.optimiser import make_optimiser
from reports.read.published import published

ROOT = Path(__file__).parents[1]
DEVIATIONS = (ROOT / "DEVIATIONS.md").read_text()
CAMVID_TRAINING_IMAGES, ROAD_IMAGES = 367, 3433


def deviation(start: str) -> str:
    (found,) = [line for line in DEVIATIONS.splitlines() if line.startswith(f"| {start}")]
    return found


@pytest.mark.parametrize("dataset", ["camvid", "road_scenes", "sunrgbd"])
def test_the_printed_class_weights_are_there_for_each_set_of_the_paper(dataset: str) -> None:
    config = compose_config([f"dataset={dataset}", "protocol.class_weights=segnet_prototxt"])
    classes = config.dataset.classes
    weights = class_weights("segnet_prototxt", np.ones((1, len(classes) + 1)), config.dataset)
    by_name = dict(zip(classes, weights.tolist(), strict=True))
    if dataset == "sunrgbd":
        assert (by_name["wall"], by_name["lamp"], by_name["bag"]) == (0.382592, 5.347752, 4.017548)
    else:
        assert (by_name["Sky"], by_name["SignSymbol"]) == (0.2595, 9.6446)


def test_the_indoor_weights_are_median_frequencies_over_38_classes() -> None:
    """With the weight of the unlabelled pixels the median of the frequencies 1 / w is 1."""
    dataset = compose_config(["dataset=sunrgbd"]).dataset
    weights = [0.351185, *dataset.published_class_weights["segnet_prototxt"]]
    assert len(weights) == 38
    assert np.median(1 / np.array(weights)) == pytest.approx(1, abs=1e-5)


def test_the_weight_of_sign_symbol_differs_as_stated() -> None:
    """743,859 of the pixels of 351 images of 360x480, the median being Pavement's."""
    sign, pavement = 743_859 / (351 * 360 * 480), 2_845_085 / (349 * 360 * 480)
    assert pavement / sign == pytest.approx(3.85, abs=0.005)
    assert pavement / sign / 9.6446 - 1 == pytest.approx(-0.601, abs=5e-4)
    row = deviation("Sec. 3.2, median frequency balancing")
    assert "comes out at 3.85 and is printed as 9.64: -60.1 %" in row


def test_iterations_in_epochs_are_as_stated() -> None:
    config = compose_config(["+experiment=table3_camvid", "arch=segnet"])
    seen = config.max_iterations * config.protocol.batch_size
    epochs = round(seen / CAMVID_TRAINING_IMAGES), round(seen / ROAD_IMAGES)
    assert epochs == (1907, 204)
    assert "1,907 epochs of 367, and 204 of 3,433" in deviation("Table 3, 3,433")
    experiment = (ROOT / "conf/experiment/table3_camvid.yaml").read_text()
    assert "are 1,907 epochs of these images; they were 204 of the paper's" in experiment


def test_table_4s_captions_run_is_trained_as_long_as_the_paper_says() -> None:
    config = compose_config(["+experiment=table4_median", "arch=segnet"])
    row = "SegNet (median frequency balancing, caption)"
    assert config.max_iterations == published()["4", row, "caption/iter"].number
    assert config.protocol.class_weights == "median_frequency"


def test_table_1_decays_shifts_as_the_basic_files_do_and_no_other_protocol_does() -> None:
    factors = {
        name: compose_config([f"protocol={name}"]).protocol.batch_norm.shift_decay_factor
        for name in ("paper", "table1", "short", "demo")
    }
    assert factors == {"paper": None, "table1": 1.0, "short": None, "demo": None}


@pytest.mark.parametrize(("momentum", "exponent"), [(0.0, -0.5), (0.9, -5.0)])
def test_a_shift_decays_by_as_much_as_stated(momentum: float, exponent: float) -> None:
    """10,000 updates of Table 1's solver without a gradient, and of one without momentum."""
    protocol = compose_config(["protocol=table1"]).protocol
    protocol.momentum = momentum
    layer = nn.BatchNorm1d(1).double()
    nn.init.ones_(layer.bias)
    optimiser = make_optimiser(layer, protocol)
    layer.bias.grad = torch.zeros_like(layer.bias)
    for _ in range(10_000):
        optimiser.step()
    assert float(layer.bias.detach().log()) == pytest.approx(exponent, rel=0.005)
    assert f"e^{exponent:g}" in deviation("biases and batch-norm shifts")


def test_what_table_2_prints_is_the_last_column_of_table_3() -> None:
    cells = published()
    for here, there in {"Global avg.": "G", "Class avg.": "C", "mIoU": "mIoU", "BF": "BF"}.items():
        one = cells["2", "SegNet (3.5K dataset training - 140K)", here]
        assert one == cells["3", "SegNet", f">80K/{there}"]
    assert not [row for table, row, _ in cells if table == "2" and "Basic" in row]
    row = deviation("Table 2, class weights")
    assert (
        "the figures of Table 3's last column, trained without, and SegNet-Basic has no row" in row
    )


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("Sec. 4, input of the large", "the authors' files feed raw BGR, 0..255"),
        ("Sec. 4, FCN |", "multiplies pool4 by 0.01 and pool3 by 0.0001 before its scores"),
        ("Table 4's caption", "5,250 training images | the official list's 5,285"),
        ("Sec. 3.2, batch size 12", "network files, in which batch sizes stand, have 4"),
        ("Sec. 3.2, median freq", "its file prints 38"),
        (
            "batch norm |",
            "need `protocol.batch_norm.eps=1e-9`: with 1e-5 their logits differ by 14 %",
        ),
        ("Sec. 3, U-Net", "no ReLU after the up-convolutions"),
        ("Sec. 4, DeepLab-LargeFOV: stride", "the released network gives 46x61"),
        ("Sec. 4, DeepLab-LargeFOV: stride", "conv4 keeps dilation 1"),
        ("Sec. 4, DeepLab's classifier", "gives its weights 10 and its bias 20 times the rate"),
        ("Sec. 4, DeepLab's classifier", "a Gaussian of deviation 0.01"),
        ("Sec. 4, DeepLab's training", "score i stands on pixel 8i"),
    ],
)
def test_deviations_say_what_the_authors_files_have(row: str, sentence: str) -> None:
    assert sentence in deviation(row)


def test_caffe_rounds_deeplabs_pools_up_to_46x61() -> None:
    """Three 3x3 pools of stride 2 with padding 1; a window that began in the padding is dropped."""

    def pooled(size: int, *, up: bool) -> int:
        whole, rest = divmod(size + 2 - 3, 2)
        count = whole + 1 + (up and rest > 0)
        return count - ((count - 1) * 2 >= size + 1)

    sizes = {}
    for up in (True, False):
        height, width = 360, 480
        for _ in range(3):
            height, width = pooled(height, up=up), pooled(width, up=up)
        sizes[up] = height, width
    assert sizes == {True: (46, 61), False: (45, 60)}
