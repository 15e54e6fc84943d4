"""Imports point one way: architectures -> torch; bench -/-> architectures; reports -> records."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    p for top in ("architectures", "bench", "reports") for p in (ROOT / top).rglob("*.py")
)
OURS = {"architectures", "bench", "reports"}


def imported(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return modules


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_imports_only_what_its_package_may(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    ours = {module for module in imported(path) if module.split(".")[0] in OURS}
    if package == "architectures":
        assert all(module.startswith("architectures") for module in ours)
    elif package == "bench":
        # Programs that end in a table may print it; nothing else in bench knows of reports.
        prints = path.name in {"__main__.py", "contestants.py"}
        allowed = ("bench", "reports") if prints else ("bench",)
        assert all(module.startswith(allowed) for module in ours)
    else:
        allowed = ("reports", "bench.records", "bench.metrics", "bench")
        assert all(module.startswith(allowed) for module in ours)
        assert "torch" not in {module.split(".")[0] for module in imported(path)}


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
