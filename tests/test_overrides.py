"""Overrides as users write them: odd letters in paths, mistyped keys, modules of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from bench.command_line import compose_config
from bench.data.__main__ import main as data_command
from bench.evaluate import dataset_config
from bench.overrides import nearest_key, override, quoted, value_of
from bench.signature import parameters

NAMES = [
    "eq=uals", "par (1)", "hash#tag", "amp&and", "tilde~", "ümlaut", "spa ce", "it's", "a;b", "x@y",
    "50%", "a!b", "per.cent", "br{a}ce", "br[a]ck", "日本", 'quo"te', "com'ma,", "back\\slash",
    "end ",
]  # fmt: skip


def folder_set(root: Path) -> Path:
    """Writes a set of two classes with one image and one label."""
    for kind, shape in (("images", (8, 8, 3)), ("labels", (8, 8))):
        (root / kind / "train").mkdir(parents=True)
        Image.fromarray(np.eye(8, dtype=np.uint8) if kind == "labels" else np.zeros(shape, np.uint8)
        ).save(root / kind / "train" / "a.png")  # fmt: skip
    (root / "classes.yaml").write_text("classes: {a: [1, 2, 3], b: [4, 5, 6]}\n")
    return root


@pytest.mark.parametrize("name", [name for name in NAMES if "," not in name])
def test_a_path_is_taken_as_it_is_written(name: str, tmp_path: Path) -> None:
    root = folder_set(tmp_path / name)
    config = compose_config(["dataset=folder", f"dataset.root={root}"])
    assert config.dataset.root == str(root)
    assert config.dataset.classes == ["a", "b"]


@pytest.mark.parametrize("name", NAMES)
def test_an_override_made_of_a_path_is_that_path(name: str) -> None:
    assert value_of(override("dataset.root", f"/data/{name}")) == f"/data/{name}"


@pytest.mark.parametrize(
    "argument",
    ["arch=a,b", "seed=range(1,5)", "x=[1,2]", "x={a: 1}", "x='a=b'", "~x", "+x=1", "--cfg", "x=",
     "x=${y.z}", "lr=1e-3", "x=/not/there "],
)  # fmt: skip
def test_what_hydra_reads_is_left_as_it_is(argument: str) -> None:
    assert quoted(argument) == argument


def test_commas_stay_sweeps_of_quoted_values() -> None:
    parsed = OverridesParser.create().parse_override(quoted("dataset.root=/d/a(1),/d/b,/d/c#2"))
    assert parsed.is_sweep_override()
    assert list(parsed.sweep_string_iterator()) == ["'/d/a(1)'", "/d/b", "'/d/c#2'"]


@pytest.mark.parametrize("place", ["a=b,c", "x=[1,2]", "it's (1), no=2 #x"])
def test_a_path_with_a_comma_is_quoted_as_it_was_given(place: str, tmp_path: Path) -> None:
    """What the message says to pass is that path, though parts of it were quoted before."""
    with pytest.raises(ValueError, match="several values make a sweep") as told:
        compose_config(["dataset=folder", f"dataset.root={tmp_path}/{place}"])
    assert str(told.value).startswith(f"dataset.root={tmp_path}/{place}: several")
    advice = str(told.value).split('"')[1]
    assert value_of(advice) == f"{tmp_path}/{place}"


@pytest.mark.parametrize("place", ["~/d", "'~/d'", '"~/d"'])
def test_the_home_folder_is_expanded_once(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "~"))  # a home with a ~ in its name
    root = folder_set(tmp_path / "~" / "d")
    config = compose_config(["dataset=folder", f"dataset.root={place}", "runs=~/runs"])
    assert (config.dataset.root, config.runs) == (str(root), str(tmp_path / "~" / "runs"))
    assert config.dataset.classes == ["a", "b"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["arch=segnet_basic", "arch.widht=3"], r"^arch\.widht: .*did you mean arch\.width\?$"),
        (["arch=segnet_basic", "+arch.widht=3"], r"^arch\.widht: .*did you mean arch\.width\?$"),
        (["lr=3"], r"^lr: .*did you mean protocol\.lr\?$"),
        (["+dataset.reader.splitt=a"], r"^dataset\.reader\.splitt: .*dataset\.reader\.split\?$"),
        (
            ["postprocess=dense_crf", "+postprocess.fixed.sigma_gama=1"],
            r"^postprocess\.fixed\.sigma_gama: .*postprocess\.fixed\.sigma_gamma\?$",
        ),
        (["+postprocess.splits=[a]"], r"^postprocess\.splits: no such key"),
        (["protocol=papre"], r"^protocol=papre: .*did you mean paper\? "),
        (["dataset.root=a,b"], r"""needs -m; .*: "dataset\.root='a,b'"$"""),
        (["dataset.root=a(1)"], r"""cannot be read; .*: "dataset\.root='a\(1\)'"$"""),
        (["nonsense"], "^nonsense: "),
    ],
)
def test_a_mistake_is_one_sentence(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        compose_config(overrides)
    assert "\n" not in str(error.value)


def test_the_main_command_says_the_same_as_the_others(tmp_path: Path) -> None:
    for word in ("arch.widht=3", "dataset.root=a,b"):
        with pytest.raises(ValueError, match=r".") as error:
            compose_config([word])
        command = [sys.executable, "-m", "bench", word, f"runs={tmp_path}"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (answer.returncode, answer.stderr) == (1, f"{error.value}\n")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("arch.widht", "arch.width"),
        ("batch_size", "protocol.batch_size"),
        ("protocol.bach_size", "protocol.batch_size"),
        ("protocol.optimiser", None),
    ],
)
def test_the_nearest_key_is_beside_it_or_has_its_name(key: str, nearest: str | None) -> None:
    known = {"arch.width", "protocol.batch_size", "protocol.name", "seed"}
    assert nearest_key(key, known) == nearest


@pytest.mark.parametrize("name", ["conf", "my conf (1)", "ä=b"])
def test_a_reader_beside_the_configuration_is_found_by_every_command(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `bench.data check --config-dir`, which has no network of a user's to import."""
    conf, module = tmp_path / name, f"reader_{sum(map(ord, name))}"
    (conf / "dataset").mkdir(parents=True)
    (conf / "dataset" / "own.yaml").write_text(
        f"name: Own\nreader: {{_target_: {module}.read}}\nclasses: [a, b]\n"
        "colours: [[1, 2, 3], [4, 5, 6]]\nvoid: 255\nroot: ???\n"
    )
    (conf / f"{module}.py").write_text(
        "from bench.data.folder import read as of_folder\n\n\ndef read(root, split):\n"
        "    return of_folder(root, split, colours=[[1, 2, 3], [4, 5, 6]], void=255)\n"
    )
    root = folder_set(tmp_path / "data (1)")
    sheet = ["--sheet", str(tmp_path / "sheet.png"), "--splits", "train"]
    words = ["check", "--config-dir", str(conf), "dataset=own", f"dataset.root={root}", *sheet]
    assert data_command(words) == 0
    assert "train: 1 sound pairs" in capsys.readouterr().out


def test_the_main_command_takes_awkward_paths(tmp_path: Path) -> None:
    """Data, runs and the user's configuration, in a sweep too."""
    place = tmp_path / "o=d (d), ü#1"
    (place / "conf" / "arch").mkdir(parents=True)
    (place / "conf" / "arch" / "own.yaml").write_text("_target_: own_net.Net\n")
    (place / "conf" / "own_net.py").write_text(
        "import torch\n\n\nclass Net(torch.nn.Conv2d):\n    def __init__(self, num_classes):\n"
        "        super().__init__(3, num_classes, 1)\n"
    )
    root, runs = (override(key, place / key) for key in ("dataset.root", "runs"))
    folder_set(place / "dataset.root")
    small = ["protocol=demo", "protocol.batch_size=1", "protocol.image_size=[8,8]", "dry_run=true",
             "protocol.evaluation_splits=[train]", "protocol.class_weights=none"]  # fmt: skip
    answer = subprocess.run(
        [sys.executable, "-m", "bench", "--config-dir", str(place / "conf"), "arch=own",
         "dataset=folder", root, runs, *small, "max_iterations=1", "seed=1", "-m"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("Folder (1 train") == 1
    assert f"would run in {place}/runs/folder-demo-own-seed1-" in answer.stdout


def test_evaluate_reads_a_root_as_other_commands_do(tmp_path: Path) -> None:
    from types import SimpleNamespace

    known = compose_config(["dataset=synthetic"])
    trained = SimpleNamespace(config=known)
    for word in ("dataset.root=/a (1)/b=c", "dataset.root='/a (1)/b=c'"):
        assert dataset_config(trained, [word], None).root == "/a (1)/b=c"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def Net(a, *, b=1): pass", ["a", "b"]),
        ("def Net(a, **others): pass", None),
        ("class Net:\n    def __init__(self, a, b): pass", ["a", "b"]),
        ("class Base:\n    def __init__(self, a): pass\nclass Net(Base): pass", ["a"]),
        ("class Net(Elsewhere): pass", None),
        ("@dataclass(frozen=True)\nclass Net:\n    a: int\n    b: int = 3", ["a", "b"]),
        ("from elsewhere import Net", None),
        ("@wraps(x)\ndef Net(a): pass", None),
        ("def Net(", None),
        ("import torch\nraise SystemExit\ndef Net(a): pass", ["a"]),
    ],
)
def test_parameters_are_read_without_importing(
    source: str, expected: list[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("raise SystemExit")
    (tmp_path / "package" / "own.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert parameters("package.own.Net") == expected
    assert parameters("package.missing.Net") is None
