"""Look at an HTML page as a reader would: in headless Chromium, wide or narrow, light or dark.

Chromium is driven over a pipe (`--remote-debugging-pipe`: NUL-ended JSON, commands in on
descriptor 3, answers out on descriptor 4), because its command line alone cannot open a window
narrower than 500 pixels, set the colour scheme, or tell what a script threw.
Source: https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

ABSENT = "headless Chromium is not installed; install the Debian package `chromium` to run this"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",  # containers often have a /dev/shm of 64 MB
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def chromium_path() -> str | None:
    """Return the path of Chromium, or None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


needs_chromium = pytest.mark.skipif(chromium_path() is None, reason=ABSENT)


@dataclass(frozen=True)
class View:
    """A reader's window: its width and height in CSS pixels, and the colour scheme they prefer."""

    width: int = 1280
    height: int = 900
    dark: bool = False


@dataclass
class Page:
    """One loaded page; `errors` holds what its scripts threw or wrote to console.error."""

    browser: "Browser"
    session: str
    errors: list[str] = field(default_factory=list)

    def send(self, method: str, **params: object) -> dict[str, Any]:
        """Run one protocol command on this page and return its result."""
        return self.browser.send(method, self.session, **params)

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression (a promise is awaited)."""
        answer = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(f"the page threw on {script!r}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def screenshot(self, png_path: Path, full_page: bool = True) -> None:
        """Write the page, or only the part in view, as a PNG."""
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=full_page)
        png_path.write_bytes(base64.b64decode(answer["data"]))


class Browser:
    """One Chromium process with a new, empty profile; use it as a context manager."""

    def __init__(self, timeout_s: float = 60.0) -> None:
        """Start Chromium. Skips the running test where it is not installed."""
        path = chromium_path()
        if path is None:
            pytest.skip(ABSENT)
        self.timeout_s = timeout_s
        self.profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        command_read, self.commands = os.pipe()
        self.answers, answer_write = os.pipe()
        flags = [*FLAGS, f"--user-data-dir={self.profile.name}", "about:blank"]
        # The shell moves our two descriptors to the numbers Chromium insists on.
        move = f'exec "$0" "$@" 3<&{command_read} 4>&{answer_write}'
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", move, path, *flags],
            pass_fds=(command_read, answer_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_read)
        os.close(answer_write)
        self.buffer = b""
        self.last_id = 0
        self.pages: dict[str, Page] = {}
        self.loaded: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.commands)
        os.close(self.answers)
        self.profile.cleanup()

    def open(self, html_path: Path, view: View | None = None) -> Page:
        """Load a local page in a window of its own and wait until it has drawn."""
        view = view or View()
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log"):
            page.send(f"{domain}.enable")
        page.send(
            "Emulation.setDeviceMetricsOverride",
            width=view.width,
            height=view.height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if view.dark else "light"}
        page.send("Emulation.setEmulatedMedia", features=[scheme])
        self.loaded.discard(session)
        page.send("Page.navigate", url=html_path.resolve().as_uri())
        while session not in self.loaded:
            self.note(self.receive())
        # Two frames: the first lays out what `load` handlers made, the second has painted it.
        page.evaluate("new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))")
        return page

    def send(self, method: str, session: str | None = None, **params: object) -> dict[str, Any]:
        """Run one protocol command and return its result."""
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        # A pipe may take less than it is given.
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self.commands, rest) :]
        while True:
            answer = self.receive()
            if answer.get("id") == self.last_id:
                if "error" in answer:
                    raise AssertionError(f"Chromium refused {method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.note(answer)

    def receive(self) -> dict[str, Any]:
        """Return the next message from Chromium."""
        deadline = time.monotonic() + self.timeout_s
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.answers], [], [], deadline - time.monotonic())
            chunk = os.read(self.answers, 1 << 20) if ready else b""
            if not chunk:
                raise AssertionError(f"Chromium said nothing for {self.timeout_s} s or ended")
            self.buffer += chunk
        message, self.buffer = self.buffer.split(b"\0", 1)
        parsed: dict[str, Any] = json.loads(message)
        return parsed

    def note(self, event: dict[str, Any]) -> None:
        """Keep what an event tells about its page: that it has loaded, or an error in it."""
        page = self.pages.get(event.get("sessionId", ""))
        if page is None:
            return
        params = event.get("params", {})
        match event.get("method"):
            case "Page.loadEventFired":
                self.loaded.add(page.session)
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                text = details.get("exception", {}).get("description", details["text"])
                page.errors.append(text)
            case "Runtime.consoleAPICalled" if params["type"] == "error":
                page.errors.append(" ".join(str(a.get("value")) for a in params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                entry = params["entry"]
                page.errors.append(f"{entry['text']} {entry.get('url', '')}".strip())


def screenshot(html_path: Path, png_path: Path, width: int = 1280, dark: bool = False) -> None:
    """Write a picture of the whole page, as seen in a window of that width (CSS pixels)."""
    with Browser() as browser:
        browser.open(html_path, View(width=width, dark=dark)).screenshot(png_path)


def dump_dom(html_path: Path, width: int = 1280, dark: bool = False) -> str:
    """Return the page's HTML after its scripts have run."""
    with Browser() as browser:
        page = browser.open(html_path, View(width=width, dark=dark))
        return str(page.evaluate("document.documentElement.outerHTML"))
