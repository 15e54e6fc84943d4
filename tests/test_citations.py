"""Citations of the paper: every section that is cited exists, and says what it is cited for."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("architectures", "bench", "conf", "reports", "tests")
HEADINGS = {
    line.split()[0]
    for line in (ROOT / "tests/paper_headings.txt").read_text().splitlines()
    if not line.startswith("#")
}
NUMBER = r"\d+(?:\.\d+)*(?![\d,]*\d)"  # and not the 3 of 3,433
CITED = re.compile(rf"\b[Ss]ec(?:tions?|s?\.)\s+({NUMBER}(?:(?:,| and|, and|-)\s*{NUMBER})*)")
OTHERS = re.compile(r"et al\.,? \d{4},? $")  # another paper's section

# Where the paper has it; a line that cites a section for one of these must name that one.
TOPICS = {
    r"contrast normalisation|normalisation: lcn": "3.2",
    r"He initialisation|\bmsra\b|2 / fan-in": "3.2",
    r"^lr: 0\.1|^batch_size: 12|median frequency balancing:": "3.2",
    r"until the training loss converges": "3.2",
    r"conv_bias|no biases|neither biases|no ReLU in the decoder": "3.1",
    r"[Gg]eneric decoder|replication|without pooling": "3.1",
    r"encoder addition|bilinear initialisation|batch norm in FCN-Basic": "3.1",
    r"\bBF: |C and mIoU: |image diagonal|compute_test_results|forward passes": "3.3",
    r"lr: 1\.0e-3|^batch_size: [45]|batch sizes 5 and 4|image_size|dropout: 0\.5": "4",
    r"stride of pool3|1,024 channels|input of the large": "4",
    r"statistics: paper|statistics of batch norm|class_weights: none|3433|3,433": "4.1",
    r"median frequency balancing for": "4.1",
    r"denseCRF|of the CRF": "4.1",
    r"C and mIoU rank|large classes are segmented": "4.2",
    r"U-Net|2 bits for|14\.7 M|VGG-16 weights": "3",
    r"future work": "5",
}


def lines() -> Iterator[tuple[str, str]]:
    """Yields (place, line) of code, configuration and documents."""
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*"))]
    for path in [*sorted(ROOT.glob("*.md")), *paths]:
        if path.suffix not in {".py", ".yaml", ".md"} or path == Path(__file__):
            continue
        if any(part.startswith("camvid_short") for part in path.parts):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            yield f"{path.relative_to(ROOT)}:{number}", line.strip()


def cited(text: str) -> list[str]:
    """Returns the numbers of the paper's sections that a text cites."""
    return [
        number
        for found in CITED.finditer(text)
        if not OTHERS.search(text[: found.start()])
        for number in re.findall(NUMBER, found[1])
    ]


CITING = [(place, line) for place, line in lines() if cited(line)]


@pytest.mark.parametrize(("place", "line"), CITING, ids=[place for place, _ in CITING])
def test_a_cited_section_exists_and_is_the_one_that_says_so(place: str, line: str) -> None:
    missing = set(cited(line)) - HEADINGS
    assert not missing, f"the paper has no section {', '.join(sorted(missing))}: {line}"
    subject = line.split(" | ", 1)[0] if line.startswith("| ") else line
    for topic, section in TOPICS.items():
        if re.search(topic, subject):
            assert section in cited(subject), f"'{topic}' is in section {section}: {subject}"


def test_every_topic_is_cited_somewhere() -> None:
    for topic in TOPICS:
        assert any(re.search(topic, line) for _, line in CITING), topic
    assert len(CITING) > 60


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("see section {} and Sec. {}", ["4.4", "3"]),
        ("Sections {}, {} and {}", ["3.1", "3.2", "4"]),
        ("paper, Sec. {}-{}: biases", ["3.1", "3.2"]),
        ("(Adams et al. 2010, section {})", []),
        ("a <section id={}> of 3.2 ms", []),
    ],
)
def test_citations_are_found_in_each_form(text: str, numbers: list[str]) -> None:
    """The numbers are put in here, so that this file cites nothing."""
    filled = text.format(*numbers, *["3"] * (text.count("{}") - len(numbers)))
    assert cited(filled) == numbers


def test_the_paper_has_eleven_numbered_headings() -> None:
    assert len(HEADINGS) == 11
    assert not HEADINGS & {"4.3", "4.4"}
