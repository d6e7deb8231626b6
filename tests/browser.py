"""Chromium, spoken to over a pipe in its own protocol: no driver program, no library, no port."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE_S = 60
AXE = Path(__file__).parent / "reporting" / "vendor" / "axe.min.js"
AXE_RUN = """axe.run().then((found) => [found.passes.length,
  found.violations.map((v) => [v.id, v.impact, v.nodes.map((n) => n.html.slice(0, 200))])])"""
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe"),
)


class Browser:
    """One page of a browser.

    Attributes:
        complaints: what the console said, and what the page's policy or the network refused.
        asked: addresses that were asked for.
    """

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back = os.fdopen(to, "wb", 0), os.fdopen(back, "rb")
        self._number, self._session = 0, ""
        self.complaints: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask for something, and take in what is reported until the answer comes."""
        self._number += 1
        asked: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            asked["sessionId"] = self._session
        self._to.write(json.dumps(asked).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._number:
                assert "error" not in found, found
                return found["result"]

    def _next(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self._back.read(1)) != b"\0":
            assert byte, "the browser has ended"
            text += byte
        found = json.loads(text)
        self._report(found.get("method", ""), found.get("params", {}))
        return found

    def _report(self, method: str, said: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.asked.append(said["request"]["url"])
        elif method == "Log.entryAdded":
            self.complaints.append(said["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(said["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(said["args"])[:500])

    def open(self, url: str) -> None:
        """Go to a page; returns when it is loaded."""
        self.run("window.left = true")
        self.call("Page.navigate", url=url)
        self.until("!window.left && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of a script, awaited; the page's policy does not hold for it."""
        found = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until a script's value is true, for as long as no machine needs."""
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE_S:
            with suppress(AssertionError):  # while a page goes, it has no context
                if self.run(script):
                    return
            time.sleep(0.02)
        raise AssertionError(f"never: {script}; {self.complaints}")

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        codes = {"Tab": 9, "Enter": 13}
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=codes[key],
                **text,
            )

    def look(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """The size of the screen, and whether it is dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def violations(self) -> list[Any]:
        """What axe-core finds against the page as it is now: id, impact and where."""
        self.run(AXE.read_text())
        passed, found = self.run(AXE_RUN)
        assert passed > 20, "axe-core looked at nothing"
        return found

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """A browser for the length of a `with`."""
    to_read, to_write = os.pipe()
    back_read, back_write = os.pipe()
    command = ["chromium", *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    # It reads from descriptor 3 and writes to 4.
    script = f'exec "$@" 3<&{to_read} 4>&{back_write}'
    running = subprocess.Popen(
        ["bash", "-c", script, "bash", *command],
        pass_fds=(to_read, back_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(back_write)
    browser = Browser(to_write, back_read)
    try:
        yield browser
    finally:
        with suppress(Exception):
            browser._session = ""
            browser.call("Browser.close")
        running.terminate()
        running.wait()
