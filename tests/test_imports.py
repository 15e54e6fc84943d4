"""Imports point one way: architectures -> torch; bench -/-> architectures; reports -> records."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    p for top in ("architectures", "bench", "reports") for p in (ROOT / top).rglob("*.py")
)
OURS = {"architectures", "bench", "reports"}


# What reports read of bench, as CONTRIBUTING says it; data and target show pictures of a set.
READ_BY_REPORTS = (
    "bench.records", "bench.sound_files", "bench.evidence", "bench.losses", "bench.metrics",
    "bench.config", "bench.typed", "bench.words", "bench.console", "bench.target", "bench.tuning",
    "bench.data.schema", "bench.data.images", "bench.data.pairs",
)  # fmt: skip
PRINTS_TABLES = {"bench/__main__.py", "bench/contestants.py"}  # they end in one


def imported(source: str) -> set[str]:
    """Returns the modules that a source imports, or the names where it imports from a package."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module in OURS:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(str(node.module))
    return modules


def refused(name: str, source: str) -> list[str]:
    """Lists what a file imports and may not."""
    package = name.split("/", maxsplit=1)[0]
    allowed: tuple[str, ...] = (package,)
    if package == "reports":
        allowed += READ_BY_REPORTS
    elif name in PRINTS_TABLES:
        allowed += ("reports",)
    modules = imported(source)
    ours = [module for module in modules if module.split(".")[0] in OURS]
    foreign = [m for m in ours if not any(m == a or m.startswith(f"{a}.") for a in allowed)]
    torch = [m for m in modules if m.split(".")[0] == "torch" and package == "reports"]
    return foreign + torch


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_imports_only_what_its_package_may(path: Path) -> None:
    assert refused(str(path.relative_to(ROOT)), path.read_text()) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("reports/page.py", "from bench import training"),
        ("reports/page.py", "from bench.run.training import train"),
        ("reports/page.py", "import torch"),
        ("bench/data/__main__.py", "from reports.read.runs import Run"),
        ("bench/run/run.py", "from architectures import basic"),
        ("architectures/basic.py", "from bench.seeds import derive_seed"),
    ],
)
def test_an_import_that_points_up_is_refused(name: str, line: str) -> None:
    assert refused(name, line) != []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_has_a_name_that_says_something_and_fits(path: Path) -> None:
    assert path.stem not in {"utils", "helpers", "common", "misc"}
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_functions_fit_on_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 50, f"{path.name}: {node.name}"


def test_the_harness_names_no_architecture() -> None:
    """conf/ does, through _target_."""
    for path in (ROOT / "bench").rglob("*.py"):
        assert "architectures." not in path.read_text(), path
