"""Headless Chromium through chromedriver's WebDriver, without a client library: pages as a reader meets them."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

NO_BROWSER = "needs Chromium and its chromedriver on PATH (Debian: apt-get install chromium chromium-driver)"


class Browser:
    """A window of a browser; `call` is any command of WebDriver."""

    def __init__(self, address: str) -> None:
        self.address = address

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {json.load(error)['value']['message'].splitlines()[0]}") from None

    def open(self, page: Path, width: int, height: int = 900, scheme: str = "light", touch: bool = False) -> None:
        """Show a file in a viewport of so many CSS pixels, in the light or the dark scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        self.tell("Emulation.setDeviceMetricsOverride", size)
        self.tell("Emulation.setTouchEmulationEnabled", {"enabled": touch})
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.tell("Emulation.setEmulatedMedia", {"media": "screen", "features": features})
        self.call("POST", "/url", {"url": page.resolve().as_uri()})

    def tell(self, command: str, values: dict[str, Any]) -> Any:
        """A command of the DevTools protocol."""
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": values})

    def run(self, script: str, *arguments: object) -> Any:
        """What a script in the page returns."""
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, selector: str) -> str:
        """The reference of an element."""
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        return str(next(iter(found.values())))

    def press(self, selector: str, keys: str) -> None:
        self.call("POST", f"/element/{self.find(selector)}/value", {"text": keys})

    def click(self, selector: str) -> None:
        self.call("POST", f"/element/{self.find(selector)}/click")

    def drag(self, points: list[tuple[int, int]], kind: str = "mouse") -> None:
        """Press at the first of some points of the viewport, move over the others, let go."""
        moves = [{"type": "pointerMove", "duration": 40, "x": x, "y": y} for x, y in points]
        steps = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        pointer = {"type": "pointer", "id": "a", "parameters": {"pointerType": kind}, "actions": steps}
        self.call("POST", "/actions", {"actions": [pointer]})

    def look(self, selector: str | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """A screenshot of an element, or of the viewport, (H, W, 3)."""
        path = f"/element/{self.find(selector)}/screenshot" if selector else "/screenshot"
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(self.call("GET", path)))).convert("RGB"))

    def complaints(self) -> list[str]:
        """The lines of the console since last asked."""
        return [f"{line['level']} {line['message']}" for line in self.call("POST", "/se/log", {"type": "browser"})]


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Start a browser with a profile in a folder; skips the test where there is none."""
    programs = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
    if programs[0] is None or programs[1] is None:
        pytest.skip(NO_BROWSER)
    with (folder / "chromedriver.log").open("w+") as log:
        driver = subprocess.Popen([programs[0], "--port=0"], stdout=log, stderr=subprocess.STDOUT)
        try:
            for _ in range(2400):
                said = (folder / "chromedriver.log").read_text().partition("successfully on port ")[2]
                if said or driver.poll() is not None:
                    break
                time.sleep(0.05)
            root = f"http://127.0.0.1:{int(said.split('.')[0])}/session"
            flags = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars",
                     f"--user-data-dir={folder / 'profile'}"]  # fmt: skip
            wanted = {"browserName": "chrome", "goog:loggingPrefs": {"browser": "ALL"},
                      "goog:chromeOptions": {"binary": programs[1], "args": flags}}  # fmt: skip
            session = Browser(root).call("POST", "", {"capabilities": {"alwaysMatch": wanted}})
            browser = Browser(f"{root}/{session['sessionId']}")
            try:
                yield browser
            finally:
                browser.call("DELETE", "")
        finally:
            driver.terminate()
            driver.wait(60)
