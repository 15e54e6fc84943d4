"""One self-contained HTML page of everything, and each table and figure as a file beside it."""

import base64
import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from bench import records
from reports.compute.claims import COLUMNS, claim_rows, few_seeds
from reports.compute.context import Context
from reports.compute.gaps import gaps
from reports.compute.groups import CONDITION_OF_COLUMNS, groups, told_apart
from reports.compute.pooling import FEW_SEEDS
from reports.figures import style
from reports.figures.of_report import Drawing, drawings
from reports.read.published import SOURCE, rank_of
from reports.read.runs import Run, without_postprocessings
from reports.render import latex
from reports.render import text as formats
from reports.render.answer import answers
from reports.render.cells import csv
from reports.render.html import anchor, breakable, group_start, html
from reports.tables.choice import fitting_tables
from reports.tables.model import Table

HERE = Path(__file__).parent
PHOTOGRAPHS = "qualitative"  # the figure of images, which are no drawing
PHOTOGRAPHS_DPI = 110


def write_report(runs: Sequence[Run], context: Context, out: Path) -> Path:
    """Writes the page, the tables in every format and the figures.

    Every file is written whole or not at all; the page comes last.

    Args:
        runs: what is reported.
        context: scores, costs, literature.
        out: the folder for it; made if it does not exist.

    Returns:
        The page.
    """
    (out / "tables").mkdir(parents=True, exist_ok=True)
    (out / "figures").mkdir(exist_ok=True)
    tables = fitting_tables(runs, context, classes=True)
    _write_tables(tables, runs, out)
    drawn = drawings(runs, context)
    pictures = {}
    for drawing in drawn:
        figure = out / "figures" / drawing.name
        if drawing.name.startswith(PHOTOGRAPHS):
            pictures[drawing.name] = style.jpeg(drawing.figure, PHOTOGRAPHS_DPI)
            records.write_bytes(Path(f"{figure}.png"), style.png(drawing.figure, PHOTOGRAPHS_DPI))
        else:
            pictures[drawing.name] = style.svg(drawing.figure)
            records.write_bytes(Path(f"{figure}.svg"), pictures[drawing.name])
            records.write_bytes(Path(f"{figure}.png"), style.png(drawing.figure))
    page = out / "index.html"
    parts = [
        _head(runs),
        '<main id="top">',
        answers(tables),
        '<p class="nothing" id="nothing" hidden>Nothing fits these filters.</p>',
        *(html(table) for table in tables),
        '<section id="figures"><h2>Figures</h2>',
        *(_figure(drawing, pictures[drawing.name]) for drawing in drawn),
        "</section>",
        _claims(runs, context),
        _gaps(runs, context),
        _runs(runs, context, out),
        "</main>",
        _foot(),
    ]
    records.write_bytes(page, "\n".join(parts).encode())
    return page


def _write_tables(tables: Sequence[Table], runs: Sequence[Run], out: Path) -> None:
    writers: dict[str, Callable[[Table], str]] = {
        "md": formats.markdown,
        "tex": latex.latex,
        "csv": lambda table: csv([table]),
        "html": html,
    }
    for table in tables:
        for suffix, write in writers.items():
            path = out / "tables" / f"{table.slug}.{suffix}"
            records.write_bytes(path, write(table).encode())
    datasets = {run.config["dataset"]["name"] for run in runs}
    records.write_bytes(out / "tables" / "macros.tex", latex.macros(tables).encode())
    records.write_bytes(out / "tables" / "references.bib", latex.bibtex(tables, datasets).encode())


def _head(runs: Sequence[Run]) -> str:
    choices = {
        "dataset": sorted({run.config["dataset"]["name"] for run in runs}),
        "protocol": sorted({run.config["protocol"]["name"] for run in runs}),
    }
    selects = "".join(
        f'<label>{key}<select id="{key}"><option value="">all</option>'
        + "".join(f"<option>{escape(value)}</option>" for value in values)
        + "</select></label>"
        for key, values in choices.items()
    )
    networks = sorted({run.name for run in runs})
    title = (
        f"{len(networks)} {_plural('network', len(networks))} on {', '.join(choices['dataset'])}"
    )
    links = "".join(
        f'<a href="#{place}">{words}</a>'
        for place, words in (
            ("top", "Tables"),
            ("figures", "Figures"),
            ("claims", "Claims"),
            ("runs", "Runs"),
        )
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>
{(HERE / "page.css").read_text()}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="lead">Trained under one protocol, measured one way, beside the SegNet paper. Rows under
one heading may be compared; every number leads to its runs. {escape(_counted(runs))}</p>
</header>
<div class="bar"><div><nav aria-label="parts of the page">{links}</nav>{selects}
<label>network<input id="network" type="search" placeholder="part of a name"></label></div></div>"""


def _counted(runs: Sequence[Run]) -> str:
    """Says how many runs there are, and how they ended."""
    states = Counter(run.state.replace("_", " ") for run in without_postprocessings(runs))
    counts = ", ".join(f"{count} {state}" for state, count in states.most_common())
    return f"{states.total()} {_plural('run', states.total())}: {counts}."


def _plural(words: str, count: int) -> str:
    noun, *rest = words.split(" ", 1)
    return " ".join([noun if count == 1 else f"{noun}s", *rest])


def _figure(drawing: Drawing, picture: bytes) -> str:
    label = escape(drawing.caption)
    if drawing.name.startswith(PHOTOGRAPHS):
        data = base64.b64encode(picture).decode()
        inside = f'<img alt="{label}" src="data:image/jpeg;base64,{data}">'
    else:
        inside = inline(picture, drawing.name, label)
    return (
        f"{group_start(drawing.dataset, drawing.protocol)}<figure>{inside}"
        f"<figcaption>{label}</figcaption></figure></div>"
    )


def inline(picture: bytes, name: str, label: str) -> str:
    """Prepares an SVG to stand in a page: its ids its own, its ink and lines those of the page."""
    text = picture.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = text.replace(style.INK, "currentColor").replace(style.LINE, "var(--line)")
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1).strip()


def _claims(runs: Sequence[Run], context: Context) -> str:
    parts = ['<section id="claims"><h2>What the paper says, tested on these runs</h2>']
    heads = "".join(f'<th scope="col" class="words">{escape(head)}</th>' for head in COLUMNS)
    for group in groups(runs, (CONDITION_OF_COLUMNS,)):
        config = group[0].config
        dataset, protocol = config["dataset"]["name"], config["protocol"]["name"]
        words = f"{dataset}, protocol {protocol}"
        if on := told_apart(group, runs):
            words += f", {on}"
        rows = "".join(
            f'<tr><td class="words">{escape(row.claim)}</td>'
            f'<td class="verdict {row.verdict.replace(" ", "-")}">{row.verdict}</td>'
            f'<td class="words">{escape(row.why)}</td>'
            f'<td class="words">{escape(row.paper)}</td></tr>'
            for row in claim_rows(group, context)
        )
        parts += [
            group_start(dataset, protocol),
            f"<h3>{escape(words)}</h3>",
            '<div class="scroll" tabindex="0"><table>'
            f'<caption class="unseen">Claims on {escape(words)}</caption>'
            f"<thead><tr>{heads}</tr></thead>"
            f"<tbody>{rows}</tbody></table></div>",
            f'<ul class="notes"><li>{FEW_SEEDS}</li></ul></div>' if few_seeds(group) else "</div>",
        ]
    return "\n".join([*parts, "</section>"])


def _gaps(runs: Sequence[Run], context: Context) -> str:
    """Says what these records do not hold."""
    items = "".join(f"<li>{escape(line)}</li>" for line in gaps(runs, context))
    return (
        f'<aside class="gaps"><h2>Not in these records</h2><ul>{items}</ul></aside>'
        if items
        else ""
    )


def _runs(runs: Sequence[Run], context: Context, out: Path) -> str:
    """Lists the runs, with the way to their configuration and log, and how to make them again."""
    ordered = sorted(without_postprocessings(runs), key=lambda run: (rank_of(run.name), run.seed))
    costs = sorted(context.costs, key=lambda cost: rank_of(cost.name))
    rows = [_run_row(run, out) for run in ordered]
    rows += [
        f'<tr id="{anchor(cost.path)}"><td>{breakable(cost.name)}</td><td></td>'
        f"<td>{escape(cost.state)}</td><td></td>"
        f'<td><a href="{escape(_relative(cost.path, out))}">record</a></td>'
        f'<td class="words">cost: {escape(", ".join(cost.setting))}</td></tr>'
        for cost in costs
    ]
    heads = "".join(
        f'<th scope="col">{head}</th>' for head in ("network", "seed", "state", "evaluated")
    )
    heads += '<th scope="col">files</th>'
    heads += '<th scope="col" class="words">the same again, and as it was called</th>'
    return (
        f'<section id="runs"><h2>Runs</h2>{group_start("", "")}<div class="scroll" tabindex="0">'
        '<table class="sortable"><caption class="unseen">Every run and cost record</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}"
        "</tbody></table></div></div></section>"
    )


def _run_row(run: Run, out: Path) -> str:
    files = [
        f'<a href="{escape(_relative(run.folder / name, out))}">{words}</a>'
        for name, words in (("config.json", "config"), ("log.txt", "log"))
        if (run.folder / name).exists()
    ]
    cells = [
        breakable(run.name),
        str(run.seed),
        escape(run.state.replace("_", " ")),
        str(max((e["iteration"] for e in run.evaluations), default="")),
        " ".join(files),
    ]
    again = shlex.join(["python", "-m", "bench", "--from", str(run.folder)])
    called = run.config.get("command") or ""
    commands = f"<code>{escape(again)}</code><small><code>{escape(called)}</code></small>"
    row = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr id="{anchor(run.folder)}">{row}<td class="words">{commands}</td></tr>'


def _relative(path: Path, out: Path) -> str:
    return quote(Path(os.path.relpath(path, out)).as_posix())  # a colon would make it a scheme


def _foot() -> str:
    return f"""<footer><p>Published figures: {escape(SOURCE)}.
Tables as Markdown, LaTeX, CSV and HTML lie in
<code>tables/</code>, figures as SVG and PNG in <code>figures/</code>, beside this page.</p>
</footer>
<script>
{(HERE / "page.js").read_text()}</script>
</body>
</html>
"""
