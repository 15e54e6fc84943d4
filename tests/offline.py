"""Runs the tests on a GPU, or any command, where nothing can be installed.

python tests/offline.py collect               where a package index can be reached
python tests/offline.py run                   elsewhere: pytest -m gpu
python tests/offline.py run -m bench --help   elsewhere: whatever Python is given

The other machine has torch and the plain scientific packages (PROVIDED). What pyproject.toml asks
for beside them is pure Python, or can be built as such: `collect` puts it into build/wheels, which
git ignores and which travels with the checkout. `run` unpacks what the machine lacks of it into a
temporary folder, for one command; nothing is installed, and no network is needed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
WHEELS = ROOT / "build" / "wheels"
PROVIDED = {"torch", "torchvision", "numpy", "scipy", "pandas", "matplotlib", "pillow"}
# An option of runs, what is only faster, tools that check the sources, and oracles without which
# their tests skip.
LEFT_OUT = {
    "wandb", "imagecodecs", "ruff", "mypy", "pandas-stubs", "pytest-xdist", "h5py", "scikit-learn",
    "torchmetrics", "opencv-python-headless",
}  # fmt: skip
# Dependencies of ours that are compiled for speed and work without.
BUILT_PURE = ("pyyaml", "markupsafe")
PURE_BUILD = {"PYYAML_FORCE_LIBYAML": "0", "CC": "false"}  # no C library, and no compiler
PURE = "-none-any.whl"
PURE_ONLY = (
    "--only-binary", ":all:", "--platform", "any", "--implementation", "py", "--abi", "none",
)  # fmt: skip
GPU_TESTS = ("-m", "pytest", "-m", "gpu")


def requirements() -> dict[str, str]:
    """Returns what runs and tests need beside what every such machine has, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    every = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    named = {re.split(r"[^\w.-]", requirement)[0]: requirement for requirement in every}
    return {n: requirement for n, requirement in named.items() if n not in PROVIDED | LEFT_OUT}


def collect(wheels: Path = WHEELS) -> int:
    """Fills the folder with pure-Python wheels, of the newest releases that have one."""
    wheels.mkdir(parents=True, exist_ok=True)
    for old in wheels.glob("*.whl"):
        old.unlink()
    wanted = requirements()
    with tempfile.TemporaryDirectory() as built:
        sources = [option for name in BUILT_PURE for option in ("--no-binary", name)]
        _pip("wheel", "--wheel-dir", built, *sources, *wanted.values())
        for wheel in Path(built).iterdir():
            if wheel.name.endswith(PURE):
                shutil.copy(wheel, wheels)
            else:
                name = distribution(wheel)
                _pip("download", "--dest", str(wheels), *PURE_ONLY, wanted.get(name, name))
    names = [distribution(wheel) for wheel in sorted(wheels.glob("*.whl"))]
    print(f"{len(names)} wheels in {wheels}: {', '.join(names)}")
    return 0


def _pip(verb: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", verb, "--quiet", *arguments]
    subprocess.run(command, check=True, env={**os.environ, **PURE_BUILD})


def distribution(wheel: Path) -> str:
    """Returns the name of what a wheel holds, as in pyproject.toml."""
    return wheel.name.split("-")[0].replace("_", "-")


def run(arguments: Sequence[str] = GPU_TESTS, wheels: Path = WHEELS) -> int:
    """Runs Python with these arguments and what it lacks; returns its exit code."""
    carried = sorted(wheels.glob("*.whl"))
    if not carried:
        print(f"{wheels} is empty; `{sys.argv[0]} collect` fills it", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as unpacked:
        for wheel in carried:
            if not is_installed(distribution(wheel)):
                zipfile.ZipFile(wheel).extractall(unpacked)
        paths = [unpacked, str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        return subprocess.run([sys.executable, *arguments], check=False, env=environment).returncode


def is_installed(name: str) -> bool:
    """Says whether this machine has a distribution, in whatever version."""
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def main() -> int:
    """Collects or runs."""
    verb, *arguments = sys.argv[1:] or [""]
    if verb == "collect" and not arguments:
        return collect()
    if verb == "run":
        return run(arguments or GPU_TESTS)
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
