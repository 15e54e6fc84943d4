"""`python -m bench.score`: the table, the JSON, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.metrics.boundaries import boundary_counts, boundary_f1
from bench.metrics.regions import confusion_matrix, global_accuracy, mean_iou
from bench.score import main

K, VOID = 3, 11
OPTIONS = ["--classes", "3", "--void", "11", "--processes", "1"]


@pytest.fixture
def folders(tmp_path):
    """Predictions and labels of three images of different size, of palette and grey PNGs."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / "predictions", tmp_path / "labels"]
    for path in paths:
        path.mkdir()
        for number, shape in enumerate([(20, 30), (8, 9), (12, 10)]):
            save(path / f"{number}.png", rng.choice([0, 1, 2, VOID], shape))
        (path / "notes.txt").write_text("passed over")
    return paths


def save(path, values):
    """Writes a palette PNG."""
    image = Image.fromarray(values.astype(np.uint8))
    image.putpalette([200, 3, 100] * 256)
    image.save(path)


def scores(capsys, predictions, labels, *options):
    """The parsed JSON of a run that succeeds."""
    assert main([str(predictions), str(labels), *OPTIONS, "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys, predictions, labels, *options):
    """The one line on stderr of a run that is refused."""
    assert main([str(predictions), str(labels), *OPTIONS, *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_json_holds_the_scores_of_set_and_images(folders, capsys):
    """The keys, and the figures of the metric functions themselves."""
    result = scores(capsys, *folders)
    assert list(result) == ["set", "per_image"]
    assert list(result["per_image"]) == ["0.png", "1.png", "2.png"]
    for score in (result["set"], *result["per_image"].values()):
        assert list(score) == ["G", "C", "mIoU", "BF", "other", "per_class"]
        assert list(score["C"]) == list(score["mIoU"]) == ["paper_script", "ground_truth", "union"]
        assert list(score["BF"]) == ["one_to_one", "tolerance"]
        assert list(score["BF"]["tolerance"]) == ["ground_truth", "union"]
        assert len(score["per_class"]["IoU"]) == K
    pairs = [[np.asarray(Image.open(f / f"{n}.png")) for f in folders] for n in range(3)]
    confusion = np.stack([confusion_matrix(*p, num_classes=K, void=VOID) for p in pairs])
    counts = np.stack([boundary_counts(*p, num_classes=K) for p in pairs])
    assert result["set"]["G"] == global_accuracy(confusion.sum(axis=0))
    assert result["per_image"]["1.png"]["mIoU"]["union"] == mean_iou(confusion[1], "union")
    for matching, by_classes in result["set"]["BF"].items():
        for classes, value in by_classes.items():
            assert value == boundary_f1(counts, matching=matching, classes=classes)


def test_table_states_its_conventions_within_100_columns(folders, capsys):
    """Figures in percent, every convention by name, nothing on stderr."""
    assert main([*map(str, folders), *OPTIONS, "--tolerance", "0.02"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert max(map(len, captured.out.splitlines())) <= 100
    g = scores(capsys, *folders)["set"]["G"]
    assert captured.out.splitlines()[1].split()[:2] == ["all", f"{100 * g:.2f}"]
    for words in ("paper_script", "one_to_one", "ignore_nothing", "2 % of", "value 11", "3 images"):
        assert words in captured.out


def test_labels_scored_against_themselves_are_perfect(folders, capsys):
    """Every defined score is 1."""
    result = scores(capsys, folders[1], folders[1])["set"]
    assert (result["G"], result["mIoU"]["union"]) == (1, 1)
    assert result["BF"]["one_to_one"]["ground_truth"] == 1


def test_undefined_scores_are_null(folders, capsys):
    """NaN is no JSON."""
    for folder in folders:
        save(folder / "2.png", np.full((4, 4), VOID))
    image = scores(capsys, *folders)["per_image"]["2.png"]
    assert image["G"] is None
    assert image["mIoU"] == {"paper_script": 0, "ground_truth": None, "union": None}
    assert image["BF"]["one_to_one"]["union"] is None
    assert main([*map(str, folders), *OPTIONS]) == 0


def test_first_class_shifts_classes_and_leaves_void(folders, capsys):
    """Labels that count from one, with void 0, score like the same labels from zero."""
    expected = scores(capsys, *folders)
    for folder in folders:
        for path in folder.glob("*.png"):
            stored = np.asarray(Image.open(path))
            save(path, np.where(stored == VOID, 0, stored + 1))
    shifted = scores(capsys, *folders, "--first-class", "1", "--void", "0")
    assert shifted == expected
    assert "neither a class (0..2) nor void (11)" in refusal(capsys, *folders)


def test_void_rule_reaches_the_boundaries(folders, capsys):
    """Masking the prediction changes BF and nothing else."""
    plain, masked = (
        scores(capsys, *folders, "--void-rule", rule)["set"]
        for rule in ("ignore_nothing", "mask_prediction")
    )
    assert plain["BF"] != masked["BF"]
    assert plain["mIoU"] == masked["mIoU"]


def test_unpaired_file_is_refused(folders, capsys):
    """Either folder may hold the extra file."""
    for folder in folders:
        save(folder / "extra.png", np.zeros((2, 2)))
        error = refusal(capsys, *folders)
        assert f"{folder}: no file of the same name" in error
        assert error.endswith(" for extra.png\n")
        (folder / "extra.png").unlink()


def test_foreign_value_is_refused(folders, capsys):
    """Naming the file and the value as stored."""
    save(folders[0] / "1.png", np.full((8, 9), 7))
    error = refusal(capsys, *folders)
    assert f"{folders[0] / '1.png'}: the value 7 is neither a class (0..2) nor void (11)" in error


def test_sizes_that_differ_are_refused(folders, capsys):
    """Naming the file and both sizes."""
    save(folders[0] / "1.png", np.zeros((9, 8)))
    error = refusal(capsys, *folders)
    assert f"{folders[0] / '1.png'}: prediction has shape (9, 8), truth (8, 9)" in error


def test_colour_image_is_refused(folders, capsys):
    """An RGB label has no class indices; the message says so."""
    Image.new("RGB", (9, 8)).save(folders[0] / "1.png")
    error = refusal(capsys, *folders)
    assert str(folders[0] / "1.png") in error
    assert "RGB" in error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--void", "2"], "--void 2"),
        (["--void", "256"], "--void 256"),
        (["--classes", "0"], "--classes 0"),
        (["--classes", "256", "--first-class", "1"], "--classes 256"),
        (["--tolerance", "0"], "--tolerance 0"),
        (["--processes", "0"], "--processes 0"),
    ],
)
def test_contradicting_options_are_refused(folders, capsys, options, words):
    """Naming option and value."""
    assert words in refusal(capsys, *folders, *options)


def test_missing_and_empty_folders_are_refused(folders, tmp_path, capsys):
    """Naming the folder."""
    assert "nowhere: no such folder" in refusal(capsys, tmp_path / "nowhere", folders[1])
    (tmp_path / "empty").mkdir()
    assert "empty: no PNG file" in refusal(capsys, folders[0], tmp_path / "empty")


@pytest.mark.slow
def test_command_with_processes_gives_the_same_and_fails_without_traceback(tmp_path):
    """Two processes score 20 images as one does; a bad file ends both with one sentence."""
    rng = np.random.default_rng(0)
    for number in range(20):
        save(tmp_path / f"{number:02}.png", rng.choice([0, 1, 2, VOID], (40, 50)))
    outputs = [command(tmp_path, "--json", "--processes", n) for n in ("1", "2")]
    assert outputs[0].stdout == outputs[1].stdout
    assert [output.returncode for output in outputs] == [0, 0]
    (tmp_path / "13.png").write_bytes(b"no picture")
    failed = command(tmp_path, "--processes", "2")
    assert failed.returncode == 2
    assert "13.png" in failed.stderr
    assert failed.stderr.count("\n") == 1


def command(folder, *options):
    """Runs the command line in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-m", "bench.score", folder, folder, *OPTIONS[:4], *options],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
