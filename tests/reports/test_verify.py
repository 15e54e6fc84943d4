"""`python -m reports verify RUNS`: what it finds, and what it says of a stranger's record."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from handmade import (
    IMAGES,
    cost_record,
    evidence,
    whole_configuration,
    write_picture,
    write_run,
)
from PIL import Image

from bench import records
from bench.config import Config, fingerprint, write_config
from bench.losses import append_losses
from bench.typed import typed
from reports.compute.estimates import Estimates
from reports.read.runs import read_runs
from reports.verify import verify

SHIPPED = Path(__file__).parents[2] / "reports" / "results" / "camvid_short_segnet"


def run_of(seed: int, runs: Path, share: float = 0.8) -> Path:
    config = whole_configuration(seed)
    known = fingerprint(typed(Config, config))
    folder = write_run(runs, config, {("test", 4): share}, fingerprint=known)
    records.write_json(folder / "end.json", {"state": "finished", "iteration": 4})
    return folder


def problems(runs: Path) -> list[str]:
    return [line for line in verify(runs)[0] if line.startswith("PROBLEM")]


def test_sound_records_are_found_sound(tmp_path: Path) -> None:
    run_of(0, tmp_path)
    (tmp_path / "cost").mkdir()
    records.write_json(tmp_path / "cost" / "a.json", cost_record("SegNet", [1.0, 2.0]))
    lines, sound = verify(tmp_path)
    assert sound
    assert "all sound" in lines[0]
    assert "does not prove who ran what" in lines[-1]
    assert not any("no digest" in line for line in lines)


def test_shipped_records_are_sound_and_from_before_digests() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "reports", "verify", str(SHIPPED)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "all sound" in answer.stdout
    assert "files carry no digest" in answer.stdout


def another_seeds_evidence(first: Path, second: Path) -> None:
    shutil.copy(second / "evaluations" / "test-0000004.npz", first / "evaluations")


def another_seeds_evidence_before_digests(first: Path, second: Path) -> None:
    another_seeds_evidence(first, second)
    path = first / "evaluations" / "test-0000004.json"
    content = records.read_json(path)
    del content["evidence_sha256"]
    path.write_text(json.dumps(content))


def another_iteration(first: Path, second: Path) -> None:
    path = first / "evaluations" / "test-0000004.json"
    records.write_json(path, records.read_json(path) | {"iteration": 3})


def a_hole_in_the_losses(first: Path, second: Path) -> None:
    (first / "losses.jsonl").unlink()
    append_losses(first, 1, [1.0], 1.0)
    append_losses(first, 3, [1.0, 1.0], 1.0)


def losses_that_end_early(first: Path, second: Path) -> None:
    (first / "losses.jsonl").unlink()
    append_losses(first, 1, [1.0], 1.0)


def another_learning_rate(first: Path, second: Path) -> None:
    content = records.read_json(first / "config.json")
    content["config"]["protocol"]["lr"] = 0.2
    records.write_json(first / "config.json", content)


def other_images(first: Path, second: Path) -> None:
    content = records.read_json(first / "data.json")
    content["splits"]["test"]["names"] = records.names_digest(["other", "images"])
    records.write_json(first / "data.json", content)


def another_count_of_images(first: Path, second: Path) -> None:
    content = records.read_json(first / "data.json")
    content["splits"]["test"]["images"] = 7
    records.write_json(first / "data.json", content)


def another_prediction(first: Path, second: Path) -> None:
    write_picture(first / "predictions" / "test-0000004" / "a0000.png")


def damaged_weights(first: Path, second: Path) -> None:
    np.savez(first / "weights-last.pt", a=np.zeros(100))
    path = first / "weights-last.pt.npz"
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    (first / "weights-last.pt").write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (another_seeds_evidence, "test-0000004.npz: not the file that its record names"),
        (another_seeds_evidence_before_digests, "are not those summed up in test-0000004.json"),
        (another_iteration, "is the evaluation test-0000003 by its content"),
        (a_hole_in_the_losses, "losses.jsonl:2: iteration 3 stands where 2 belongs"),
        (losses_that_end_early, "losses.jsonl: ends at iteration 1, the run at 4"),
        (another_learning_rate, "it was edited, or is of another version"),
        (other_images, "its images are not those that data.json names"),
        (another_count_of_images, "images, and data.json tells of 7"),
        (another_prediction, "a0000.png: not the prediction that was evaluated"),
        (damaged_weights, "weights-last.pt: its part a.npy is damaged"),
    ],
)
def test_what_is_told_twice_must_agree(
    tmp_path: Path, harm: Callable[[Path, Path], None], words: str
) -> None:
    first, second = run_of(0, tmp_path), run_of(1, tmp_path, share=0.7)
    assert not problems(tmp_path)
    harm(first, second)
    (problem,) = problems(tmp_path)
    assert words in problem
    assert not verify(tmp_path)[1]


def test_the_whole_evaluation_of_another_seed_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """JSON and evidence fit each other, and yet are of another run."""
    first, second = folders = [run_of(seed, tmp_path) for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        config = typed(Config, whole_configuration(seed))
        write_config(folder, config)
        summary = {"split": "test", "iteration": 4, "images": IMAGES}
        arrays = evidence(0.8 - 0.1 * seed, len(config.dataset.classes), IMAGES, 0)
        records.write_evaluation(folder, summary, arrays)
    assert not problems(tmp_path)
    for path in (second / "evaluations").iterdir():
        shutil.copy(path, first / "evaluations")
    (problem,) = problems(tmp_path)
    assert "test-0000004.json: is of another run than config.json beside it" in problem
    (run,) = read_runs([first])
    assert not run.evaluations
    assert "is of another run" in capsys.readouterr().err


def test_the_name_of_a_folder_tells_which_run_is_in_it(tmp_path: Path) -> None:
    """A network's arguments are not in the fingerprint, which those of one protocol share."""
    source = next(SHIPPED.iterdir())
    folder = tmp_path / source.name
    shutil.copytree(source, folder)
    assert not problems(tmp_path)
    content = json.loads((folder / "config.json").read_text())
    content["config"]["arch"]["dropout"] += 0.25
    (folder / "config.json").write_text(json.dumps(content))
    (problem,) = problems(tmp_path)
    assert "config.json: not of the run that its folder's name says" in problem


def test_a_picture_that_fits_its_evidence_is_sound(tmp_path: Path) -> None:
    folder = run_of(0, tmp_path)
    counts = evidence(0.8)["confusion"][0].sum(axis=0)
    label = np.repeat(np.arange(4), counts).astype(np.uint8).reshape(15, -1)
    path = folder / "predictions" / "test-0000004" / "a0000.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(label).save(path)
    assert not problems(tmp_path)


@pytest.mark.parametrize("harm", [another_seeds_evidence, another_seeds_evidence_before_digests])
def test_a_table_never_takes_the_evidence_of_another_seed(
    tmp_path: Path, harm: Callable[[Path, Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """The figure stays that of the summed matrix, without an interval, and a word is said."""
    first, second = run_of(0, tmp_path), run_of(1, tmp_path, share=0.7)
    harm(first, second)
    (run,) = read_runs([first])
    found = Estimates(None).of([(run, run.evaluations[0])])["G"]
    assert found.estimate == pytest.approx(0.8)
    assert np.isnan(found.low)
    assert "test-0000004.npz" in capsys.readouterr().err
