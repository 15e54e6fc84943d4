"""The command line: tables, status, compare, choose, claims and the page."""

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from handmade import IMAGES, evidence, write_many

from bench import records
from reports.__main__ import main
from reports.tables.model import signed_interval

pytest_plugins = ["run_fixtures"]

Make = Callable[..., Path]


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Calls `python -m reports` in this process: (exit code, output, errors)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["reports", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return code or 0, shown.out, shown.err

    return run


Call = Callable[..., tuple[int, str, str]]


def test_the_default_is_a_table_for_the_terminal(
    call: Call, make_run: Make, tmp_path: Path
) -> None:
    make_run("SegNet-Basic", 0.8)
    code, shown, _ = call(tmp_path / "runs")
    assert code == 0
    assert "SegNet-Basic" in shown
    assert "80.0" in shown


def test_the_terminal_shows_what_was_run_and_says_where_the_rest_is(
    call: Call, make_run: Make, tmp_path: Path
) -> None:
    """No row and no column without a run; the command that measures what is not measured."""
    make_run("SegNet-Basic", 0.8)
    folder = tmp_path / "runs"
    _, shown, _ = call(folder)
    assert len(shown.splitlines()) < 30
    assert "no run" not in shown
    assert "FCN-Basic" not in shown
    assert "  paper                 84.0 (-4.0)" in shown
    measuring = "python -m bench +experiment=table1_cost protocol=table1 measures them"
    assert measuring in " ".join(shown.split())
    assert f"python -m reports {folder} --table ..." in shown
    _, whole, _ = call(folder, "--table", 1)
    assert "FCN-Basic" in whole
    assert "no run" in whole


@pytest.mark.parametrize("form", ["markdown", "latex", "csv", "html", "macros", "bibtex"])
def test_a_table_is_written_to_a_file(
    call: Call, make_run: Make, tmp_path: Path, form: str
) -> None:
    make_run("SegNet", 0.8)
    out = tmp_path / "table"
    code, shown, _ = call(tmp_path / "runs", "--table", 3, "--format", form, "--out", out)
    assert code == 0
    assert str(out) in shown
    assert "segnet" in out.read_text().lower()


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_folder_without_runs_is_an_error_in_one_line(
    call: Call, tmp_path: Path, folder: str
) -> None:
    (tmp_path / "empty").mkdir()
    code, _, errors = call(tmp_path / folder)
    assert code == 2
    assert len(errors.splitlines()) == 1
    assert folder in errors


def test_a_mistyped_command_is_told_from_a_folder(call: Call, make_run: Make) -> None:
    folder = make_run("SegNet", 0.8)
    code, _, errors = call("statsu", folder.parent)
    assert code == 2
    assert errors == (
        "statsu: no such folder, and none of the commands tables, status, page, compare, choose, "
        "claims, tuning, export, verify, merge; give the folder that holds the runs\n"
    )


def test_status_gives_long_reasons_in_full_once(call: Call, make_run: Make, tmp_path: Path) -> None:
    reason = "the loss of a network became nan at iteration 12 with protocol.lr=10; lower it"
    for seed in range(3):
        folder = make_run("FCN-Basic-NoAddition-NoDimReduction", None, seed=seed)
        records.write_json(folder / "end.json", {"state": "diverged", "reason": reason})
    _, shown, _ = call("status", tmp_path / "runs")
    joined = " ".join(shown.split())
    assert joined.count(reason) == 1
    assert "FCN-Basic-NoAddition-NoDimReduction, seed 0 and 2 more: the loss" in joined
    assert max(map(len, shown.splitlines())) <= 100


def test_status_shows_every_run_and_counts_them(call: Call, make_run: Make, tmp_path: Path) -> None:
    make_run("SegNet", 0.8)
    make_run("FCN", None, state="diverged")
    make_run("U-Net", None, state=None)
    code, shown, _ = call("status", tmp_path / "runs")
    assert code == 0
    assert shown.splitlines()[-1] == "3 runs: 1 diverged, 1 finished, 1 pending"
    assert re.search(r"FCN +0 +diverged +it did not end well", shown)


def test_a_post_processed_run_is_a_row_of_its_own_and_still_one_run(
    call: Call, make_run: Make, tmp_path: Path
) -> None:
    folder = make_run("DeepLab-LargeFOV", 0.7)
    summary = {"split": "test", "iteration": 100, "images": IMAGES, "variant": "denseCRF"}
    records.write_evaluation(folder, summary, evidence(0.8))
    _, shown, _ = call(tmp_path / "runs", "--table", 3, "--format", "csv")
    rows = shown.splitlines()
    assert any("DeepLab-LargeFOV,run" in row and "G,70.0," in row for row in rows)
    assert any("DeepLab-LargeFOV-denseCRF,run" in row and "G,80.0," in row for row in rows)
    _, shown, _ = call("status", tmp_path / "runs")
    assert shown.splitlines()[-1] == "1 runs: 1 finished"


def make_sides(
    make_run: Make, root: Path, first: Sequence[float], second: Sequence[float], **more: Any
) -> tuple[Path, Path]:
    """Writes runs of SegNet and FCN, a seed for each share."""
    for name, shares in (("SegNet", first), ("FCN", second)):
        for seed, share in enumerate(shares):
            make_run(name, share, seed=seed, runs=root / name, **more)
    return root / "SegNet", root / "FCN"


def test_compare_says_better_worse_and_by_how_much(
    call: Call, make_run: Make, make_cost: Make, tmp_path: Path
) -> None:
    one, other = make_sides(make_run, tmp_path, [0.8] * 3, [0.6] * 3)
    for name, milliseconds in (("SegNet", 10.0), ("FCN", 25.0)):
        make_cost(name, [milliseconds])
    (tmp_path / "runs" / "cost").rename(one / "cost")
    code, shown, _ = call("compare", one, other)
    assert code == 0
    assert re.search(r"^G +80\.0 +60\.0 +-20\.0 +\[-20\.0, -20\.0\] +worse$", shown, re.MULTILINE)
    assert re.search(r"^Car +80\.0 +60\.0 +-20\.0", shown, re.MULTILINE)
    assert "forward time 2.50" in shown
    assert 'arch.name: "SegNet" -> "FCN"' in shown
    # 80 right: 80 / 120; 60 right: 60 / 140.
    assert shown.splitlines()[-1] == "Verdict: B is worse: mIoU -23.8 points [-23.8, -23.8]"


def test_compare_says_that_the_sides_are_of_other_code(
    call: Call, make_run: Make, tmp_path: Path
) -> None:
    for side, part in (("a", "1"), ("b", "2"), ("c", "1")):
        for seed in range(3):
            code = {"network": f"net{part}", "bench": f"bench{part}"}
            make_run("SegNet", 0.8, seed=seed, runs=tmp_path / side, code=code)
    _, shown, _ = call("compare", tmp_path / "a", tmp_path / "b")
    assert "One configuration, but other numeric code (rerun=true makes it one):" in shown
    assert "  network: net1 -> net2\n  bench: bench1 -> bench2\n" in shown
    assert "\nOne configuration.\n" in call("compare", tmp_path / "a", tmp_path / "c")[1]


@pytest.mark.parametrize("seeds", [1, 2])
def test_compare_gives_no_verdict_below_three_seeds(
    call: Call, make_run: Make, tmp_path: Path, seeds: int
) -> None:
    """Every image agrees; the word worse is in no row, and a script is told that it is open."""
    one, other = make_sides(make_run, tmp_path, [0.8] * seeds, [0.6] * seeds)
    code, shown, said = call("compare", one, other, "--fail-if-worse", 0)
    assert code == 2
    assert "--fail-if-worse cannot be answered: these weights; needs seeds" in said
    assert shown.splitlines()[-1].startswith("No verdict: these weights; needs seeds (3 that")
    assert "worse" not in shown


@pytest.mark.parametrize(
    ("noise", "tolerated", "code"), [(0.0, 23.0, 1), (0.0, 24.0, 0), (0.12, 2.0, 0)]
)
def test_compare_fails_on_request_when_the_whole_interval_is_worse(
    call: Call, make_run: Make, tmp_path: Path, noise: float, tolerated: float, code: int
) -> None:
    """The estimate alone, -24 points, is no reason where seeds differ as much."""
    one, other = make_sides(make_run, tmp_path, [0.8] * 3, [0.6 - noise, 0.6, 0.6 + noise])
    assert call("compare", one, other, "--fail-if-worse", tolerated)[0] == code
    assert call("compare", other, one, "--fail-if-worse", tolerated)[0] == 0


def test_compare_judges_protocols_only_of_one_network(
    call: Call, make_run: Make, tmp_path: Path
) -> None:
    for seed in range(3):
        make_run("SegNet", 0.8, seed=seed, runs=tmp_path / "a")
        make_run("FCN", 0.6, seed=seed, runs=tmp_path / "b", fingerprint="other", lr=0.01)
        make_run("SegNet", 0.6, seed=seed, runs=tmp_path / "c", fingerprint="other", lr=0.01)
    code, shown, said = call("compare", tmp_path / "a", tmp_path / "b", "--fail-if-worse", 1)
    assert code == 2
    assert "networks and protocols both differ" in said
    assert shown.splitlines()[-1].startswith("No verdict: networks and protocols both differ")
    code, shown, _ = call("compare", tmp_path / "a", tmp_path / "c", "--fail-if-worse", 1)
    assert code == 1
    assert "protocol.lr: 0.1 -> 0.01" in shown
    assert shown.splitlines()[-1].startswith("Verdict: B is worse")


def test_no_verdict_on_networks_that_were_not_trained_equally_long(
    call: Call, make_run: Make, make_cost: Make, tmp_path: Path
) -> None:
    make_cost("SegNet", [10.0])
    for seed in range(3):
        make_run("SegNet", 0.8, seed=seed, max_iterations=40, runs=tmp_path / "a")
        make_run("FCN", 0.6, seed=seed, max_iterations=4, runs=tmp_path / "b")
        make_run("SegNet", 0.6, seed=seed, max_iterations=4, runs=tmp_path / "c")
    code, shown, _ = call("compare", tmp_path / "a", tmp_path / "b", "--fail-if-worse", 1)
    assert code == 2
    assert "No verdict: the networks were not trained equally long" in shown
    code, shown, _ = call("compare", tmp_path / "a", tmp_path / "c", "--fail-if-worse", 1)
    assert code == 1
    assert "max_iterations: 40 -> 4" in shown
    (tmp_path / "a").rename(tmp_path / "b" / "a")
    for folder in (tmp_path / "b" / "a").iterdir():
        folder.rename(tmp_path / "b" / folder.name)
    _, shown, _ = call("choose", tmp_path / "b")
    assert "Not trained equally long, so that their last figures are not ranked" in shown


def test_compare_names_the_iteration_of_every_seed(
    call: Call, make_run: Make, tmp_path: Path
) -> None:
    """Validation chose another one for seed 1."""
    validation = {"split": "val", "every": 50, "criterion": "G", "patience": None}
    for seed in range(3):
        chosen = {("val", 50): 0.9 if seed == 1 else 0.5, ("val", 100): 0.7}
        shares = {**chosen, ("test", 50): 0.6, ("test", 100): 0.8}
        make_run("SegNet", seed=seed, shares=shares, validation=validation)
    _, shown, _ = call("compare", tmp_path / "runs", tmp_path / "runs")
    assert "A: SegNet, CamVid, protocol table1, iteration 100, 50, 100, seed 0, 1, 2\n" in shown


def test_an_interval_that_does_not_touch_zero_does_not_look_as_if_it_did() -> None:
    assert signed_interval(-2.0, -0.04) == "[-2.00, -0.04]"
    assert signed_interval(-2.0, 0.0) == "[-2.0, +0.0]"
    assert signed_interval(-2.0, 0.4) == "[-2.0, +0.4]"


def test_compare_refuses_what_was_evaluated_on_other_images(call: Call, make_run: Make) -> None:
    one, other = make_run("SegNet", 0.8), make_run("FCN", 0.6, digest="other")
    code, _, errors = call("compare", one, other)
    assert code == 2
    assert "different images" in errors


def test_compare_names_the_splits_that_there_are(call: Call, make_run: Make) -> None:
    one, other = make_run("SegNet", 0.8), make_run("FCN", 0.6)
    code, _, errors = call("compare", one, other, "--split", "tset")
    assert code == 2
    assert "no last evaluation of split 'tset'" in errors
    assert "there are evaluations of test" in errors


def test_choose_lists_what_fits_and_says_why_the_rest_does_not(
    call: Call, make_run: Make, make_cost: Make, tmp_path: Path
) -> None:
    for name, share, milliseconds in (("Fast", 0.7, 10), ("Slow", 0.9, 100), ("Bad", 0.3, 5)):
        make_run(name, share)
        make_cost(name, [milliseconds])
    make_run("Unmeasured", 0.95)
    code, shown, _ = call(
        "choose", tmp_path / "runs", "--max-ms", 50, "--max-mb", 1500, "--min-miou", 45
    )
    lines = {line.split()[0]: line for line in shown.splitlines() if line}
    assert code == 0
    assert lines["Fast"].endswith("fits")
    assert lines["Slow"].endswith("100.0 ms, limit 50")
    assert lines["Bad"].endswith("17.6 mIoU, limit 45")
    assert lines["Unmeasured"].endswith("ms not measured; MB not measured")
    assert shown.index("Fast") < shown.index("Slow")
    assert "Test GPU" in shown


def test_the_fastest_is_said_to_go_by_point_estimates(
    call: Call, make_run: Make, make_cost: Make, tmp_path: Path
) -> None:
    for seed in range(3):
        make_run("Slow", 0.9, seed=seed)
    make_run("Fast", 0.89)
    make_cost("Slow", [100.0])
    make_cost("Fast", [10.0])
    _, shown, _ = call("choose", tmp_path / "runs", "--within", 3)
    *_, fastest, basis = shown.splitlines()
    assert fastest == "Fastest within 3 points of mIoU of the best (81.8): Fast, 80.2, 10.0 ms"
    assert basis == (
        "(by point estimates, intervals left aside; seeds of it 0, of the best, Slow, 0, 1, 2)"
    )


def test_the_order_of_two_sides_changes_signs_only(
    call: Call, make_run: Make, tmp_path: Path
) -> None:
    """Seeds move both networks, each in its own way."""
    for seed, (one, other) in enumerate([(0.6, 0.7), (0.75, 0.7), (0.9, 0.75)]):
        make_run("A", one, seed=seed, spread=5, runs=tmp_path / "a")
        make_run("B", other, seed=seed, spread=-3, runs=tmp_path / "b")
    found = []
    for sides in (("a", "b"), ("b", "a")):
        _, shown, _ = call("compare", *(tmp_path / side for side in sides))
        (row,) = [line for line in shown.splitlines() if line.split()[:1] == ["G"]]
        low, high = re.findall(r"[-+]\d+\.\d+", row)[-2:]
        found.append((float(low), float(high)))
    assert found[0] == (-found[1][1], -found[1][0])
    assert found[0][0] < 0 < found[0][1]


def test_networks_are_compared_on_the_seeds_both_have(
    call: Call, make_run: Make, tmp_path: Path
) -> None:
    """A third seed of B alone would make it look better than A."""
    for seed, share in enumerate((0.6, 0.7)):
        make_run("A", share, seed=seed, runs=tmp_path / "a")
        make_run("B", share, seed=seed, runs=tmp_path / "b")
    make_run("B", 0.95, seed=2, runs=tmp_path / "b")
    _, shown, _ = call("compare", tmp_path / "a", tmp_path / "b")
    assert shown.count("seed 0, 1\n") == 2
    assert "seed 0, 1, 2" not in shown
    assert "needs seeds (3 that both sides have, or as many of each; here 2)" in shown


def test_enough_seeds_of_either_side_are_kept_when_few_are_common(
    call: Call, make_run: Make, tmp_path: Path
) -> None:
    for seed, share in enumerate((0.6, 0.7, 0.8)):
        make_run("A", share, seed=seed, runs=tmp_path / "a")
        make_run("B", share, seed=seed + 2, runs=tmp_path / "b")
    _, shown, _ = call("compare", tmp_path / "a", tmp_path / "b")
    assert "seed 0, 1, 2\n" in shown
    assert "seed 2, 3, 4\n" in shown
    assert "needs seeds" not in shown


def test_runs_of_one_seed_or_of_two_protocols_are_no_side(
    call: Call, make_run: Make, tmp_path: Path
) -> None:
    make_run("A", 0.8)
    make_run("A", 0.7, class_weights="median_frequency")
    make_run("B", 0.8, runs=tmp_path / "b")
    code, _, said = call("compare", tmp_path / "runs", tmp_path / "b")
    assert code == 2
    assert "holds runs of different protocols or data" in said
    twin = make_run("B", 0.7, runs=tmp_path / "elsewhere")
    twin.rename(tmp_path / "b" / "copy")
    code, _, said = call("compare", tmp_path / "b", tmp_path / "b")
    assert code == 2
    assert "holds several runs of seed 0" in said


def test_incomplete_records_of_one_run_leave_the_others_a_report(
    call: Call, make_run: Make, tmp_path: Path
) -> None:
    for seed in range(3):
        make_run("SegNet-Basic", 0.8, seed=seed)
        make_run("FCN-Basic", 0.7, seed=seed)
        broken = make_run("Bilinear-Interpolation", 0.75, seed=seed)
    (broken / "data.json").unlink()
    next((broken / "evaluations").glob("*.npz")).unlink()
    code, shown, said = call(tmp_path / "runs", "--table", 1, "--format", "csv")
    assert code == 0
    assert "FCN-Basic" in shown
    assert "data.json" in said
    code, _, said = call("claims", tmp_path / "runs")
    assert code == 0
    assert "data.json" in said


def test_out_says_what_it_wants(call: Call, make_run: Make, tmp_path: Path) -> None:
    make_run()
    (tmp_path / "file").touch()
    code, _, said = call("page", tmp_path / "runs", "--out", tmp_path / "file")
    assert (code, "is a file; give a folder" in said) == (2, True)
    code, _, said = call(tmp_path / "runs", "--out", tmp_path)
    assert (code, "is a folder; give the name of a file" in said) == (2, True)


def test_a_reader_that_stops_reading_is_no_error(make_run: Make, tmp_path: Path) -> None:
    make_run()
    command = f"{sys.executable} -m reports {tmp_path / 'runs'} | head -c 1"
    done = subprocess.run(command, shell=True, check=False, capture_output=True, text=True)
    assert done.stderr == ""


def test_a_page_is_written_with_tables_and_figures_beside_it(
    call: Call, make_run: Make, make_cost: Make, tmp_path: Path
) -> None:
    make_run("SegNet-Basic", 0.8)
    make_cost("SegNet-Basic", [10.0, 11.0])
    code, shown, _ = call("page", tmp_path / "runs", "--out", tmp_path / "out")
    assert code == 0
    assert str(tmp_path / "out" / "index.html") in shown
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    assert {"tables/table1.tex", "tables/table6.csv", "figures/timing-1.svg"} <= written
    first = (tmp_path / "out" / "index.html").read_bytes()
    call("page", tmp_path / "runs", "--out", tmp_path / "out")
    assert (tmp_path / "out" / "index.html").read_bytes() == first


def test_a_report_killed_while_it_writes_leaves_the_old_one(make_run: Make, tmp_path: Path) -> None:
    make_run("SegNet", 0.8)
    out = tmp_path / "table.md"
    out.write_text("the old report")
    dying = (
        "import os, signal, sys; "
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL); "
        "from reports.__main__ import main; "
        f"sys.argv = ['reports', {str(tmp_path / 'runs')!r}, '--out', {str(out)!r}]; main()"
    )
    done = subprocess.run([sys.executable, "-c", dying], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert out.read_text() == "the old report"


def test_two_reports_at_once_both_succeed(make_run: Make, tmp_path: Path) -> None:
    for name in ("SegNet", "FCN", "U-Net"):
        make_run(name, 0.8)
    command = [sys.executable, "-m", "reports", str(tmp_path / "runs")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    shown = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert shown[0] == shown[1]


def test_a_report_loads_neither_torch_nor_matplotlib(make_run: Make, tmp_path: Path) -> None:
    make_run("SegNet", 0.8)
    looking = (
        "import sys; from reports.__main__ import main\n"
        f"sys.argv = ['reports', {str(tmp_path / 'runs')!r}]\n"
        "try:\n    main()\nfinally:\n"
        "    assert not {'torch', 'matplotlib'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", looking], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def processor_seconds(runs: Path) -> float:
    """Reports, and returns the processor's time, which other programs hardly lengthen."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "reports", str(runs)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("count", "first", "again"), [(100, 10.0, 5.0), (5000, 60.0, 20.0)])
def test_tables_of_many_runs_are_there_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, first: float, again: float
) -> None:
    """The bounds are some three times what was measured; tests/benchmarks/reports.py measures."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # the disk is not what is timed
    write_many(tmp_path / "many", count)
    assert processor_seconds(tmp_path / "many") < first
    assert processor_seconds(tmp_path / "many") < again


def test_a_report_on_runs_that_cannot_be_written_prints_its_table(
    call: Call, make_run: Make, tmp_path: Path
) -> None:
    make_run("SegNet", 0.8)
    (tmp_path / "runs" / ".estimates.json").mkdir()  # as little to be written as a read-only disk
    code, shown, said = call("tables", tmp_path / "runs")
    assert code == 0
    assert "80.0" in shown
    assert "not kept for the next report" in said
    assert call("page", tmp_path / "runs", "--out", tmp_path / "page")[0] == 0
    assert (tmp_path / "page" / "index.html").is_file()
    (tmp_path / "runs" / "report" / "index.html").mkdir(parents=True)
    code, _, said = call("page", tmp_path / "runs")
    assert code == 2
    assert "cannot be written" in said
    assert "--out" in said
