"""Headless Chromium for the tests, driven over its DevTools protocol (https://chromedevtools.github.io/devtools-protocol).

Any name is unknown to this browser and any address refused, so a page that works here works without network. WebGL is
drawn by software (SwiftShader), so no graphics card is needed.
"""

import io
import json
import os
import shutil
import subprocess
import time
import urllib.request
from base64 import b64decode
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 180.0  # seconds; software WebGL on a crowded machine is slow
OFFLINE = ("--proxy-server=127.0.0.1:9", "--proxy-bypass-list=<-loopback>", "--host-resolver-rules=MAP * ~NOTFOUND")
QUIET = (
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
)
SOFTWARE_WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
LOCAL = ("file:", "data:", "blob:", "about:")


def executable() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def required() -> str:
    """The browser's path. Where there is none the test is skipped, or fails if `SVAE_BROWSER=required` (`.ci/run`)."""
    if program := executable():
        return program
    lacking = "no Chromium on this machine (Debian, Ubuntu: apt install chromium)"
    pytest.fail(lacking) if os.environ.get("SVAE_BROWSER") == "required" else pytest.skip(lacking)


class Browser:
    """A running Chromium; a context manager that ends it."""

    def __init__(self, program: str, profile: Path):
        # The sandbox refuses to run as root; /dev/shm is small in containers.
        flags = ["--headless=new", "--disable-dev-shm-usage", "--hide-scrollbars", *OFFLINE, *QUIET, *SOFTWARE_WEBGL]
        flags += ["--no-sandbox"] * (os.geteuid() == 0)
        flags += ["--remote-debugging-port=0", "--remote-allow-origins=*", f"--user-data-dir={profile}"]
        self.log = profile.with_suffix(".log")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([program, *flags, "about:blank"], stdout=log, stderr=log)
        port = profile / "DevToolsActivePort"
        _wait(lambda: self._alive() and port.exists() and port.read_text().count("\n"), "Chromium to start")
        self.address = f"http://127.0.0.1:{port.read_text().split()[0]}"

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)

    def page(self, file: Path, width: int = 900, height: int = 700) -> "Page":
        """Opens a file in a tab of its own, ``width`` CSS pixels wide; returns once it and its images have loaded."""
        request = urllib.request.Request(f"{self.address}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return Page(json.load(answer)["webSocketDebuggerUrl"], file, width, height)

    def _alive(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"Chromium ended with code {self.process.returncode}:\n{self.log.read_text()[-2000:]}")
        return True


class Page:
    """A tab.

    Attributes:
        problems: errors and warnings of the console, uncaught exceptions, files that did not load and requests that
            left the machine, as they have come so far.
    """

    def __init__(self, address: str, file: Path, width: int, height: int):
        self.socket, self.number, self.loaded = websocket.create_connection(address, timeout=PATIENCE), 0, False
        self.problems: list[str] = []
        self.requests: dict[str, str] = {}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        self.call("Page.navigate", url=file.resolve().as_uri())
        _wait(lambda: self.evaluate("document.readyState") == "complete" and self.loaded, f"{file.name} to load")

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *_) -> None:
        self.call("Page.close")
        self.socket.close()

    def call(self, method: str, **parameters) -> dict:
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._note(message.get("method"), message.get("params", {}))

    def evaluate(self, expression: str):
        """The value of a JavaScript expression, of a promise what it comes to."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {_description(answer['exceptionDetails'])}")
        return answer["result"].get("value")

    def wait(self, expression: str, patience: float = PATIENCE) -> None:
        """Returns once the JavaScript expression is true; a `TimeoutError` after ``patience`` seconds."""
        _wait(lambda: self.evaluate(expression), expression, patience)

    def screenshot(self, box: dict | None = None) -> np.ndarray:
        """Pixels [height, width, 3] in 0..1 of the window, or of a box {x, y, width, height} of the page."""
        clip = {"clip": box | {"scale": 1}} if box else {}
        png = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=bool(box), **clip)["data"]
        return matplotlib.image.imread(io.BytesIO(b64decode(png)))[..., :3]

    def drag(self, x: float, y: float, by: float) -> None:
        """Presses the left button at (x, y) of the window; lets go ``by`` pixels to the right, half as far down."""
        mouse = {"button": "left", "buttons": 1, "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, **mouse)
        for part in np.linspace(0, 1, 6)[1:]:
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + part * by, y=y + part * by / 2, **mouse)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x + by, y=y + by / 2, **(mouse | {"buttons": 0}))

    def _note(self, event: str | None, details: dict) -> None:
        if event == "Page.loadEventFired":
            self.loaded = True
        elif event == "Runtime.exceptionThrown":
            self.problems.append(f"exception: {_description(details['exceptionDetails'])}")
        elif event == "Runtime.consoleAPICalled" and details["type"] in ("error", "assert"):
            self.problems.append(f"console: {' '.join(str(a.get('value', a)) for a in details['args'])}")
        elif event == "Log.entryAdded" and details["entry"]["level"] == "error":
            self.problems.append(f"console: {details['entry']['text']} {details['entry'].get('url', '')}")
        elif event == "Network.requestWillBeSent":
            self.requests[details["requestId"]] = url = details["request"]["url"]
            if not url.startswith(LOCAL):
                self.problems.append(f"asks the network for {url}")
        elif event == "Network.loadingFailed" and not details.get("canceled"):
            self.problems.append(f"{self.requests.get(details['requestId'])}: {details['errorText']}")


def _description(details: dict) -> str:
    return details.get("exception", {}).get("description") or details["text"]


def _wait(condition, what: str, patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience:.0f} s for {what}")
        time.sleep(0.1)
