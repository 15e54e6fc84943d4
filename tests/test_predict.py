"""`bench.predict`: what it reads, writes, leaves out and refuses, and how much memory it takes."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

import bench.predict
from bench.data.geotiff import georeference
from bench.predict import image_files, main, network_logits, predict, predicted
from bench.run.evaluation import resized_logits
from bench.run.resizing import resized_bands
from bench.run.trained import Trained
from bench.score import main as score

COLOURS = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


class Brightest(torch.nn.Module):
    """Decides for the class whose colour a pixel has most of."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images / 32


@pytest.fixture
def trained(tiny_config: Any) -> Trained:
    colours = "dataset.colours=[[255,0,0],[0,255,0],[0,0,255]]"
    config = tiny_config("dataset.classes=[r,g,b]", colours, "protocol.normalisation=none")
    return Trained(Brightest(), config, torch.device("cpu"), 6)


@pytest.fixture
def command(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the command on a trained network, and returns its exit code."""
    monkeypatch.setattr(bench.predict, "load_trained", lambda _: trained)

    def call(*words: object) -> int:
        try:
            main(["run", *map(str, words)])
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return call


def photo(path: Path, size: tuple[int, int] = (30, 40), colour: int = 0) -> Path:
    """Writes a picture in one of the three colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), COLOURS[colour], np.uint8)).save(path)
    return path


@pytest.mark.parametrize("out", ["D", ".", "link"])
def test_the_folder_of_the_images_is_refused_before_the_network_loads(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = photo(tmp_path / "D" / "photo.png").parent
    photo(place / "b.bmp")
    (tmp_path / "link").symlink_to(place)
    before = {path: path.read_bytes() for path in place.iterdir()}
    monkeypatch.chdir(place)
    monkeypatch.setattr(bench.predict, "load_trained", lambda _: pytest.fail("it loads"))
    with pytest.raises(SystemExit) as end:
        main(["run", str(place), out if out == "." else str(tmp_path / out)])
    assert end.value.code == 2
    assert "photo.png would be overwritten, and it is the input" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in place.iterdir()} == before


def test_a_single_image_beside_its_results_is_kept(command: Any, tmp_path: Path) -> None:
    image = photo(tmp_path / "a.jpg")
    before = image.read_bytes()
    assert command(image, tmp_path) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jpg", "a.overlay.png", "a.png"]
    assert image.read_bytes() == before
    assert command(image, tmp_path) == 0  # earlier results may be replaced


def test_an_overlay_beside_its_image_is_refused(
    command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo(tmp_path / "in" / "a.png"), photo(tmp_path / "in" / "a.overlay.png")
    assert command(tmp_path / "in", tmp_path / "out") == 2
    assert "would both be written to" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_labels_are_not_overwritten_by_predictions(command: Any, tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.png")
    label = photo(tmp_path / "labels" / "a.png")
    before = label.read_bytes()
    assert command(tmp_path / "images", tmp_path / "labels") == 2
    assert label.read_bytes() == before


def test_what_cannot_be_read_is_left_out_and_named(
    command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = photo(tmp_path / "in" / "a.png").parent
    photo(place / "z.PNG", colour=2)
    (place / "broken.png").write_bytes((place / "a.png").read_bytes()[:60])
    (place / "empty.png").touch()
    Image.new("CMYK", (8, 8)).save(place / "print.jpg")
    (place / "._a.png").write_bytes(b"hidden")
    (place / "notes.txt").write_text("passed over")
    assert command(place, tmp_path / "out") == 1
    told = capsys.readouterr()
    assert "2 predictions of" in told.out
    assert "3 of 5 images were left out" in told.err
    for name in ("broken.png", "empty.png", "print.jpg"):
        assert f"{place / name}: " in told.err
    assert "passed over ._a.png, notes.txt" in told.err
    assert sorted(path.name for path in (tmp_path / "out").glob("?.png")) == ["a.png", "z.png"]


def test_folders_are_kept_and_the_results_are_scored(
    command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, city in enumerate(("berlin", "bonn")):
        photo(tmp_path / "in" / city / "0000.v1.jpg", colour=number)
        label = tmp_path / "labels" / city / "0000.v1.png"
        label.parent.mkdir(parents=True)
        Image.fromarray(np.full((30, 40), number, np.uint8)).save(label)
    assert command(tmp_path / "in", tmp_path / "out", "--probs") == 0
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in tmp_path.glob("out/*/*")) == [
        f"{city}/0000.v1{end}" for city in ("berlin", "bonn")
        for end in (".npz", ".overlay.png", ".png")
    ]  # fmt: skip
    places = [str(tmp_path / "out"), str(tmp_path / "labels")]
    assert score([*places, "--classes", "3", "--void", "255", "--processes", "1"]) == 0
    assert "100.00" in capsys.readouterr().out.splitlines()[2]


def test_a_geotiff_has_a_label_map_with_its_georeference(
    command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is scored as any other, and a second call replaces it."""
    place = [(33550, 12, 3, (2.0, 2.0, 0.0), True), (33922, 12, 6, (0, 0, 0, 5.0, 9.0, 0), True)]
    (tmp_path / "in").mkdir(), (tmp_path / "labels").mkdir()
    pixels = np.full((30, 40, 3), COLOURS[1], np.uint8)
    tifffile.imwrite(tmp_path / "in/a.tif", pixels, photometric="rgb", extratags=place)
    photo(tmp_path / "in/b.tif", colour=2)
    for number, name in enumerate("ab", 1):
        Image.fromarray(np.full((30, 40), number, np.uint8)).save(tmp_path / f"labels/{name}.png")
    for _ in range(2):
        assert command(tmp_path / "in", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.overlay.png", "a.tif", "b.overlay.png", "b.png",
    ]  # fmt: skip
    assert georeference(tmp_path / "out/a.tif") == georeference(tmp_path / "in/a.tif") != []
    capsys.readouterr()
    places = [str(tmp_path / "out"), str(tmp_path / "labels")]
    assert score([*places, "--classes", "3", "--void", "255", "--processes", "1"]) == 0
    assert "100.00" in capsys.readouterr().out


def test_results_within_the_folder_of_images_are_no_images(tmp_path: Path) -> None:
    image, out = photo(tmp_path / "a.jpg"), tmp_path / "out"
    photo(out / "a.png"), photo(out / "a.overlay.png")
    assert image_files(tmp_path, out) == {"a": image}


@pytest.mark.parametrize("size", [(40, 56), (7, 300), (301, 11), (64, 48), (1, 1)])
def test_bands_are_the_picture_resized_at_once(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 64, 48))).float()
    monkeypatch.setattr("bench.run.resizing.BAND_BYTES", 4 * 5 * 56 * 3)
    bands = list(resized_bands(logits, size))
    assert [row for rows, _ in bands for row in range(rows.start, rows.stop)] == [*range(size[0])]
    assert len(bands) > 1 or size[0] == 1
    torch.testing.assert_close(torch.cat([b for _, b in bands], 1), resized_logits(logits, size))


def test_probabilities_are_the_softmax_of_the_resized_logits(
    trained: Trained, tmp_path: Path
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    assert predict(trained, {"a": tmp_path / "a.png"}, tmp_path / "out", probs=True) == []
    probs = np.load(tmp_path / "out" / "a.npz")["probs"]
    expected = resized_logits(network_logits(trained, image), (50, 70)).softmax(dim=0).numpy()
    assert probs.dtype == np.float16
    np.testing.assert_allclose(probs, expected, atol=6e-4)
    label = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert (label == expected.argmax(axis=0)).mean() > 0.999


class Allocated(TorchDispatchMode):
    """Notes the bytes of the largest tensor that torch makes."""

    largest = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
        result = function(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else [result]:
            if isinstance(one, torch.Tensor):
                Allocated.largest = max(Allocated.largest, one.numel() * one.element_size())
        return result


@pytest.mark.parametrize("classes", [3, 37])
def test_memory_does_not_grow_with_the_classes(
    trained: Trained, tmp_path: Path, classes: int
) -> None:
    """For 0.64 million pixels, 37 classes in float32 would take 95 MB at once."""
    size, pixels = (800, 800), 800 * 800
    image = np.zeros((*size, 3), np.uint8)
    logits = torch.zeros(classes, 32, 48)  # which the disk takes quickly
    with Allocated():
        predicted(logits, image[:2, :2], COLOURS * 13)  # what is imported then is not counted
        Allocated.largest = 0
        tracemalloc.start()
        prediction = predicted(logits, image, [[1, 2, 3]] * classes, probs=True)
        assert prediction.log_sums is not None
        bench.predict.write_probs(tmp_path / "a.npz", logits, prediction.log_sums)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert Allocated.largest <= 17_000_000
    assert peak < 12 * pixels + 40_000_000
    assert np.load(tmp_path / "a.npz")["probs"].shape == (classes, *size)
