"""What the README and the guide name is there, and the README stays short."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README, GUIDE = ((ROOT / name).read_text() for name in ("README.md", "GUIDE.md"))
TEXT = README + GUIDE


def named(pattern: str) -> list[str]:
    return sorted(set(re.findall(pattern, TEXT)))


@pytest.mark.parametrize("module", named(r"python -m ((?:bench|reports)[.\w]*)"))
def test_a_command_is_there(module: str) -> None:
    assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("group", ["arch", "dataset", "protocol", "postprocess"])
def test_a_choice_is_there(group: str) -> None:
    known = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}
    words = named(rf"(?<![\w.]){group}=([a-z]\w*(?:,[a-z]\w*)*)")
    chosen = {name for word in words for name in word.split(",")}
    assert chosen or group == "postprocess"
    assert chosen <= known | {"mynet"}


def test_every_experiment_is_named() -> None:
    for path in (ROOT / "conf/experiment").glob("*.yaml"):
        assert re.search(rf"`{path.stem}`|\+experiment={path.stem}\b", README), path.stem


@pytest.mark.parametrize("link", named(r"\]\(([\w./-]+)(?:#[\w-]+)?\)"))
def test_a_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_readme_can_be_read_in_three_minutes() -> None:
    assert len(README.splitlines()) <= 160
