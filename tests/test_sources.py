"""Which code is a run's: what decides its numbers, and neither comments nor what only talks."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import sources
from bench.config import Config
from bench.run.network import OWN, describe_network
from bench.sources import changed, code_of

NET = """import torch
from blocks import width
class Net(torch.nn.Conv2d):
    \"\"\"A network.\"\"\"
    def __init__(self, num_classes):
        super().__init__(3, num_classes, width())
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "codenet.py").write_text(NET)
    (tmp_path / "blocks.py").write_text("def width():\n    return 1\n")
    (tmp_path / "other.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def code(config: Config) -> dict[str, str]:
    return code_of(replace(config, arch={"name": "n", "_target_": "codenet.Net"}))


def rewrite(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


@pytest.mark.parametrize(
    ("file", "before", "after", "counts"),
    [
        ("codenet.py", "Conv2d", "Conv3d", True),
        ("codenet.py", "A network.", "Another sentence.", False),
        ("codenet.py", "import torch", "import torch  # a comment", False),
        ("blocks.py", "return 1", "return 3", True),
        ("blocks.py", "return 1", "return  1", False),
        ("other.py", "x = 1", "x = 2", False),
    ],
)
def test_the_code_of_an_own_network(
    own: Path, tiny_config: Callable[..., Config], file: str, before: str, after: str, counts: bool
) -> None:
    config = tiny_config()
    then = code(config)
    rewrite(own / file, before, after)
    now = code(config)
    assert (now["network"] != then["network"]) is counts
    assert (now["reader"], now["bench"]) == (then["reader"], then["bench"])
    assert changed({"code": then}, now) == (["its network"] if counts else [])


@pytest.mark.parametrize(
    ("target", "edited"),
    [
        ("codenet.Net.build", "blocks.py"),
        ("folder.net.Net", "folder/net.py"),
        ("folder.net.Net", "folder/part.py"),
        ("folder.net.Net.build", "blocks.py"),
    ],
)
def test_the_code_is_found_through_folders_and_parts_of_a_class(
    own: Path, tiny_config: Callable[..., Config], target: str, edited: str
) -> None:
    """Python imports from a folder without __init__.py, and a target may be a class method."""
    (own / "folder").mkdir()
    (own / "folder" / "net.py").write_text(f"from .part import depth\n{NET}")
    (own / "folder" / "part.py").write_text("def depth():\n    return 1\n")
    config = replace(tiny_config(), arch={"name": "n", "_target_": target})
    then = code_of(config)
    (own / edited).write_text((own / edited).read_text() + "\nx = 1\n")
    assert changed({"code": then}, code_of(config)) == ["its network"]


def test_of_an_installed_network_only_its_own_package_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torch lies beside torchvision: thousands of files, which would take minutes to read."""
    place = tmp_path / "site-packages"
    for name, text in (("others_nets", "from others_nets import parts"), ("others_torch", "")):
        (place / name).mkdir(parents=True)
        (place / name / "__init__.py").write_text(f"{text}\nimport others_torch\n")
    (place / "others_nets" / "parts.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(place)
    found = sources._closure("others_nets.Net")
    assert found == {place / "others_nets" / name for name in ("__init__.py", "parts.py")}


def test_the_code_of_bench_is_what_computes(tiny_config: Callable[..., Config]) -> None:
    names = {str(p.relative_to(sources.HERE)) for r in sources.ROOMS for p in sources._files(r)}
    computes = {"run/training.py", "run/evaluation.py", "data/order.py", "metrics/regions.py"}
    talks = {"run/monitor.py", "run/wandb_log.py", "data/check.py", "run/environment.py"}
    assert computes | {"seeds.py"} <= names
    assert not talks & names


def test_a_record_that_does_not_tell_is_of_other_code(tiny_config: Callable[..., Config]) -> None:
    assert changed({"sources": "64ea19f229a5"}, code_of(tiny_config())) == ["all of its code"]


def test_reading_the_code_imports_neither_torch_nor_the_network(own: Path) -> None:
    assert "codenet" not in sys.modules


def test_an_initialisation_is_told_only_where_it_is_known() -> None:
    import torch

    from architectures.segnet import SegNet
    from bench.command_line import compose_config
    from bench.run.network import build_network

    class Own(torch.nn.Conv2d):
        pass

    class Said(torch.nn.Conv2d):
        initialisation = "Glorot initialisation"

    class Derived(SegNet):
        """It may have loaded weights in its constructor."""

    arch: dict[str, Any] = compose_config(["arch=segnet", "dataset=synthetic"]).arch
    arguments = {k: v for k, v in arch.items() if k not in {"name", "_target_", "weights"}}
    config = compose_config(["arch=segnet_basic", "arch.width=4", "dataset=synthetic"])
    found = {
        "own": Own(3, 3, 1), "said": Said(3, 3, 1), "ours": build_network(config),
        "derived": Derived(num_classes=3, weights=None, **arguments),
    }  # fmt: skip
    told = {name: describe_network(net)["initialisation"] for name, net in found.items()}
    assert told == {
        "own": OWN, "said": "Glorot initialisation", "ours": "He initialisation", "derived": OWN,
    }  # fmt: skip
