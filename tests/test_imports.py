"""Imports point one way, as CONTRIBUTING draws it: the rules are read there."""

import ast
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    p for top in ("architectures", "bench", "reports") for p in (ROOT / top).rglob("*.py")
)


RULES = (ROOT / "CONTRIBUTING.md").read_text().split("## What imports what")[1].split("\n## ")[0]


@dataclass
class Rule:
    """What a package may import, as CONTRIBUTING draws it: never these; of bench only those."""

    never: set[str]
    of_bench: list[str] | None  # None: all of it


def drawn(text: str) -> dict[str, Rule]:
    """Reads the diagram: a package begins each of its entries, and deeper lines go on with it."""
    entries: dict[str, str] = {}
    for line in re.findall("^    .*", text, re.MULTILINE):
        if not line.startswith(" " * 5):
            package = line.strip().partition("/")[0]
            entries[package] = ""
        entries[package] += f"{line}\n"
    rules = {}
    for package, entry in entries.items():
        never = re.search("never ([^;\n]+)", entry)
        _, limited, files = entry.partition("of bench only")
        rules[package] = Rule(
            set(never[1].split(", ")) if never else set(),
            [named(file) for file in re.findall(r"[\w/]+(?:\.py|/)", files)] if limited else None,
        )
    return rules


def named(path: str) -> str:
    """Turns a path below bench into the module or room that it is."""
    return f"bench.{path.removesuffix('.py').rstrip('/').replace('/', '.')}"


def in_sentence(start: str, end: str) -> set[str]:
    """Returns the paths that a sentence of the rules names, from some words to others."""
    sentence = re.search(f"{start}(.*?){end}", " ".join(RULES.split()))
    assert sentence, f"CONTRIBUTING has no sentence {start} ... {end}"
    return set(re.findall("`(.+?)`", sentence[1]))


PRINTS_TABLES = in_sentence("The only exceptions are", "which end in a table")
WITHOUT_TORCH = in_sentence("No torch is loaded by", "so that")
USES_DEPLOY = in_sentence("Only", "use `bench/deploy/`")


def lies_in(module: str, rooms: Iterable[str]) -> bool:
    """Says whether a module is one of those named, or lies in one of them."""
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def imported(nodes: Iterable[ast.AST]) -> set[str]:
    """Returns what imports name, dotted down to the names."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def everywhere(source: str) -> set[str]:
    """Returns what a source imports, in its functions too."""
    return imported(ast.walk(ast.parse(source)))


def refused(name: str, source: str, rules: dict[str, Rule]) -> list[str]:
    """Lists what a file imports and may not."""
    rule = rules[name.split("/", maxsplit=1)[0]]
    never = rule.never - ({"reports"} if name in PRINTS_TABLES else set())
    limits = rule.of_bench
    return [
        module
        for module in sorted(everywhere(source))
        if lies_in(module, never)
        or (limits is not None and lies_in(module, {"bench"}) and not lies_in(module, limits))
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_imports_only_what_its_package_may(path: Path) -> None:
    assert refused(str(path.relative_to(ROOT)), path.read_text(), drawn(RULES)) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("reports/read/runs.py", "from bench import training"),
        ("reports/read/runs.py", "from bench.run.training import train"),
        ("reports/read/runs.py", "from bench.data import store"),
        ("reports/render/page.py", "import torch"),
        ("bench/data/__main__.py", "from reports.read.runs import Run"),
        ("bench/run/run.py", "from architectures import basic"),
        ("architectures/basic.py", "from bench.seeds import derive_seed"),
    ],
)
def test_an_import_that_points_up_is_refused(name: str, line: str) -> None:
    source = (ROOT / name).read_text()
    assert refused(name, f"{source}\n{line}\n", drawn(RULES)) != []


def test_the_diagram_names_what_reports_use_and_nothing_else() -> None:
    sources = {p.relative_to(ROOT).as_posix(): p.read_text() for p in FILES}
    of_reports = {name: text for name, text in sources.items() if name.startswith("reports/")}
    limits = drawn(RULES)["reports"].of_bench
    assert limits
    used = {module for text in of_reports.values() for module in everywhere(text)}
    assert [room for room in limits if not any(lies_in(module, {room}) for module in used)] == []
    for room in limits:  # a rule that is struck out there is missed here
        path = room.removeprefix("bench.").replace(".", "/")
        less = drawn(re.sub(rf"(?<=\s){path}(\.py|/),? ?", "", RULES))
        assert any(refused(name, text, less) for name, text in of_reports.items()), room


def loaded_at_once(path: Path) -> set[str]:
    """Returns what importing a file imports: not what its functions do, or type checkers see."""
    body = ast.parse(path.read_text()).body
    return imported(
        node
        for part in body
        if "TYPE_CHECKING" not in ast.unparse(part).partition("\n")[0]
        and not isinstance(part, ast.FunctionDef | ast.ClassDef)
        for node in ast.walk(part)
    )


def test_what_says_so_loads_no_torch() -> None:
    """Directly or through another of our files."""
    files = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in FILES}
    given = {name: loaded_at_once(path) for name, path in files.items()}
    graph = {
        name: {n for n in files if any(lies_in(g, {n}) for g in modules)}
        for name, modules in given.items()
    }
    slow = {name for name, modules in given.items() if any(lies_in(m, {"torch"}) for m in modules)}
    while more := {name for name in graph if graph[name] & slow} - slow:
        slow |= more
    says = re.compile("imports? no torch|without torch", re.IGNORECASE)
    rooms = [named(path.removeprefix("bench/")) for path in WITHOUT_TORCH]
    promised = {
        name
        for name, path in files.items()
        if lies_in(name, rooms) or says.search(ast.get_docstring(ast.parse(path.read_text())) or "")
    }
    assert {"bench.__main__", "bench.launch.launch", "bench.records"} <= promised
    assert "bench.run.run" in slow
    assert promised & slow == set()


def modules() -> dict[str, set[str]]:
    """Returns which of our modules each of them imports, wherever in the file."""
    names = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in FILES}
    graph = {}
    for name, path in names.items():
        given = everywhere(path.read_text())
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


OPTIONAL = {"onnx", "onnxscript", "onnxruntime", "openvino"}


def test_exported_graphs_concern_their_own_room_alone() -> None:
    """It imports downward, its door and the doctor import it, and its extras are no must."""
    for path in FILES:
        name, modules = path.relative_to(ROOT).as_posix(), everywhere(path.read_text())
        ours = name.startswith("bench/deploy/")
        uses = any(lies_in(module, {"bench.deploy"}) for module in modules)
        assert not uses or ours or name in USES_DEPLOY, name
        assert not any(lies_in(module, OPTIONAL) for module in modules), name
        assert not ours or not any(lies_in(m, {"bench.export", "bench.doctor"}) for m in modules)


def test_the_tree_names_every_door_and_every_room() -> None:
    tree = (ROOT / "CONTRIBUTING.md").read_text().split("```")[1]
    places = [p for p in (ROOT / "bench").iterdir() if p.name not in {"__pycache__", "__init__.py"}]
    missing = [p.name for p in places if not re.search(rf"\b{re.escape(p.stem)}\b", tree)]
    assert missing == []
    files = {p.relative_to(ROOT).as_posix() for p in FILES}
    named_there = re.findall(r"[\w/]+\.py", tree)
    assert [n for n in named_there if not any(f.endswith(f"/{n}") for f in files)] == []


def test_the_package_holds_code_and_configurations_and_no_results() -> None:
    """Folders of results are no packages, though setuptools takes any folder for one."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        found = tomllib.load(file)["tool"]["setuptools"]["packages"]["find"]
    packages = pytest.importorskip("setuptools").find_namespace_packages(str(ROOT), **found)
    assert {"architectures", "bench.run", "conf.arch", "reports.tables"} <= set(packages)
    assert not [name for name in packages if name.startswith("reports.results")]
