"""How every figure looks, and rendering: the same bytes every time."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

INK, LINE = "#1a1b1c", "#c9cacb"  # page.py turns these two into the page's own colours
# Okabe and Ito's colours, told apart by the colour-blind; with a marker each for print in grey.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#a6761d")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", ">")
HATCHES = ("", "////", "....", "\\\\", "xxxx", "----", "++++", "||||")
MOST = len(COLOURS)
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "segbench",  # makes the ids reproducible
    "svg.fonttype": "none",  # letters that can be searched, copied and read aloud
    "font.family": "DejaVu Sans",  # ships with matplotlib; a reader without it sees the next best
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draws and renders in the style of all figures."""
    with mpl.rc_context(STYLE):
        yield


def svg(figure: Figure) -> bytes:
    """Renders a figure as SVG without date or version, letters as text."""
    with styled():
        buffer = io.BytesIO()
        figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True
        )
    return buffer.getvalue()


def png(figure: Figure, dpi: int = 200) -> bytes:
    """Renders a figure as PNG on white, for slides."""
    with styled():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def jpeg(figure: Figure, dpi: int) -> bytes:
    """Renders a figure of photographs as JPEG on white, a tenth of what PNG takes."""
    with styled():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="jpeg", dpi=dpi, pil_kwargs={"quality": 85})
    return buffer.getvalue()


def dot(number: int) -> dict[str, Any]:
    """Returns the colour and the marker of the network of a number."""
    return {
        "color": COLOURS[number % MOST],
        "marker": MARKERS[number % MOST],
        "linestyle": "none",
        "markeredgewidth": 0,
    }


def plain(name: str) -> str:
    """Keeps a dollar sign from starting a formula."""
    return name.replace("$", r"\$")
