"""The page in a real browser: it renders, sorts and filters, by keyboard too, and loads nothing."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import Browser, is_available
from handmade import configuration, cost_record, write_picture, write_run

from bench import records
from reports.read.runs import read_runs
from reports.render.html import breakable
from reports.render.page import write_report
from reports.tables.choice import context_of

pytest_plugins = ["run_fixtures"]

Make = Callable[..., Path]
NASTY = "A<b>&\"'$"
FIRST_COLUMN = (
    "return [...document.querySelectorAll('#table1 .group')[0].querySelectorAll('tbody tr')]"
    ".filter(row => !row.hidden).map(row => row.cells[0].textContent)"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One page for all that only look at it: drawing its figures takes seconds."""
    place = tmp_path_factory.mktemp("page")
    root = place / "runs"
    (root / "cost").mkdir(parents=True)
    for name, share in (("SegNet-Basic", 0.8), ("FCN-Basic", 0.9), (NASTY, 0.7)):
        config = configuration(name, dataset="Streets", classes=["Sky", "<i>&", "Car"])
        folder = write_run(root, config, {("test", 100): share})
        write_picture(folder / "predictions" / "test-0000100" / "a0001.png")
        times = json.dumps(cost_record(name, [share * 10, share * 11]))
        (root / "cost" / f"{share}.json").write_text(times)
    deep = configuration("SegNet", dataset="Fields", lr=0.001, name_of_it="x")
    write_run(root, deep, {("test", 100): 0.6}, fingerprint="deep")
    lost = configuration("U-Net", dataset="Fields", lr=0.001)
    write_run(root, lost, {}, fingerprint="deep", state="diverged")
    return write_report(read_runs(records.run_folders(root)), context_of(root), place / "out")


def test_names_of_records_lead_out_of_no_folder(make_run: Make, tmp_path: Path) -> None:
    for number, name in enumerate(("../../evil", "/evil")):
        make_run(name, 0.8, seed=number, dataset=name, fingerprint=name)
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "runs")}
    root = tmp_path / "runs"
    write_report(read_runs(records.run_folders(root)), context_of(root), tmp_path / "a" / "out")
    made = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "runs")}
    assert {path.relative_to(tmp_path).parts[0] for path in made - before} == {"a"}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out"]
    assert not Path("/evil").exists()


@pytest.fixture
def browser() -> Iterator[Browser]:
    if not is_available():
        pytest.skip("no chromium and chromedriver here")
    with Browser() as window:
        yield window


def test_every_figure_of_ours_leads_to_its_run(page: Path) -> None:
    content = page.read_text()
    targets = set(re.findall(r'href="#((?:run|cost)-[^"]+)"', content))
    assert {target.partition("-")[0] for target in targets} == {"run", "cost"}
    assert all(f'id="{target}"' in content for target in targets)
    for link in re.findall(r'href="(\.\.[^"]+)"', content):
        assert (page.parent / link).is_file()


def test_a_mean_over_seeds_leads_to_all_its_runs(make_run: Make, tmp_path: Path) -> None:
    for seed in range(3):
        make_run("SegNet", 0.8, seed=seed)
    root = tmp_path / "runs"
    page = write_report(read_runs(records.run_folders(root)), context_of(root), tmp_path / "out")
    content = page.read_text()
    others = "run-segnet-none-seed1 run-segnet-none-seed2"
    assert f'href="#run-segnet-none-seed0" data-also="{others}"' in content
    assert all(f'id="run-segnet-none-seed{seed}"' in content for seed in range(3))


def test_the_page_says_how_to_make_each_run_again(page: Path) -> None:
    folder = page.parents[1] / "runs" / "segnet-basic-none-seed0"
    assert f"<code>python -m bench --from {folder}</code>" in page.read_text()


def test_the_page_says_what_its_records_do_not_hold(page: Path) -> None:
    content = page.read_text()
    missing = content[content.index("Not in these records") : content.index("</aside>")]
    assert "The images of Streets (dataset.root is no such folder" in missing
    assert "Kept predictions, of SegNet." in missing
    assert "Measured time and memory, of SegNet." in missing
    assert "Trained weights, of all networks." in missing
    assert "evidence" not in missing


def test_claims_on_few_seeds_are_said_to_be_of_weights(page: Path) -> None:
    content = page.read_text()
    claims = content[content.index('<section id="claims">') : content.index('<section id="runs">')]
    assert claims.count("these weights, no verdict on the networks") == claims.count("<h3>") > 0
    assert "supported" not in claims
    assert claims.count("the paper&#x27;s own</th>") == claims.count("<h3>")
    assert "fails: BF -2.33 (SegNet-Basic - FCN-Basic)" in claims


def test_a_page_of_records_that_hold_all_does_not_complain(
    make_run: Make, make_cost: Make, tmp_path: Path
) -> None:
    folder = make_run("SegNet", 0.8)
    make_cost("SegNet", [10.0])
    write_picture(folder / "predictions" / "test-0000100" / "a0001.png")
    for name in ("log.txt", "weights-last.pt"):
        (folder / name).write_text("")
    content = records.read_json(folder / "config.json")
    content["config"]["dataset"]["root"] = str(tmp_path)
    records.write_json(folder / "config.json", content)
    root = tmp_path / "runs"
    page = write_report(read_runs(records.run_folders(root)), context_of(root), tmp_path / "out")
    assert "Not in these records" not in page.read_text()


def written(root: Path, out: Path) -> str:
    return write_report(read_runs(records.run_folders(root)), context_of(root), out).read_text()


def test_the_first_screen_says_which_network_is_best(make_run: Make, tmp_path: Path) -> None:
    """In two sentences and a table of mIoU and BF, before everything else."""
    for name, share in (("SegNet-Basic", 0.8), ("FCN-Basic", 0.79), ("Bilinear", 0.6)):
        for seed, noise in enumerate((0.02, -0.02, 0.0)):
            make_run(name, share + noise * (1 if name == "FCN-Basic" else -1), seed=seed)
    content = written(tmp_path / "runs", tmp_path / "out")
    answer = content[content.index('id="answer"') : content.index('class="table"')]
    plain = re.sub(r"<[^>]+>", "", answer)
    assert re.search(r"SegNet-Basic has mIoU 66\.\d \[\d", plain)
    assert "the highest of 3 networks; not separated from it: FCN-Basic." in plain
    assert plain.count("the highest of 3 networks") == 2
    assert re.findall(r"<th scope=.col.>(\w+)</th>", answer) == ["network", "mIoU", "BF"]
    assert "Not in these records" in content[content.index('id="claims"') :]


def test_the_answer_on_few_seeds_is_no_verdict(make_run: Make, tmp_path: Path) -> None:
    make_run("SegNet-Basic", 0.8)
    make_run("FCN-Basic", 0.6)
    words = answer_of(tmp_path)
    assert words.count("the highest of 2 networks, which is no verdict; not ranked: ") == 2
    assert words.count("SegNet-Basic, FCN-Basic (fewer than 3 seeds).") == 2


def answer_of(tmp_path: Path) -> str:
    content = written(tmp_path / "runs", tmp_path / "out")
    answer = content[content.index('<p class="answer">') : content.index('<table class="answer"')]
    return re.sub(r"<[^>]+>", "", answer)


def test_the_answer_ranks_no_network_of_one_seed(make_run: Make, tmp_path: Path) -> None:
    """It is neither among those that are counted nor one that the best is separated from."""
    for seed in range(3):
        make_run("A", 0.8, seed=seed)
        make_run("B", 0.7, seed=seed)
    make_run("Lucky", 0.9)
    assert (
        "the highest of 2 networks and separated from all of them; not ranked: Lucky "
        "(fewer than 3 seeds)."
    ) in answer_of(tmp_path)


def test_the_answer_says_that_networks_were_not_trained_equally_long(
    make_run: Make, tmp_path: Path
) -> None:
    for seed in range(3):
        make_run("A", 0.8, seed=seed)
        make_run("B", 0.7, seed=seed, max_iterations=200)
    words = answer_of(tmp_path)
    assert "the highest of 2 networks, which is no verdict; not ranked: A, B (not trained" in words
    assert "seeds" not in words


def test_a_comparison_that_failed_is_no_separation(make_run: Make, tmp_path: Path) -> None:
    """B's records do not say on which images it was evaluated."""
    for seed in range(3):
        make_run("A", 0.8, seed=seed)
        make_run("C", 0.6, seed=seed)
        (make_run("B", 0.7, seed=seed) / "data.json").unlink()
    words = answer_of(tmp_path)
    assert "networks and separated from all of them; not ranked: B (records that" in words


def test_every_table_of_the_page_says_what_it_is_and_what_its_heads_are_of(
    make_run: Make, make_cost: Make, tmp_path: Path
) -> None:
    make_run("SegNet-Basic", 0.8)
    make_cost("SegNet-Basic", [10.0])
    content = written(tmp_path / "runs", tmp_path / "out")
    assert re.findall(r"<th(?! scope)[ >]", content[content.index('id="claims"') :]) == []
    tables = re.findall(r"<table[^>]*>(.{8})", content)
    assert len(tables) > 3
    assert set(tables) == {"<caption"}


def test_tables_put_scores_first_and_leave_out_what_has_no_run(
    make_run: Make, tmp_path: Path
) -> None:
    """Natural weights alone: no column of the median; seeds and iterations are last."""
    make_run("SegNet-Basic", 0.8)
    content = written(tmp_path / "runs", tmp_path / "out")
    table = content[content.index('id="table1"') :]
    heads = re.findall(r"<th scope=.col.>([^<]+)</th>", table[: table.index("</thead>")])
    assert heads[:5] == ["network", "G", "C", "mIoU", "BF"]
    assert heads[-2:] == ["seeds", "iterations"]
    assert "median" not in table[: table.index("</thead>")]
    assert '<th scope="row">' in table
    assert "<caption" in table
    assert table.index('<p class="reading">Bold') < table.index("<details>")
    assert "median, test" in (tmp_path / "out" / "tables" / "table1.md").read_text()


def test_names_break_at_hyphens() -> None:
    assert breakable("FCN-Basic-NoAddition") == "FCN-<wbr>Basic-<wbr>No<wbr>Addition"
    assert breakable("SegNet, PyTorch fp32") == "SegNet, <wbr>PyTorch <wbr>fp32"


def test_the_letters_of_a_drawing_are_text(page: Path) -> None:
    drawing = (page.parent / "figures" / "classes-1.svg").read_text()
    assert "class accuracy (%)" in re.sub(r"<[^>]+>", "", drawing)


def test_nothing_of_the_page_lies_elsewhere(page: Path) -> None:
    content = page.read_text()
    assert not re.search(r'(src|href)="(https?:)?//', content)
    assert not re.search(r"@import|url\((?!#)", content)


@pytest.mark.slow
def test_the_page_renders_without_a_complaint_and_loads_nothing(
    page: Path, browser: Browser
) -> None:
    browser.open(page)
    assert browser.run("return document.querySelectorAll('figure svg').length") >= 4
    assert browser.run("return document.querySelectorAll('script').length") == 1
    assert browser.run(FIRST_COLUMN) == ["SegNet-Basic", "FCN-Basic", NASTY]
    assert browser.log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    requested = {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
    outside = {
        url
        for url in requested
        if not url.startswith(("data:", "chrome:", "chrome-untrusted:", page.as_uri()))
    }
    assert outside == set()


@pytest.mark.slow
def test_a_click_sorts_by_the_exact_figures_and_a_second_one_turns_it_round(
    page: Path, browser: Browser
) -> None:
    browser.open(page)
    click = (
        "[...document.querySelectorAll('#table1 th button')]"
        ".find(b => b.textContent === 'mIoU').click();"
    )
    browser.run(click)
    assert browser.run(FIRST_COLUMN) == ["FCN-Basic", "SegNet-Basic", NASTY]
    browser.run(click)
    assert browser.run(FIRST_COLUMN) == [NASTY, "SegNet-Basic", "FCN-Basic"]
    state = "return document.querySelector('#table1 th[aria-sort]').getAttribute('aria-sort')"
    assert browser.run(state) == "ascending"


@pytest.mark.slow
def test_a_click_on_a_mean_marks_the_runs_of_all_seeds(
    make_run: Make, tmp_path: Path, browser: Browser
) -> None:
    for seed in range(3):
        make_run("SegNet", 0.8, seed=seed)
    make_run("FCN", 0.7)
    root = tmp_path / "runs"
    browser.open(write_report(read_runs([*root.iterdir()]), context_of(root), tmp_path / "out"))
    browser.run("document.querySelector('a[data-also]').click()")
    marked = "return [...document.querySelectorAll('tr:target, tr.also')].map(row => row.id)"
    assert browser.run(marked) == [f"run-segnet-none-seed{seed}" for seed in range(3)]
    browser.run("document.querySelector('a[href=\"#run-fcn-none-seed0\"]').click()")
    assert browser.run(marked) == ["run-fcn-none-seed0"]


@pytest.mark.slow
def test_sorting_and_filtering_work_by_keyboard_alone(page: Path, browser: Browser) -> None:
    browser.open(page)
    browser.run("document.querySelector('#table1 th button').focus()")
    browser.press("\ue007")  # Enter
    assert browser.run(FIRST_COLUMN)[0] == "SegNet-Basic"
    browser.run("document.getElementById('network').focus()")
    browser.press("fcn")
    assert browser.run(FIRST_COLUMN) == ["FCN-Basic"]


@pytest.mark.slow
def test_filters_hide_what_does_not_fit(page: Path, browser: Browser) -> None:
    browser.open(page)
    choose = (
        "const box = document.getElementById('{}'); box.value = '{}';"
        "box.dispatchEvent(new Event('input'));"
    )
    shown = (
        "return [...new Set([...document.querySelectorAll('.group')].filter(g => !g.hidden)"
        ".map(g => g.dataset.dataset))].filter(Boolean)"
    )
    assert set(browser.run(shown)) == {"Streets", "Fields"}
    browser.run(choose.format("dataset", "Fields"))
    assert browser.run(shown) == ["Fields"]
    browser.run(choose.format("network", "no such network"))
    assert browser.run("return document.querySelectorAll('.group table:not([hidden])').length") > 0
    assert browser.run("return document.querySelector('#runs tbody tr').hidden")


@pytest.mark.slow
def test_ink_and_paper_follow_the_readers_scheme(page: Path, browser: Browser) -> None:
    browser.open(page)
    ink = "return getComputedStyle(document.querySelector('figure svg text, figure svg')).color"
    browser.prefer("light")
    light = browser.run(ink)
    browser.prefer("dark")
    assert browser.run(ink) != light
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == (
        "rgb(22, 24, 26)"
    )


@pytest.mark.slow
@pytest.mark.parametrize("width", [380, 1280])
def test_the_page_itself_never_scrolls_sideways(page: Path, width: int) -> None:
    if not is_available():
        pytest.skip("no chromium and chromedriver here")
    with Browser(width=max(width, 500)) as window:
        window.command(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False},
        )
        window.open(page)
        assert window.run("return document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_the_shipped_page_fits_a_printed_sheet() -> None:
    """Its widest table has 17 columns; A4 across, less its margins, is 1032 px wide."""
    if not is_available():
        pytest.skip("no chromium and chromedriver here")
    with Browser() as window:
        window.command("Emulation.setEmulatedMedia", {"media": "print"})
        window.command(
            "Emulation.setDeviceMetricsOverride",
            {"width": 1032, "height": 700, "deviceScaleFactor": 1, "mobile": False},
        )
        window.open(Path(__file__).parents[2] / "reports/results/camvid_short/report/index.html")
        assert window.run("return document.documentElement.scrollWidth") <= 1032
