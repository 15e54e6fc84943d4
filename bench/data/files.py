"""Which files of a folder are pictures, and by which name each goes: one rule for every command."""

import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".webp", ".gif"}
)
OVERLAY = ".overlay"  # ends the stem of a picture to look at, which is no label map
SHOWN = 3  # names in a message; of more it says how many


@dataclass(frozen=True)
class Pictures:
    """The pictures in a folder and the folders below it.

    Attributes:
        folder: where they lie.
        paths: each file by its path below the folder, without suffix, in Unicode's composed form
            and with slashes: `berlin/0000`; sorted.
        skipped: what else lies there, below the folder; `/` ends the name of a directory.
    """

    folder: Path
    paths: dict[str, Path]
    skipped: list[str]

    def note(self) -> str:
        """Says what was passed over, in a sentence; empty if nothing was."""
        if not self.skipped:
            return ""
        kinds = "hidden or no picture by their suffix"
        return f"{self.folder}: passed over {some(self.skipped)} ({kinds})"


def picture_files(folder: Path, suffixes: Collection[str] = SUFFIXES) -> Pictures:
    """Finds the pictures of a folder by their suffix, in small letters or capitals.

    Hidden files and directories (`._x.png`, `.git`), and directories named like a picture are
    passed over, and all other directories are searched, through symbolic links too. A link that
    leads nowhere counts as a picture, so that whoever opens it says that it is missing.

    Args:
        folder: where to look.
        suffixes: of the files that are wanted, in small letters.

    Raises:
        ValueError: there is no such folder, it holds no picture, a name is no UTF-8, or two
            files differ in nothing but their suffix or their Unicode form.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give the one in which the files lie")
    paths: dict[str, Path] = {}
    skipped: list[str] = []
    for path in _walk(folder, suffixes, skipped):
        below = path.relative_to(folder)
        if path.suffix.lower() not in suffixes:
            skipped.append(below.as_posix())
            continue
        name = composed(below.with_suffix("").as_posix(), folder)
        if name in paths:
            raise ValueError(f"{path} and {paths[name].name} share one name; remove one of them")
        paths[name] = path
    # Whatever their names are made of, they can be printed.
    skipped = [name.encode(errors="backslashreplace").decode() for name in sorted(skipped)]
    if not paths:
        others = f", but {some(skipped)}" if skipped else ""
        raise ValueError(f"{folder}: holds no {', '.join(sorted(suffixes))} file{others}")
    return Pictures(folder, dict(sorted(paths.items())), skipped)


def tell_skipped(*folders: Pictures) -> None:
    """Says on stderr what was passed over in each of some folders."""
    for pictures in folders:
        if pictures.skipped:
            print(pictures.note(), file=sys.stderr)


def paired(first: Pictures, second: Pictures) -> dict[str, tuple[Path, Path]]:
    """Pairs the files of two folders by their paths below these, without suffix.

    Where one folder has folders in it and the other has not, by their names alone.

    Raises:
        ValueError: a file has no partner.
    """
    if first.paths.keys() != second.paths.keys():
        by_name = _by_short_name(second.paths, short_names(first.paths))
        second = replace(second, paths=by_name) if by_name else second
    for here, other in ((first, second), (second, first)):
        alone = here.paths.keys() - other.paths.keys()
        if alone:
            files = [here.paths[name].relative_to(here.folder).as_posix() for name in alone]
            raise ValueError(
                f"{other.folder}: nothing pairs with {some(files)} of {here.folder}; every file "
                "needs one of the same name there"
            )
    return {name: (path, second.paths[name]) for name, path in first.paths.items()}


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Returns what each path without suffix is called: its last part, or where these repeat itself.

    Where one last part repeats, all keep their paths, so that names of one set look alike.
    """
    ordered = list(names)
    last = Counter(name.rpartition("/")[2] for name in ordered)
    unique = all(count == 1 for count in last.values())
    return {name: name.rpartition("/")[2] if unique else name for name in ordered}


def _by_short_name(others: dict[str, Path], names: dict[str, str]) -> dict[str, Path]:
    """Finds the partner of each file by its name alone; nothing where one is not found so."""
    by_name = {name: others[path] for path, name in short_names(others).items()}
    if set(by_name) != set(names.values()):
        return {}
    return {path: by_name[name] for path, name in names.items()}


def composed(name: str, place: Path) -> str:
    """Returns a file name in Unicode's composed form (NFC): systems differ in which they store.

    Raises:
        ValueError: it is no UTF-8, so that no text file or record could hold it.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{str(place)!a}: the file name {name!a} is not UTF-8; rename the file"
        ) from None
    return unicodedata.normalize("NFC", name)


def some(names: Collection[str]) -> str:
    """Names the first few, and how many more there are."""
    ordered = sorted(names)
    rest = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return ", ".join(ordered[:SHOWN]) + rest


def _walk(folder: Path, suffixes: Collection[str], skipped: list[str]) -> Iterator[Path]:
    """Yields the files that are not hidden, and notes what is not entered."""
    entered: set[str] = set()
    for place, directories, files in os.walk(folder, followlinks=True):
        here = Path(place)
        real = os.path.realpath(place)
        if real in entered:  # a symbolic link to a folder above it
            directories.clear()
            continue
        entered.add(real)
        closed = [d for d in directories if d.startswith(".") or Path(d).suffix.lower() in suffixes]
        directories[:] = sorted(set(directories) - set(closed))
        hidden = [name for name in files if name.startswith(".")]
        for name in [*hidden, *(f"{name}/" for name in closed)]:
            below = (here / name).relative_to(folder).as_posix()
            skipped.append(below + "/" * name.endswith("/"))
        yield from (here / name for name in sorted(set(files) - set(hidden)))
