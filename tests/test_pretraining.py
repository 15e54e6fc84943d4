"""Pretraining is declared, held to what was loaded, and no part of a run's identity."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from tiny_run import TINY

from bench import records
from bench.command_line import compose_config
from bench.config import Config, identity
from bench.pretraining import of_run
from bench.run import checkpoints
from bench.run.monitor import Monitor
from bench.run.network import weights_digest
from bench.run.preparation import prepare_network
from bench.run.run import run
from bench.run.trained import without_weights

Compose = Callable[..., Config]
Prepare = Callable[..., tuple[Path, Monitor]]
SAID = "{data: ImageNet-1k, labels: 1000 classes, source: timm, normalisation: imagenet}"
DECLARED = f"++arch.pretraining={SAID}"
PARTS = {
    "data": "ImageNet-1k", "labels": "1000 classes", "source": "timm", "normalisation": "imagenet",
}  # fmt: skip
OTHERS = [override for override in TINY if not override.startswith("arch")]


def lraspp(*overrides: str) -> Config:
    """A tiny run of a network of torchvision."""
    return compose_config(["arch=lraspp_mobilenet_v3_large", *OTHERS, *overrides])


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    """A file of weights as torchvision's classifier has them."""
    torch.manual_seed(7)
    network = torchvision.models.mobilenet_v3_large(weights=None, num_classes=2)
    torch.save(network.state_dict(), tmp_path / "mobilenet.pth")
    return tmp_path / "mobilenet.pth"


def test_a_declaration_is_kept_in_the_record_and_none_is_not() -> None:
    assert compose_config(["arch=segnet", DECLARED]).arch["pretraining"] == PARTS
    assert "pretraining" not in compose_config(["arch=segnet"]).arch


def test_a_declaration_makes_no_other_run() -> None:
    assert identity(compose_config(["arch=segnet", DECLARED])) == identity(
        compose_config(["arch=segnet"])
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["++arch.pretraining=ImageNet"], r"pretraining is 'ImageNet'; it must be none, or such"),
        (["++arch.pretraining={data: x}"], r"pretraining\.labels is None; it must be text"),
        (["++arch.pretraining={dat: x}"], r"pretraining\.dat: no such key; .*pretraining\.data\?"),
        (
            [DECLARED, "protocol.normalisation=lcn"],
            "but protocol.normalisation is lcn; set",
        ),
        ([DECLARED.replace("imagenet", "bgr")], "normalisation is bgr; it must be one of none, im"),
        ([DECLARED, "init_from=/x"], "arch.pretraining is given; it must be none where init_from"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused_before_data_are_read(
    overrides: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compose_config(["arch=segnet", *overrides])


def test_what_is_loaded_must_be_declared_and_what_is_declared_loaded(backbone: Path) -> None:
    loading = f"+arch.weights={backbone}"
    with pytest.raises(ValueError, match=r"loads weights \(mobilenet.pth: feat.*\+\+arch.pre"):
        prepare_network(lraspp(loading))
    with pytest.raises(ValueError, match=r"says ImageNet-1k, but .* has loaded no weights"):
        prepare_network(lraspp(DECLARED))
    assert prepare_network(lraspp(loading, DECLARED)).loaded_weights


def test_a_pretrained_run_records_its_condition_and_digest_and_holds_to_it(
    prepared: Prepare, backbone: Path
) -> None:
    overrides = [f"+arch.weights={backbone}", DECLARED, "protocol.encoder_lr_factor=0.5"]
    config = lraspp(*overrides, "max_iterations=1")
    folder, monitor = prepared(config)
    digest = weights_digest(network := prepare_network(config), network.loaded_weights)
    run(folder, monitor)
    record = records.read_json(folder / "network.json")
    assert record["pretraining"] == PARTS
    assert record["weights_digest"] == digest
    state = torch.load(backbone, weights_only=True)
    name = "network.backbone.0.0.weight"
    assert record["loaded_weights"][name] == "mobilenet.pth: features.0.0.weight"
    assert torch.equal(network.state_dict()[name], state["features.0.0.weight"])

    state["features.0.0.weight"][0, 0, 0, 0] += 1
    torch.save(state, backbone)
    (folder / "end.json").unlink(missing_ok=True)
    with pytest.raises(ValueError, match=rf"began with had the digest {digest}, and those loaded"):
        run(*prepared(lraspp(*overrides, "max_iterations=2")))


def test_a_run_on_another_set_is_a_pretraining_and_one_on_the_same_goes_on(
    tiny_config: Compose, prepared: Prepare
) -> None:
    source, _ = prepared(tiny_config(), "source")
    checkpoints.save(source / "weights-last.pt", {"iteration": 6, "network": {}})
    records.write_json(source / "network.json", {"pretraining": PARTS})
    start = [f"init_from={source}", "init_iteration=6"]
    assert of_run(tiny_config(*start)) == PARTS
    assert of_run(tiny_config(*start, "dataset.name=Other")) == {
        "data": "Synthetic, after ImageNet-1k",
        "labels": "11 classes",
        "source": "source",
        "normalisation": "imagenet",
    }
    records.write_json(source / "network.json", {"pretraining": "ImageNet"})
    with pytest.raises(ValueError, match=r"network\.json: key pretraining is 'ImageNet', where"):
        of_run(tiny_config(*start))
    records.write_json(source / "network.json", {})
    assert of_run(tiny_config(*start)) == "none"
    assert of_run(tiny_config()) == "none"


def test_a_trained_network_is_built_without_the_files_it_started_from() -> None:
    arch: dict[str, Any] = {"weights": "x", "encoder_weights": "y", "pretrained": "z", "width": 4}
    assert without_weights(arch) == {
        "weights": None, "encoder_weights": None, "pretrained": "z", "width": 4,
    }  # fmt: skip
