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
    """The one line on stderr of a run that is refused, beside those of what was passed over."""
    assert main([str(predictions), str(labels), *OPTIONS, *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines(keepends=True)
    (reason,) = [line for line in lines if "passed over" not in line]
    return reason


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
    """Figures in percent, every convention by name; stderr has what was passed over."""
    assert main([*map(str, folders), *OPTIONS, "--tolerance", "0.02"]) == 0
    captured = capsys.readouterr()
    assert all("passed over notes.txt" in line for line in captured.err.splitlines())
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
    """Without a labelled pixel nothing is defined, whatever is predicted; NaN is no JSON."""
    save(folders[0] / "2.png", np.array([[0, 0, 1, 1]] * 4))
    save(folders[1] / "2.png", np.full((4, 4), VOID))

    def defined(score):
        parts = score.values() if isinstance(score, dict) else score
        return any(map(defined, parts)) if isinstance(score, dict | list) else score is not None

    image = scores(capsys, *folders)["per_image"]["2.png"]
    assert list(image) == ["G", "C", "mIoU", "BF", "other", "per_class"]
    assert not any(defined(image[name]) for name in ("G", "C", "mIoU", "BF"))
    assert not defined(image["other"])
    assert not defined(image["per_class"])
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
        assert f"nothing pairs with extra.png of {folder}; every file needs one" in error
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
    assert "empty: holds no .bmp," in refusal(capsys, folders[0], tmp_path / "empty")


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


def test_the_two_sides_may_store_other_values(folders, capsys):
    """Truth of 1..3 with void 0 and predictions of 0..2 score like one coding for both."""
    for path in folders[0].glob("*.png"):
        stored = np.asarray(Image.open(path))
        save(path, np.where(stored == VOID, 1, stored))  # predictions without void
    expected = scores(capsys, *folders)
    for path in folders[1].glob("*.png"):
        stored = np.asarray(Image.open(path))
        save(path, np.where(stored == VOID, 0, stored + 1))
    for options in (
        ["--void", "0", "--label-values", "1..3"],
        ["--void", "0", "--first-class", "1", "--prediction-values", "0,1,2"],
        ["--values", "0..2", "--label-values", "[1, 2, 3]", "--label-void-values", "0"],
    ):
        assert scores(capsys, *folders, *options) == expected


def test_masks_of_0_and_255_are_scored_by_their_values(folders, capsys):
    """Two classes whose values are not consecutive, and void where the labels have 128."""
    for folder in folders:
        for path in folder.glob("*.png"):
            stored = np.asarray(Image.open(path))
            save(path, np.select([stored == 0, stored == VOID], [0, 128], 255))
    options = ["--classes", "2", "--values", "0,255", "--void-values", "128", "--processes", "1"]
    assert main([*map(str, folders), *options, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["set"]
    stored = [[np.asarray(Image.open(f / f"{n}.png")) for f in folders] for n in range(3)]
    right = sum(((p == t) & (t != 128)).sum() for p, t in stored)
    assert result["G"] == right / sum((t != 128).sum() for _, t in stored)
    assert main([*map(str, folders), *options]) == 0
    assert "class values 0,255 as stored in the files" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--values", "0,1"], "--label-values 0..1 must be 3 different values"),
        (["--values", "0,1,1"], "must be 3 different values"),
        (["--label-values", "0,1,300"], "--label-values 300: label files hold 0..255"),
        (["--label-void-values", "2"], "--void 2 (or --label-void-values) must be a value"),
    ],
)
def test_values_that_contradict_are_refused(folders, capsys, options, words):
    assert words in refusal(capsys, *folders, *options)


def test_folders_below_are_paired_and_overlays_are_passed_over(folders, capsys):
    """Predictions as `bench.predict` writes them: below the same folders, overlays beside them."""
    expected = scores(capsys, *folders)
    for folder in folders:
        for city, name in (("berlin", "0"), ("bonn", "0"), ("bonn", "1")):
            (folder / city).mkdir(exist_ok=True)
            save(folder / city / f"{name}.png", np.asarray(Image.open(folder / f"{name}.png")))
        for name in ("0", "1", "2"):
            (folder / f"{name}.png").unlink()
    Image.new("RGB", (30, 20)).save(folders[0] / "bonn" / "0.overlay.png")
    (folders[0] / "bonn" / "._0.png").write_bytes(b"hidden")
    result = scores(capsys, *folders)["per_image"]
    assert list(result) == ["berlin/0.png", "bonn/0.png", "bonn/1.png"]
    assert result["berlin/0.png"] == result["bonn/0.png"] == expected["per_image"]["0.png"]


def test_suffixes_may_differ(folders, capsys):
    """Truth as TIFF or with capitals pairs with PNG; a photo beside it is passed over."""
    expected = scores(capsys, *folders)["set"]
    (folders[1] / "1.png").rename(folders[1] / "1.PNG")
    (folders[1] / "1.jpg").write_bytes(b"a photo")
    grey = np.asarray(Image.open(folders[1] / "2.png"))
    Image.fromarray(grey).save(folders[1] / "2.tif")
    (folders[1] / "2.png").unlink()
    assert scores(capsys, *folders)["set"] == expected


def test_a_palette_in_another_order_is_refused(folders, capsys):
    """A perfect map saved by a program that orders palettes as it likes; other palettes are not."""
    colours = {0: (128, 64, 128), 1: (64, 0, 128), 2: (128, 128, 0), VOID: (0, 0, 0)}

    def save_with(path, values, order):
        palette = np.full((256, 3), 7, np.uint8)
        for index, value in enumerate(order):
            palette[index if order != list(colours) else value] = colours[value]
        table = np.arange(256, dtype=np.uint8)
        if order != list(colours):
            table[order] = np.arange(len(order))
        image = Image.fromarray(table[values])
        image.putpalette(palette.tobytes())
        image.save(path)

    for number in range(3):
        truth = np.asarray(Image.open(folders[1] / f"{number}.png")) % 3
        save_with(folders[1] / f"{number}.png", truth, list(colours))
        save_with(folders[0] / f"{number}.png", truth, [2, 0, 1])
    error = refusal(capsys, *folders)
    assert "0.png: the palette has the colour [128, 128, 0] at index 0, which in" in error
    for number in range(3):  # with colours of its own, or in grey, an index is an index
        indices = np.asarray(Image.open(folders[0] / f"{number}.png"))
        save(folders[0] / f"{number}.png", indices)
    assert scores(capsys, *folders)["set"]["G"] < 1
    for number in range(3):
        truth = np.asarray(Image.open(folders[1] / f"{number}.png"))
        save_with(folders[0] / f"{number}.png", truth, list(colours))
    assert scores(capsys, *folders)["set"]["G"] == 1


def test_what_is_no_label_picture_is_said(folders, capsys):
    (folders[1] / "._0.png").write_bytes(b"")
    assert main([*map(str, folders), *OPTIONS]) == 0
    first, second = capsys.readouterr().err.splitlines()
    assert "predictions: passed over notes.txt (" in first
    assert "labels: passed over ._0.png, notes.txt (" in second


def test_a_class_that_void_swallowed_is_named(tmp_path, capsys):
    """Masks of 0 and 255 with void 255: the score is said to leave a class out, and the remedy."""
    folders = [tmp_path / "predictions", tmp_path / "labels"]
    for folder in folders:
        folder.mkdir()
        save(folder / "a.png", np.repeat([[0], [255]], [3, 1], axis=0))
    command = [*map(str, folders), "--classes", "2"]
    assert main([*command, "--void", "255"]) == 0
    note = (
        "bench.score: no label has a pixel of class 1, and 25.0 % of their pixels are void (255); "
        "if that is a class, give --values and --void-values\n"
    )
    assert capsys.readouterr().err == note
    assert main([*command, "--values", "0,255", "--void-values", "128"]) == 0
    assert capsys.readouterr().err == ""
