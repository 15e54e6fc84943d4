"""A headless Chromium for tests, spoken to over WebDriver with nothing but the standard library."""

import base64
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver's name for a reference to an element


def is_available() -> bool:
    """Says whether Chromium and its driver are installed."""
    browsers = ("chromium", "chromium-browser", "google-chrome")
    return shutil.which("chromedriver") is not None and any(map(shutil.which, browsers))


class Browser:
    """One window; closes with its `with` block."""

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        self.profile = tempfile.TemporaryDirectory()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.driver = subprocess.Popen(
            ["chromedriver", f"--port={self.port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        options = {
            "args": [
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                f"--user-data-dir={self.profile.name}",
                "--hide-scrollbars",
                f"--window-size={width},{height}",
            ]
        }
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        self.session = ""
        started = self._patiently("/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/session/{started['sessionId']}"

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._call("DELETE", self.session)
        self.driver.terminate()
        self.driver.wait()
        self.profile.cleanup()

    def open(self, page: Path) -> None:
        """Loads a file."""
        self._call("POST", f"{self.session}/url", {"url": page.absolute().as_uri()})

    def run(self, script: str) -> Any:
        """Runs the body of a function in the page and returns what it returns."""
        return self._call("POST", f"{self.session}/execute/sync", {"script": script, "args": []})

    def press(self, keys: str) -> None:
        """Sends keys to whatever has the focus."""
        focused = self._call("GET", f"{self.session}/element/active")[ELEMENT]
        self._call("POST", f"{self.session}/element/{focused}/value", {"text": keys})

    def log(self, kind: str) -> list[dict[str, Any]]:
        """Returns the log of the console (browser) or of the network (performance)."""
        found: list[dict[str, Any]] = self._call("POST", f"{self.session}/se/log", {"type": kind})
        return found

    def prefer(self, scheme: str) -> None:
        """Makes the page believe that its reader prefers light or dark."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", {"features": [feature]})

    def command(self, name: str, parameters: dict[str, Any]) -> Any:
        """Sends a command of the DevTools protocol."""
        content = {"cmd": name, "params": parameters}
        return self._call("POST", f"{self.session}/goog/cdp/execute", content)

    def screenshot(self, path: Path) -> None:
        """Saves the whole page as PNG."""
        shot = self.command("Page.captureScreenshot", {"captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(shot["data"]))

    def _patiently(self, path: str, content: dict[str, Any]) -> Any:
        for _ in range(100):
            try:
                return self._call("POST", path, content)
            except urllib.error.URLError as error:
                if isinstance(error, urllib.error.HTTPError):
                    raise
                time.sleep(0.1)
        raise TimeoutError("chromedriver does not answer")

    def _call(self, method: str, path: str, content: dict[str, Any] | None = None) -> Any:
        data = json.dumps(content or {}).encode() if method == "POST" else None
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data=data, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]
