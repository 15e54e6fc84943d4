"""Reading text that a user or another program wrote: its encoding, and the paths in it."""

import codecs
import unicodedata
from pathlib import Path

# UTF-32's mark begins with UTF-16's.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: Path) -> str:
    """Reads a text file: UTF-8, or what its byte-order mark says.

    Raises:
        ValueError: the file cannot be read, or is in another encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}: byte {error.object[error.start]:#04x} in line {line} is not {encoding}; "
            "save the file as UTF-8"
        ) from error
    if "\0" in text:
        raise ValueError(
            f"{path}: holds zero bytes, as UTF-16 without a mark does; save the file as UTF-8"
        )
    return text


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """Returns the lines of a text file that are not blank, with their numbers, counted from 1.

    Raises:
        ValueError: as `read_text`.
    """
    lines = enumerate(read_text(path).splitlines(), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def written_path(folder: Path, written: str) -> Path:
    """Returns the file that a text names, relative to a folder.

    Backslashes are read as slashes, and letters with accents match in either of Unicode's forms,
    where no file is called exactly as it is written. Whether there is such a file is not checked.

    Raises:
        ValueError: no file can be called so.
    """
    exact = folder / written
    try:
        if exact.exists():
            return exact
        place = folder
        for part in Path(written.replace("\\", "/")).parts:
            place = place / part if (place / part).exists() else _in_another_form(place, part)
    except OSError as error:  # it is too long
        raise ValueError(
            f"{folder}: no file can be called {written[:40]!r}... ({error.strerror}); correct the "
            "list that names it"
        ) from error
    return place


def _in_another_form(folder: Path, name: str) -> Path:
    wanted = unicodedata.normalize("NFC", name)
    entries = sorted(folder.iterdir()) if folder.is_dir() and not name.isascii() else []
    same = (path for path in entries if unicodedata.normalize("NFC", path.name) == wanted)
    return next(same, folder / name)
