"""Tables in LaTeX, Markdown and HTML: special characters, booktabs that compile, macros, BibTeX."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from handmade import configuration, write_run

from reports.render.html import html
from reports.render.latex import bibtex, escaped, latex, macro_name, macros
from reports.render.text import markdown
from reports.tables.model import Cell, Column, Row, Section, Table

NASTY = r"A_b & 50% {x}^2 ~ $y$ #1 \cmd <script>alert('x')</script> | `c`"


def table(label: str = "SegNet", column: str = "mIoU") -> Table:
    columns = [Column("", "Params (M)", 3), Column("median, test", column, 1)]
    cells = [Cell(1.425), Cell(47.66, 40.0, 55.0, 50.0, bold=True, run=Path("/runs/a<b"))]
    row = Row(label, cells, {"seeds": "0"}, ["a deviation"])
    missing = Row("FCN", [Cell(), Cell(text="out of memory", published=60.0)], ours=False)
    section = Section(f"section {label}", [row, missing], f"lr {label}", [f"note {label}"])
    return Table("1", "decoder variants", columns, [section], ["read it so"])


def test_a_cell_has_our_figure_its_interval_the_papers_and_the_difference() -> None:
    assert "**47.7** [40.0, 55.0] paper 50.0 (-2.3)" in markdown(table())
    assert "out of memory paper 60.0" in markdown(table())
    shown = latex(table())
    assert r"\textbf{47.7}" in shown
    assert r"{\scriptsize [40.0, 55.0]}" in shown
    assert r"{\scriptsize 50.0 (-2.3)}" in shown


def test_latex_uses_booktabs_and_leaves_the_numbering_to_latex() -> None:
    shown = latex(table())
    assert r"\caption{As Table 1: decoder variants. section SegNet." in shown
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert shown.count(rule) == 1
    assert "hline" not in shown


def test_a_difference_that_rounds_to_zero_has_no_minus() -> None:
    found = table()
    found.sections[0].rows[0].cells[1] = Cell(49.99, published=50.0)
    assert "paper 50.0 (+0.0)" in markdown(found)


def test_what_latex_reads_as_commands_is_escaped() -> None:
    assert escaped(r"50% of A_b & {c}\d") == (r"50\% of A\_b \& \{c\}\textbackslash{}d")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX compiler here")
def test_latex_compiles_whatever_the_names_are(tmp_path: Path) -> None:
    body = latex(table(NASTY, NASTY)) + macros([table()]) + r"\TableOneSegNetMedianTestMIoU"
    preamble = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"
    (tmp_path / "t.tex").write_text(f"{preamble}\n{body}\n\\end{{document}}\n")
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_names_are_words_in_html_whatever_they_hold() -> None:
    shown = html(table(NASTY, NASTY))
    assert "<script>" not in shown
    assert shown.count("&lt;script&gt;") >= 4
    assert 'href="#run-a%3Cb"' in shown


def test_names_are_words_in_markdown_whatever_they_hold() -> None:
    shown = markdown(table(NASTY, NASTY))
    assert r"A\_b" in shown
    assert "<script>" not in shown.replace(r"\<script\>", "")
    lines = [line for line in shown.splitlines() if line.startswith("| ")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_every_figure_of_ours_is_a_macro_of_letters_alone() -> None:
    shown = macros([table()])
    assert r"\newcommand{\TableOneSegNetMedianTestMIoU}{47.7}" in shown
    assert "FCN" not in shown
    assert macro_name("Table3 >80K, test G") == "TableThreeEightZeroKTestG"


def test_bibtex_has_what_is_compared_and_the_data_set() -> None:
    found = bibtex([table("Boosting+Detectors+CRF")], {"CamVid"})
    keys = re.findall(r"@\w+{(\w+),", found)
    assert set(keys) == {
        "badrinarayanan2017segnet",
        "ladicky2010what",
        "long2015fully",
        "brostow2009semantic",
    }
    assert found.count("{") == found.count("}")


def test_a_spreadsheet_computes_nothing_that_a_record_says(tmp_path: Path) -> None:
    names = ["=1+1", "+cmd|x", "@SUM(A1)"]
    for name in names:
        write_run(
            tmp_path, configuration(name, classes=["Sky", "-2+3", "Car"]), {("test", 100): 0.8}
        )
    for number in "23":
        words = ["-m", "reports", str(tmp_path), "--table", number, "--format", "csv"]
        found = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
        cells = [cell for row in csv.reader(found.stdout.splitlines()) for cell in row]
        assert {f"'{name}" for name in names} <= set(cells)
        computed = [cell for cell in cells if cell[:1] in set("=+-@") and cell]
        assert all(re.fullmatch(r"[+-]?[0-9.]+", cell) for cell in computed), computed


def test_a_folder_with_a_schemes_name_is_a_relative_link(tmp_path: Path) -> None:
    folder = tmp_path / "javascript:alert(1)"
    write_run(tmp_path, configuration(), {("test", 100): 0.8}).rename(folder)
    words = ["-m", "reports", "page", str(tmp_path), "--out", str(tmp_path)]
    subprocess.run([sys.executable, *words], capture_output=True, check=True)
    links = re.findall(r'href="([^"]+)"', (tmp_path / "index.html").read_text())
    assert "javascript%3Aalert%281%29/config.json" in links
    assert not [link for link in links if link.startswith("javascript:")]
