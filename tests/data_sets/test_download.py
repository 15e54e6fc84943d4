"""Fetching CamVid from a server on this machine: whole, or a clear sentence and nothing broken."""

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from synthetic_files import write_camvid

from bench.command_line import compose_config
from bench.data.__main__ import main
from bench.data.camvid import fetch
from bench.data.camvid.fetch import RemoteFile, download, remote_files
from bench.data.splits import load_splits


class Server:
    """Serves the files of a folder; `answers` replaces the next answers for a path, in turn."""

    def __init__(self, folder: Path) -> None:
        self.answers: dict[str, list[tuple[int, bytes]]] = {}
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.lstrip("/")
                server.asked.append(path)
                turns = server.answers.get(path, [])
                status, content = turns.pop(0) if turns else (200, (folder / path).read_bytes())
                self.send_response(status)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Http(ThreadingHTTPServer):
            request_queue_size = 64

        self._http = Http(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def stop(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A small CamVid as it lies in the authors' repository."""
    write_camvid(tmp_path / "released", {"train": 5, "val": 2, "test": 2}, [24, 32])
    return tmp_path / "released"


@pytest.fixture
def files(released: Path) -> list[RemoteFile]:
    paths = sorted(path for path in released.rglob("*") if path.is_file())
    return [
        RemoteFile(
            str(path.relative_to(released)),
            path.stat().st_size,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in paths
    ]


@pytest.fixture
def server(released: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    server = Server(released)
    yield server
    server.stop()


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_everything_arrives_and_is_not_fetched_again(
    tmp_path: Path, released: Path, files: list[RemoteFile], server: Server
) -> None:
    root = tmp_path / "deep" / "Straßen daten"
    assert download(root, server.url, files) == len(files) == 21
    assert contents(root) == contents(released)
    server.asked.clear()
    assert download(root, server.url, files) == 0
    assert not server.asked


def test_a_call_that_was_cut_short_is_continued(
    tmp_path: Path, released: Path, files: list[RemoteFile], server: Server
) -> None:
    root = tmp_path / "root"
    server.answers[files[-1].path] = [(404, b"gone")]
    with pytest.raises(ValueError, match="HTTP status 404"):
        download(root, server.url, files)
    server.asked.clear()
    assert download(root, server.url, files) == len(server.asked) < len(files)
    assert contents(root) == contents(released)


@pytest.mark.parametrize(
    "answers", [[(503, b"")], [(200, b"short")] * 3, [(429, b""), (200, b"<html>busy</html>")]]
)
def test_what_may_pass_is_asked_again(
    answers: list[tuple[int, bytes]],
    tmp_path: Path,
    released: Path,
    files: list[RemoteFile],
    server: Server,
) -> None:
    server.answers[files[3].path] = answers
    download(tmp_path / "root", server.url, files)
    assert contents(tmp_path / "root") == contents(released)


def wrong(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda content: b"<!DOCTYPE html><html>Sign in</html>", "an HTML page came instead"),
        (lambda content: content[:-10], r"truncated, \d+ of \d+ bytes"),
        (wrong, "its SHA-256 is not that of the released file"),
        (lambda content: content + b"more", "its SHA-256 is not that of the released file"),
    ],
)
def test_what_stays_wrong_is_said_and_leaves_nothing_behind(
    answer: object,
    message: str,
    tmp_path: Path,
    released: Path,
    files: list[RemoteFile],
    server: Server,
) -> None:
    assert callable(answer)
    path = files[3].path
    server.answers[path] = [(200, answer((released / path).read_bytes()))] * 10
    with pytest.raises(ValueError, match=f"{message}.*by hand and put it at .*root") as caught:
        download(tmp_path / "root", server.url, files)
    assert path in str(caught.value)
    left = contents(tmp_path / "root")
    assert path not in left
    assert left.items() <= contents(released).items()


def test_no_network_is_said(tmp_path: Path, files: list[RemoteFile], server: Server) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(ValueError, match=r"Connection refused.*by hand"):
        download(tmp_path / "root", nobody, files)


def test_a_file_of_the_users_own_is_not_overwritten(
    tmp_path: Path, files: list[RemoteFile], server: Server
) -> None:
    own = tmp_path / "root" / files[2].path
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    with pytest.raises(ValueError, match="is not the released file"):
        download(tmp_path / "root", server.url, files)
    assert own.read_bytes() == b"mine"
    assert not server.asked


def test_a_full_disk_is_said_and_the_next_call_goes_on(
    tmp_path: Path, released: Path, files: list[RemoteFile], server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    whole = Path.replace

    def full(path: Path, target: Path) -> Path:
        if Path(files[5].path).name in path.name:
            raise OSError(28, "No space left on device")
        return whole(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(ValueError, match=r"written \(No space left on device\); when it can"):
            download(tmp_path / "root", server.url, files)
    assert contents(tmp_path / "root").items() <= contents(released).items()
    download(tmp_path / "root", server.url, files)
    assert contents(tmp_path / "root") == contents(released)


def test_a_link_by_the_name_of_a_half_written_file_is_not_followed(
    tmp_path: Path, released: Path, files: list[RemoteFile], server: Server
) -> None:
    victim, root = tmp_path / "victim", tmp_path / "root"
    victim.write_text("mine")
    target = root / files[0].path
    target.parent.mkdir(parents=True)
    (target.parent / f".{target.name}.{os.getpid()}.tmp").symlink_to(victim)
    download(root, server.url, files)
    assert victim.read_text() == "mine"
    assert contents(root) == contents(released)


def test_a_run_fetches_its_data_where_asked_to(
    tmp_path: Path, files: list[RemoteFile], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "URL", server.url)
    monkeypatch.setattr(fetch, "remote_files", lambda: files)
    config = compose_config(
        ["dataset=camvid", "dataset.download=true", f"dataset.root={tmp_path}/root"]
    )
    assert len(load_splits(config, ["train"])["train"].names) == 5


def test_the_command_fetches_and_says_where(
    tmp_path: Path, files: list[RemoteFile], server: Server, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(fetch, "remote_files", lambda: files)
    root = str(tmp_path / "root")
    assert main(["download", "camvid", "--root", root, "--url", server.url]) == 0
    assert f"21 files fetched; CamVid is complete: dataset.root={root}" in capsys.readouterr().out


def test_the_list_of_the_release_is_complete_and_stays_inside_its_folder() -> None:
    paths = [Path(file.path) for file in remote_files()]
    assert len(set(paths)) == len(paths) == 2 * (367 + 101 + 233) + 3
    assert not any(path.is_absolute() or ".." in path.parts for path in paths)


def test_the_real_set_is_the_released_one(camvid_root: Path) -> None:
    assert download(camvid_root, "http://127.0.0.1:9") == 0
