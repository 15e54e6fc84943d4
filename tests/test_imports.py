"""Imports point one way: architectures -> torch; bench -/-> architectures; reports -> records."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    p for top in ("architectures", "bench", "reports") for p in (ROOT / top).rglob("*.py")
)
OURS = {"architectures", "bench", "reports"}


# What reports read of bench, as CONTRIBUTING says; data, target and trust show pictures of a set.
READ_BY_REPORTS = (
    "bench.records", "bench.sound_files", "bench.evidence", "bench.losses", "bench.metrics",
    "bench.config", "bench.protocol", "bench.tuning", "bench.typed", "bench.words",
    "bench.console", "bench.memory_limits", "bench.target", "bench.trust",
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


def imported_fully(source: str) -> set[str]:
    """Returns what a source imports, dotted down to the names."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def modules() -> dict[str, set[str]]:
    """Returns which of our modules each of them imports, wherever in the file."""
    names = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in FILES}
    graph = {}
    for name, path in names.items():
        given = imported_fully(path.read_text())
        graph[name] = {n for n in names for g in given if g == n or g.startswith(f"{n}.")} - {name}
    return graph


def a_circle(graph: dict[str, set[str]]) -> list[str]:
    """Returns what is left when everything that imports nothing of the rest is taken away."""
    while ends := {name for name, imports in graph.items() if not imports & graph.keys()}:
        graph = {name: imports for name, imports in graph.items() if name not in ends}
    return sorted(graph)


def test_no_modules_import_each_other() -> None:
    graph = modules()
    assert graph["bench.run.run"] >= {"bench.config", "bench.run.training"}
    assert a_circle(graph) == []
    graph["bench.config"].add("bench.run.run")
    assert {"bench.config", "bench.run.run"} <= set(a_circle(graph))


def test_no_rooms_of_reports_import_each_other() -> None:
    """Nor a room and the doors beside it."""
    rooms: dict[str, set[str]] = {}
    for name, imports in modules().items():
        if name.startswith("reports.") and name.count(".") > 1:
            room = name.rsplit(".", 1)[0]
            theirs = {other.rsplit(".", 1)[0] for other in imports if other.startswith("reports.")}
            rooms.setdefault(room, set()).update(theirs - {room})
    assert rooms["reports.tables"] >= {"reports.compute", "reports.read"}
    assert a_circle(rooms) == []
    assert not any("reports" in imports for imports in rooms.values())


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


IMPERATIVE = re.compile(
    "(Add|Apply|Ask|Build|Check|Choose|Collect|Compare|Compute|Copy|Count|Create|Cut|Describe|Draw|"
    "Drop|Execute|Fill|Find|Fit|Format|Get|Give|Keep|List|Load|Make|Map|Measure|Merge|Move|Number|"
    "Open|Pair|Parse|Pool|Print|Put|Raise|Read|Record|Refine|Refuse|Reject|Remove|Render|Replace|"
    "Resolve|Return|Run|Save|Say|Score|Search|Send|Set|Sort|Split|Start|Stop|Take|Tell|Train|Turn|"
    r"Update|Wait|Write|Yield)\b"
)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_docstring_says_what_a_function_does_and_commands_nothing(path: Path) -> None:
    """`Returns ...`, `Reads ...`: one mood in the whole house."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
            assert not IMPERATIVE.match(text), f"{path.name}: {node.name}: {text}"


DEPLOY = "bench/deploy/"
USES_DEPLOY = {"bench/export.py", "bench/doctor/examination.py"}
OPTIONAL = {"onnx", "onnxscript", "onnxruntime", "openvino"}


def test_exported_graphs_concern_their_own_room_alone() -> None:
    """It imports downward, its door and the doctor import it, and its extras are no must."""
    for path in FILES:
        name, modules = str(path.relative_to(ROOT)), imported(path.read_text())
        uses = any(m == "bench.deploy" or m.startswith("bench.deploy.") for m in modules)
        assert not uses or name.startswith(DEPLOY) or name in USES_DEPLOY, name
        assert not {m.split(".")[0] for m in modules} & OPTIONAL, name
        if name.startswith(DEPLOY):
            assert not modules & {"bench.export", "bench.doctor"}, name


def test_the_package_holds_code_and_configurations_and_no_results() -> None:
    """Folders of results are no packages, though setuptools takes any folder for one."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        found = tomllib.load(file)["tool"]["setuptools"]["packages"]["find"]
    packages = pytest.importorskip("setuptools").find_namespace_packages(str(ROOT), **found)
    assert {"architectures", "bench.run", "conf.arch", "reports.tables"} <= set(packages)
    assert not [name for name in packages if name.startswith("reports.results")]
