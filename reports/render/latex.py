r"""Tables as LaTeX (booktabs), single figures as macros, and the literature as BibTeX.

The preamble needs \usepackage{booktabs,graphicx}.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from reports.render.text import heading, label, notes
from reports.tables.model import Cell, Column, Section, Table, comparison, figure, interval

SPECIALS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "×": r"$\times$",
}
DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")

# Which entries of references.bib a row of ours or of the literature stands for.
REFERENCES = {
    "SegNet": "badrinarayanan2017segnet",
    "FCN": "long2015fully",
    "DeepLab": "chen2015semantic",
    "DeconvNet": "noh2015learning",
    "U-Net": "ronneberger2015unet",
    "Bayesian SegNet": "kendall2017bayesian",
    "SfM+Appearance": "brostow2008segmentation",
    "Boosting": "sturgess2009combining",
    "Boosting+Detectors+CRF": "ladicky2010what",
    "Dense Depth Maps": "zhang2010semantic",
    "Structured Random Forests": "kontschieder2011structured",
    "Neural Decision Forests": "rotabulo2014neural",
    "Local Label Descriptors": "yang2012local",
    "Super Parsing": "tighe2013superparsing",
}
DATASETS = {"CamVid": "brostow2009semantic", "SUN": "song2015sun"}


def escaped(words: str) -> str:
    """Escapes what LaTeX reads as commands."""
    return "".join(SPECIALS.get(character, character) for character in words)


def latex(table: Table) -> str:
    """Formats a table as LaTeX, one `table` for each section.

    A network has a line of figures, one of intervals and one of published figures, as far as there
    are any.
    """
    return "\n".join(_section(table, section) for section in table.sections)


def _section(table: Table, section: Section) -> str:
    grouped = any(column.group for column in table.columns)
    heads = [("", "network"), *((escaped(c.group), escaped(c.name)) for c in table.columns)]
    letters = section.footnotes()
    lines = [
        line
        for row in section.rows
        for line in _lines(escaped(label(row, letters)), row.cells, table.columns)
    ]
    columns: pd.Index = (
        pd.MultiIndex.from_tuples(heads) if grouped else pd.Index([h[1] for h in heads])
    )
    styler = pd.DataFrame(lines, columns=columns).style.hide(axis="index")
    tabular = styler.to_latex(
        hrules=True, column_format="l" + "r" * len(table.columns), multicol_align="c"
    )
    caption = f"As {heading(table)}. {section.title}."  # LaTeX numbers tables itself
    if section.difference:
        caption += f" Not comparable with the table before: {section.difference}."
    below = [*notes(section), *table.notes]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(caption)}}}",
            r"\resizebox{\textwidth}{!}{%",
            f"{tabular.strip()}}}",
            "",
            r"\vspace{1ex}",
            r"\begin{minipage}{\textwidth}\scriptsize",
            *(f"{escaped(note)}\n" for note in below),
            r"\end{minipage}",
            r"\end{table}",
            "",
        ]
    )


def _lines(name: str, cells: Sequence[Cell], columns: Sequence[Column]) -> list[list[str]]:
    pairs = list(zip(cells, columns, strict=True))
    ours = [_ours(*pair) for pair in pairs]
    intervals = [interval(cell, column.digits) for cell, column in pairs]
    papers = [comparison(cell, column.digits) for cell, column in pairs]
    lines = [[rf"\addlinespace {name}", *ours]]  # a skip is possible only where a line begins
    if any(intervals):
        lines.append(["", *(_small(words) for words in intervals)])
    if any(papers):
        lines.append([r"\quad\scriptsize paper", *(_small(words) for words in papers)])
    return lines


def _ours(cell: Cell, column: Column) -> str:
    words = escaped(figure(cell.value, column.digits) or cell.text)
    return rf"\textbf{{{words}}}" if cell.bold else words


def _small(words: str) -> str:
    return rf"{{\scriptsize {escaped(words)}}}" if words else ""


def macros(tables: Iterable[Table]) -> str:
    r"""Makes each of our figures a macro, such as \SegNetBasicMedianTestMIoU, to be used in prose.

    Of several sections the first is meant; a letter tells the macros of the others apart.
    """
    lines: dict[str, str] = {}
    for table in tables:
        for number, section in enumerate(table.sections):
            suffix = f" {chr(ord('A') + number)}" if number else ""
            for row in section.rows:
                for column, cell in zip(table.columns, row.cells, strict=True):
                    if cell.value is not None:
                        name = macro_name(f"Table{table.number} {row.label} {column.title}{suffix}")
                        words = figure(cell.value, column.digits)
                        lines.setdefault(name, rf"\newcommand{{\{name}}}{{{words}}}")
    return "\n".join(lines.values()) + "\n"


def macro_name(words: str) -> str:
    """Turns words into a name of letters alone, which is all that a macro may have."""
    spelt = re.sub(r"\d", lambda match: f" {DIGITS[int(match[0])]} ", words)
    parts = re.findall(r"[A-Za-z]+", spelt)
    return "".join(part[0].upper() + part[1:] for part in parts)


def bibtex(tables: Iterable[Table], datasets: Iterable[str]) -> str:
    """Returns the entries of what is compared: the paper, the networks and the data sets."""
    names = [row.label for table in tables for section in table.sections for row in section.rows]
    keys = {REFERENCES["SegNet"]}
    for name in names:
        # The longest name that a row begins with: "Boosting+Detectors+CRF" before "Boosting".
        fitting = [known for known in REFERENCES if name.startswith(known)]
        if fitting:
            keys.add(REFERENCES[max(fitting, key=len)])
    for dataset in datasets:
        keys |= {key for known, key in DATASETS.items() if dataset.startswith(known)}
    entries = Path(__file__).with_name("references.bib").read_text().split("\n\n")
    return "\n\n".join(e.strip() for e in entries if _key(e) in keys) + "\n"


def _key(entry: str) -> str:
    return entry.strip().partition("{")[2].partition(",")[0]
