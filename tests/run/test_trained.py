"""`bench.predict` and `bench.evaluate`: a recorded network on other images."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import records
from bench.config import Config
from bench.data.synthetic import scene
from bench.run.monitor import Monitor
from bench.run.run import run


@pytest.fixture
def trained(
    tiny_config: Callable[..., Config], prepared: Callable[..., tuple[Path, Monitor]]
) -> Path:
    folder, monitor = prepared(tiny_config())
    run(folder, monitor)
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two images of different sizes."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, size in (("a", (40, 56)), ("b", (33, 21))):
        Image.fromarray(scene(0, *size)[0]).save(folder / f"{name}.png")
    return folder


def tool(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"bench.{name}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_predictions_have_the_size_of_their_image(
    trained: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer = tool("predict", trained, images, out, "--probs", "--device", "cpu")
    assert answer.returncode == 0, answer.stderr
    assert "2 predictions of SegNet-Basic" in answer.stdout
    assert sorted(path.name for path in out.iterdir()) == [
        "a.npz", "a.overlay.png", "a.png", "b.npz", "b.overlay.png", "b.png",
    ]  # fmt: skip
    for name, size in (("a", (40, 56)), ("b", (33, 21))):
        label = np.asarray(Image.open(out / f"{name}.png"))
        probs = np.load(out / f"{name}.npz")["probs"].astype(np.float32)
        assert label.shape == size
        assert probs.shape == (11, *size)
        assert np.abs(probs.sum(axis=0) - 1).max() < 0.01
        best, chosen = probs.max(axis=0), np.take_along_axis(probs, label[None].astype(int), 0)[0]
        assert (chosen == best).all()


def test_the_prediction_of_a_test_image_is_the_one_evaluated(trained: Path, tmp_path: Path) -> None:
    from bench.seeds import derive_seed

    image, _ = scene(derive_seed(0, "scene/test", 2), 40, 56)
    Image.fromarray(image).save(tmp_path / "test_00002.png")
    answer = tool("predict", trained, tmp_path / "test_00002.png", tmp_path / "out")
    assert answer.returncode == 0, answer.stderr
    kept = np.asarray(Image.open(trained / "predictions" / "test-0000006" / "test_00002.png"))
    again = np.asarray(Image.open(tmp_path / "out" / "test_00002.png"))
    assert (again == kept).mean() > 0.999  # batches of other sizes round differently


def test_another_split_and_another_set_are_evaluated(trained: Path) -> None:
    answer = tool("evaluate", trained, "split=test")
    assert answer.returncode == 0, answer.stderr
    (folder,) = (trained / "elsewhere").iterdir()
    (evaluation,) = records.read_evaluations(folder)
    assert evaluation["confusion"] == records.read_evaluations(trained)[-1]["confusion"]
    answer = tool(
        "evaluate", trained, "dataset=synthetic", "dataset.reader.size=[24,32]",
        "dataset.limit=3", "split=val",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "Synthetic val, 3 images: G " in answer.stdout


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("predict", ["{run}", "/no/images", "{out}"], "/no/images: no such file or folder"),
        ("predict", ["/no/run", "{images}", "{out}"], "config.json: no such file"),
        (
            "predict",
            ["{run}", "{images}", "{out}", "--weights", "best"],
            "weights-best.pt: no such",
        ),
        ("predict", ["{run}", "{images}", "{out}", "--device", "cuda:9"], "device=cuda:9 cannot"),
        ("evaluate", ["{run}", "dataset=camvif"], "camvif"),
        ("evaluate", ["{run}", "split=nothing"], "no scenes for split 'nothing'"),
        ("evaluate", ["{run}", "protocol.lr=3"], "protocol.lr=3: only dataset="),
        (
            "evaluate",
            [
                "{run}",
                "dataset=synthetic",
                "dataset.classes=[a,b]",
                "dataset.colours=[[1,1,1],[2,2,2]]",
            ],
            "has the classes a, b, but the network was trained for Sky",
        ),
    ],
)
def test_a_mistake_is_one_sentence(
    trained: Path, images: Path, tmp_path: Path, name: str, arguments: list[str], message: str
) -> None:
    places = {"run": trained, "images": images, "out": tmp_path / "out"}
    answer = tool(name, *(argument.format(**places) for argument in arguments))
    assert answer.returncode == 2
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
