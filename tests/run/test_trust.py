"""A folder from somebody else runs no code, and says where nothing is written."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench import records
from bench.config import Config, run_folder
from bench.launch.launch import launch
from bench.launch.replay import hydra_arguments
from bench.run import checkpoints
from bench.run.monitor import Monitor
from bench.run.run import run
from bench.trust import is_harmless, require_harmless, without_places
from bench.typed import plain, typed

Compose = Callable[..., Config]
Prepare = Callable[..., tuple[Path, Monitor]]


def touching(mark: Path) -> dict[str, Any]:
    """What Hydra would execute: it makes a file."""
    return {
        "_target_": "pathlib.Path.touch",
        "self": {"_target_": "pathlib.Path", "_args_": [str(mark)]},
    }


@pytest.fixture
def edited(tiny_config: Compose, prepared: Prepare) -> Callable[..., Path]:
    """Trains nothing, but leaves a record with other values, and its weights."""

    def make(**changes: Any) -> Path:
        folder, _ = prepared(tiny_config())
        content = records.read_json(folder / "config.json")
        for key, value in changes.items():
            section, _, name = key.partition("__")
            content["config"][section] |= {name: value} if name else value
        records.write_json(folder / "config.json", content)
        checkpoints.save(folder / checkpoints.LAST, {"iteration": 6, "network": {}})
        return folder

    return make


def tool(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_a_folder_that_is_run_by_hand_is_held_to_the_same_rule(
    edited: Callable[..., Path], tmp_path: Path
) -> None:
    """As on the nodes of torchrun; `python -m bench` itself starts what it has composed."""
    mark = tmp_path / "mark"
    folder = edited(arch__width=touching(mark))
    answer = tool("bench.run", folder)
    assert answer.returncode == 1
    assert answer.stderr.startswith("bench.run: ")
    assert "arch.width._target_ is 'pathlib.Path.touch'" in answer.stderr
    assert "--trust" in answer.stderr
    assert not mark.exists()
    assert not (folder / "end.json").exists()
    tool("bench.run", folder, "--trust")
    assert (folder / "end.json").exists()


def test_what_torchrun_is_to_start_says_what_the_record_needs(
    tiny_config: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config("start=false", f"runs={tmp_path}")
    launch(config)
    assert "--trust" not in capsys.readouterr().out
    config.arch = {**config.arch, "_target_": "somewhere.Net"}
    launch(config)
    assert capsys.readouterr().out.endswith("--trust\n")


@pytest.mark.parametrize("name", ["predict", "--from", "--from dry_run"])
def test_a_nested_target_is_refused_and_not_called(
    edited: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    mark = tmp_path / "mark"
    folder = edited(arch__width=touching(mark))
    if name == "predict":
        Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
        answer = tool("bench.predict", folder, tmp_path / "a.png", tmp_path / "out")
    else:
        answer = tool("bench", "--from", folder, *(["dry_run=true"] if "dry" in name else []))
    assert answer.returncode in {1, 2}
    assert "arch.width._target_ is 'pathlib.Path.touch'" in answer.stderr
    assert "--trust" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not mark.exists()


@pytest.mark.parametrize(
    "target",
    [
        "torch.load", "pandas.read_pickle", "torch.hub.load", "mynet.MyNet", "os.system",
        "architectures.vgg.torch.load", "architectures.external.importlib.import_module",
        "architectures.basic.nothing", "architectures", "architectures.", "architectures..x", 7,
        None,
        "bench.data.camvid.read", "bench.records.write_bytes", "architecturesx.Net",
    ],
)  # fmt: skip
def test_only_our_own_networks_are_called(tiny_config: Compose, target: Any) -> None:
    config = plain(tiny_config())
    config["arch"] = {**config["arch"], "_target_": target}
    with pytest.raises(ValueError, match=r"^RUN: arch\._target_ is .* --config-dir PATH"):
        require_harmless(config, Path("RUN"), None)


@pytest.mark.parametrize(
    "target",
    ["torch.load", "bench.data.prepare.prepare", "bench.data.images.write_png", "mynet.read",
     "bench.data.camvid.fetch.download", "architectures.basic.SegNetBasic", "bench.data.json.read"],
)  # fmt: skip
def test_only_our_own_readers_are_called(tiny_config: Compose, target: str) -> None:
    config = plain(tiny_config())
    config["dataset"]["reader"]["_target_"] = target
    with pytest.raises(ValueError, match=r"dataset\.reader\._target_ is "):
        require_harmless(config, Path("RUN"), None)


@pytest.mark.parametrize(
    ("section", "key"),
    [("dataset", "note"), ("arch", "width"), ("dataset", "root"), ("protocol", "class_weights")],
)
def test_nothing_is_looked_up_for_a_record(tiny_config: Compose, section: str, key: str) -> None:
    config = plain(tiny_config())
    config[section][key] = "${oc.env:HOME}"
    with pytest.raises(ValueError, match=rf"{section}\.{key} is .*, which is looked up"):
        require_harmless(config, Path("RUN"), None)
    config[section][key] = ["plain", {"${oc.env:HOME}": 1}]
    assert not is_harmless(config, None)


def test_what_ships_is_harmless() -> None:
    root = Path(__file__).parents[2] / "reports" / "results"
    folders = [f for table in root.iterdir() if table.is_dir() for f in records.run_folders(table)]
    assert len(folders) >= 26
    for folder in folders:
        require_harmless(records.read_json(folder / "config.json")["config"], folder, None)


def test_a_users_network_counts_where_its_folder_is_given(
    tiny_config: Compose, tmp_path: Path
) -> None:
    (tmp_path / "mynet.py").write_text("import torch\nclass MyNet(torch.nn.Module): ...\n")
    config = plain(tiny_config())
    config["arch"] = {"name": "My network", "_target_": "mynet.MyNet"}
    assert not is_harmless(config, None)
    assert is_harmless(config, tmp_path)
    config["arch"]["_target_"] = "mynet.torch.load"
    assert not is_harmless(config, tmp_path)


def test_a_record_says_neither_where_to_write_nor_where_to_send(
    edited: Callable[..., Path], tiny_config: Compose
) -> None:
    folder = edited(
        dataset__cache="/evil", dataset__download=True, wandb={"mode": "online", "project": "evil"}
    )
    answer = tool("bench", "--from", folder, "--cfg", "job")
    assert answer.returncode == 0, answer.stderr
    assert "evil" not in answer.stdout
    assert "mode: disabled" in answer.stdout
    trusted = tool("bench", "--from", folder, "--trust", "--cfg", "job")
    assert "cache: /evil" in trusted.stdout
    assert without_places(plain(tiny_config()))["dataset"]["cache"] == "~/.cache/segbench"


EVIL = "../../../evil"


@pytest.mark.parametrize("key", ["dataset.name", "++arch.name", "protocol.name"])
def test_a_name_leaves_the_folder_of_the_runs_neither_from_the_command_nor_from_a_record(
    tiny_config: Compose, tmp_path: Path, key: str
) -> None:
    own = run_folder(tiny_config(f"{key}={EVIL}"))
    assert own.parent == tmp_path / "runs"
    section, _, name = key.lstrip("+").partition(".")
    before = plain(tiny_config())
    before[section][name] = EVIL
    assert run_folder(typed(Config, before)).parent == tmp_path / "runs"


@pytest.mark.parametrize("key", ["evaluation_splits", "validation.split"])
def test_a_split_is_not_named_out_of_the_run(tiny_config: Compose, key: str) -> None:
    value = f"[{EVIL}]" if key == "evaluation_splits" else EVIL
    with pytest.raises(ValueError, match=rf"^protocol\.{key}: split '\.\./.* a plain name$"):
        tiny_config(f"protocol.{key}={value}")
    with pytest.raises(ValueError, match=r"a plain name$"):
        records.evaluation_name(EVIL, 1)


def test_with_trust_all_is_as_before(edited: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    folder = edited(arch__width=3)
    content = records.read_json(folder / "config.json")
    content["config"]["arch"] = {"name": "x", "_target_": "own.Net"}
    content["config"]["config_dir"] = str(tmp_path / "own")
    records.write_json(folder / "config.json", content)
    with pytest.raises(ValueError, match=rf"--config-dir PATH \(it was {tmp_path}/own\)"):
        hydra_arguments(folder, [])
    assert hydra_arguments(folder, [], trusted=True) == [
        "--config-name", "recorded", "--config-dir", str(tmp_path / "own"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"iteration": -3, "network": {}}, "its iteration is -3"),
        ({"iteration": True, "network": {}}, "its iteration is True"),
        ({"network": {}}, "its iteration is None"),
        ({"iteration": 3}, "has no tensors of a network"),
        ({"iteration": 3, "network": {"a": "b"}}, "has no tensors of a network"),
        ([1, 2], "its iteration is None"),
    ],
)
def test_weights_with_impossible_parts_get_a_sentence(
    tmp_path: Path, content: Any, words: str
) -> None:
    checkpoints.save(tmp_path / "w.pt", content)
    with pytest.raises(ValueError, match=rf"w\.pt: {words}"):
        checkpoints.load(tmp_path / "w.pt")


def test_weights_of_another_network_get_a_sentence(
    edited: Callable[..., Path], tmp_path: Path
) -> None:
    folder = edited()
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    answer = tool("bench.predict", folder, tmp_path / "images", tmp_path / "out")
    assert answer.returncode == 2
    assert "weights-last.pt: not the weights of this network" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"iteration": 10**9}, "checkpoint at iteration 1000000000, beyond max_iterations=6"),
        ({"optimiser": None}, "does not fit this run"),
        ({"network": {}}, "does not fit this run"),
    ],
)
def test_a_checkpoint_with_impossible_parts_gets_a_sentence(
    tiny_config: Compose, prepared: Prepare, change: dict[str, Any], words: str
) -> None:
    folder, monitor = prepared(tiny_config("max_iterations=3"))
    run(folder, monitor)
    state = checkpoints.load(folder / checkpoints.NEWEST)
    checkpoints.save(folder / checkpoints.NEWEST, state | change)
    folder, monitor = prepared(tiny_config())
    with pytest.raises(ValueError, match=words):
        run(folder, monitor)
