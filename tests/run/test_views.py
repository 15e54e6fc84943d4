"""Several views of an image: a row beside the network's own, never in place of it, with a price."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench import records
from bench.config import Config, fingerprint, identity, variant_of
from bench.cost.measurement import new_measurement
from bench.cost.work import multiply_accumulates
from bench.cost.worker import Worker
from bench.cost.workload import Workload, measured_input
from bench.data.splits import load_splits
from bench.launch.launch import covers
from bench.protocol import InferenceConfig
from bench.run.inference import evaluation_sizes
from bench.run.monitor import Monitor
from bench.run.network import build_network
from bench.run.preparation import prepare_training
from bench.run.run import run
from bench.run.views import Views, as_evaluated

WHOLE = InferenceConfig()
TTA = "postprocess=test_time_augmentation"
Configured = Callable[..., Config]


@torch.inference_mode()
def test_one_view_is_the_network_and_two_are_the_mean_of_both_sides(
    tiny_config: Configured,
) -> None:
    network, images = build_network(tiny_config()).eval(), torch.randn(2, 3, 32, 48)
    own, mirrored = network(images).softmax(1), network(images.flip(3)).flip(3).softmax(1)
    assert torch.equal(Views((1.0,), mirror=False).probs(network, images, WHOLE), own)
    found = Views((1.0,), mirror=True).probs(network, images, WHOLE)
    torch.testing.assert_close(found, (own + mirrored) / 2)


@torch.inference_mode()
def test_a_scale_resizes_what_the_network_sees() -> None:
    sizes = []

    class Watched(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(tuple(x.shape[2:]))
            return super().forward(x)

    network, images = Watched(3, 2, 1), torch.randn(1, 3, 30, 50)
    found = Views((0.5, 1.0, 1.5), mirror=False).probs(network, images, WHOLE)
    assert sizes == [(15, 25), (30, 50), (45, 75)]
    half = F.interpolate(images, (15, 25), mode="bilinear", antialias=True)
    back = F.interpolate(network(half), (30, 50), mode="bilinear", antialias=True)
    large = F.interpolate(images, (45, 75), mode="bilinear", antialias=True)
    again = F.interpolate(network(large), (30, 50), mode="bilinear", antialias=True)
    expected = sum(part.softmax(1) for part in (back, network(images), again)) / 3
    torch.testing.assert_close(found, expected)


def test_a_run_gets_a_row_of_views_beside_its_own_and_only_once(
    tiny_config: Configured, prepared: Callable[..., tuple[Path, Monitor]],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from reports.after_run import print_tables

    plain, monitor = prepared(tiny_config(), "plain")
    run(plain, monitor)
    config = tiny_config(TTA)
    folder, monitor = prepared(config)
    end = run(folder, monitor)
    assert records.read_evaluations(plain) == records.read_evaluations(folder)
    variant = "TTA-0.75-1-1.25-mirrored"
    assert end.postprocessed == [variant] == [variant_of(config.postprocess)]
    assert covers(end, config)
    assert not covers(end, tiny_config(TTA, "postprocess.mirror=false"))
    (row,) = records.read_evaluations(folder, "test", variant=variant)
    assert row["confusion"] != records.read_evaluations(folder, "test")[-1]["confusion"]
    assert (row["passes"], row["parameters"]["scales"]) == (6, [0.75, 1.0, 1.25])
    path = folder / "evaluations" / f"test.{variant}-0000006.json"
    before = path.stat().st_mtime_ns
    run(folder, Monitor(folder))
    assert path.stat().st_mtime_ns == before
    capsys.readouterr()
    print_tables([folder])
    shown = "".join(capsys.readouterr().out.split())  # long names are wrapped
    assert "SegNet-Basic-TTA-0.75-1-1.25-mirrored" in shown
    assert "6viewsofanimage,together" in shown


def test_a_network_that_cannot_take_a_view_is_refused_before_training(
    tiny_config: Configured, tmp_path: Path
) -> None:
    from test_inference import particular

    config = particular(tiny_config(TTA, "postprocess.scales=[1,1.1]"), multiple=1)
    splits = load_splits(config, ["train", "test"])
    assert evaluation_sizes(config, [splits["test"]]) == [(32, 48), (35, 53)]
    cpu = torch.device("cpu")
    with pytest.raises(ValueError, match="fails in evaluation of 35x53"):
        prepare_training(config, tmp_path, splits, cpu, Monitor(tmp_path))


def test_views_change_neither_fingerprint_nor_identity(tiny_config: Configured) -> None:
    plain, views = tiny_config(), tiny_config(TTA)
    assert fingerprint(plain) == fingerprint(views)
    assert identity(plain) == identity(views)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([TTA, "postprocess.scales=[]"], r"scales is \[\]; it must be a list of different numbers"),
        ([TTA, "postprocess.scales=[1,1]"], r"scales is \[1, 1\]; it must be a list of different"),
        ([TTA, "postprocess.scales=[0]"], r"scales is \[0\]; it must be a list of different num"),
        ([TTA, "postprocess.mirror=3"], r"mirror is 3; it must be true or false"),
        ([TTA, "+postprocess.flip=true"], r"postprocess\.flip: no such key"),
        ([TTA, "cost.measure=true"], r"cost\.backward is True; it must be false where the cost of"),
    ],
)
def test_wrong_views_are_one_sentence(
    tiny_config: Configured, overrides: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_config(*overrides)


COST = ["cost.measure=true", "cost.backward=false"]


def test_views_and_windows_have_a_price_of_their_own(tiny_config: Configured) -> None:
    """The work that is counted is that of all passes."""
    slide = "protocol.inference={mode: slide, crop: [32,24], stride: [32,24]}"
    views, work = [TTA, "postprocess.scales=[1]"], []
    for overrides in ([], views, [slide], [slide, *views]):
        config = tiny_config(*COST, *overrides)
        network = as_evaluated(build_network(config), config)
        work.append(multiply_accumulates(network, measured_input(network, config.protocol)))
    assert [one / work[0] for one in work] == [1, 2, 1, 2]


@pytest.mark.slow
def test_a_measuring_process_describes_the_views(tiny_config: Configured) -> None:
    plain, views = (Worker(tiny_config(*COST, *more)).describe_task() for more in ([], [TTA]))
    assert plain["work"]["parameters"] == views["work"]["parameters"]
    ratio = views["work"]["multiply_accumulates"] / plain["work"]["multiply_accumulates"]
    assert 2 * (0.75**2 + 1 + 1.25**2) * 0.9 < ratio < 2 * (0.75**2 + 1 + 1.25**2) * 1.1
    assert views["estimates"]["inference"] > plain["estimates"]["inference"]


def test_the_price_of_views_is_a_row_of_its_own(tiny_config: Configured) -> None:
    config = tiny_config(*COST, TTA)
    measurement = new_measurement(config)
    assert measurement.name == "SegNet-Basic-TTA-0.75-1-1.25-mirrored"
    assert measurement.path != new_measurement(tiny_config(*COST)).path
    work = Workload.make(build_network(config), config, 1, training=False)
    assert work.forward().sum(1).sub(1).abs().max() < 1e-4  # probabilities


def test_a_network_that_sees_images_whole_is_measured_as_it_is(tiny_config: Configured) -> None:
    config = tiny_config()
    network = build_network(config)
    assert as_evaluated(network, config) is network
