"""A headless Chromium, driven over its DevTools protocol through a pipe: no port, no driver, no further package.

https://chromedevtools.github.io/devtools-protocol/: commands go to its descriptor 3, replies and events come from 4, each a
JSON object that ends with a zero byte.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
PATIENCE = 60.0  # seconds for one reply: five megabytes of script on a busy machine


def executable() -> str:
    """Where the browser is. Missing, it fails the test: this project's CI script installs it."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    assert found, f"no Chromium here (looked for {', '.join(NAMES)}): apt-get install chromium"
    return found


class Page:
    """One tab: commands, their replies, and every event so far."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._buffer, self._count = to, back, b"", 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result; events that come before it are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._receive(time.monotonic() + PATIENCE)
            if reply.get("id") == self._count:
                assert "error" not in reply, reply
                result: dict[str, Any] = reply["result"]
                return result
            self.events.append(reply)

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._back], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._back, 1 << 20) if ready else b""
            assert chunk, "the browser gave no reply"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        reply = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def open(self, url: str, width: int, height: int, dark: bool = False) -> None:
        """Loads a page at a size of the window and in a colour scheme, and waits until its plots are drawn."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", features=scheme)
        self.ask("Page.navigate", url=url)
        deadline = time.monotonic() + PATIENCE
        while not self.evaluate("document.readyState === 'complete' && document.body.dataset.drawn === 'true'"):
            assert time.monotonic() < deadline, "the page was not drawn"
            time.sleep(0.05)
        self.settle()

    def settle(self) -> None:
        """Waits for two frames: what was just changed is then on the screen."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def press(self, key: str, code: int, text: str | None = None) -> None:
        """A key, as a keyboard sends it."""
        shared: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **shared, **({"text": text} if text else {}))
        self.ask("Input.dispatchKeyEvent", type="keyUp", **shared)
        self.settle()

    def screenshot(self, path: Path) -> bytes:
        """The whole page as a PNG."""
        reply = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        image = base64.b64decode(reply["data"])
        path.write_bytes(image)
        return image

    def problems(self) -> list[str]:
        """Errors and warnings on the console, and exceptions."""
        found = []
        for event in self.events:
            parameters = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(str(parameters["exceptionDetails"]))
            if event.get("method") == "Runtime.consoleAPICalled" and parameters["type"] in (
                "error",
                "warning",
                "assert",
            ):
                found.append(str(parameters["args"]))
            if event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(str(parameters["entry"]))
        return found

    def requests(self) -> list[str]:
        """Addresses that were asked for."""
        sent = [event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in sent]


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A tab of a fresh browser; the browser ends with the block."""
    commands, to = os.pipe()
    back, replies = os.pipe()
    words = [executable(), *QUIET, f"--user-data-dir={profile}", "about:blank"]
    script = f'exec "$@" 3<&{commands} 4>&{replies}'  # the browser wants these two numbers
    with (profile.parent / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", *words], pass_fds=(commands, replies), stdout=log, stderr=log
        )
    os.close(commands)
    os.close(replies)
    try:
        page = Page(to, back)
        yield page
        page._session = None
        page.ask("Browser.close")
    finally:
        os.close(to)
        os.close(back)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
