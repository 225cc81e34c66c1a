"""Chromium without a window, driven by its DevTools protocol over a pipe: no port, no further package."""

import base64
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from builders.peers import need_program

_WAIT_SECONDS = 120.0


class PageError(AssertionError):
    """The page did something that it should not, or not what was waited for."""


class Browser:
    """One page. Console errors and uncaught exceptions are kept in ``complaints``."""

    def __init__(self, profile: Path, width: int, height: int) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        arguments = [
            need_program("chromium"),
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "--hide-scrollbars"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server"),
            *(f"--window-size={width},{height}", f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"),
        ]
        # Chromium reads orders from descriptor 3 and answers on 4.
        shell = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "chromium", str(to_browser), str(from_browser), *arguments],
            pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._number, self.complaints, self.requested = b"", 0, [], []  # type: ignore[var-annotated]
        target = next(entry for entry in self._ask("Target.getTargets")["targetInfos"] if entry["type"] == "page")
        self._session = self._ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        self.resize(width, height)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command to the page."""
        return self._ask(method, session=self._session, **parameters)

    def resize(self, width: int, height: int) -> None:
        """Size of the view, CSS pixels."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, url: str) -> None:
        """Go to an address and wait for the page to be loaded."""
        self.ask("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Value of an expression in the page; promises are waited for."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise PageError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = _WAIT_SECONDS) -> None:
        """Until the expression is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if self.run(f"Boolean({script})"):
                    return
            except PageError:
                # The page is just being replaced.
                pass
            time.sleep(0.03)
        raise PageError(f"waited {seconds} s for {script} on {self.run('location.pathname')}; complaints: {self.complaints}")

    def text(self, selector: str) -> str:
        """What a person reads in an element, once the page is there."""
        self.wait(f"document.readyState === 'complete' && document.querySelector({json.dumps(selector)})")
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        """A click in the middle of an element."""
        self.mouse("mousePressed", *self._middle(selector))
        self.mouse("mouseReleased", *self._middle(selector))

    def drag(self, selector: str, by_x: float, by_y: float) -> None:
        """Drag an element by so many pixels, in steps as a hand does."""
        x, y = self._middle(selector)
        self.mouse("mousePressed", x, y)
        for part in range(1, 9):
            self.mouse("mouseMoved", x + by_x * part / 8, y + by_y * part / 8, buttons=1)
        self.mouse("mouseReleased", x + by_x, y + by_y)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """One event of the mouse."""
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1, **more)

    def key(self, key: str) -> None:
        """Press and release a key."""
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowUp": 38, "ArrowDown": 40, "ArrowLeft": 37, "ArrowRight": 39, "Delete": 46}
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, text=text, windowsVirtualKeyCode=codes.get(key, 0))
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=codes.get(key, 0))

    def type(self, selector: str, text: str) -> None:
        """Write into a field as a person does."""
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.ask("Input.insertText", text=text)

    def choose(self, selector: str, files: list[str]) -> None:
        """Files for a file field, as if a person had chosen them."""
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.ask("DOM.setFileInputFiles", files=files, nodeId=node)

    def picture(self, path: Path, *, whole: bool = False) -> Path:
        """A screenshot of the view, or of the whole page."""
        options: dict[str, Any] = {"captureBeyondViewport": True} if whole else {}
        if whole:
            size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
            options["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png", **options)["data"]))
        return path

    def close(self) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def _middle(self, selector: str) -> tuple[float, float]:
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'nearest'}})")
        box = self.run(
            f"(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        return float(box[0]), float(box[1])

    def _ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._send(method, session, parameters)
        number = self._number
        end = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < end:
            message = self._message(end)
            if message.get("id") == number:
                if "error" in message:
                    raise PageError(f"{method}: {message['error']}")
                return dict(message["result"])
            self._notice(message)
        raise PageError(f"the browser does not answer {method}")

    def _send(self, method: str, session: str | None, parameters: dict[str, Any]) -> None:
        self._number += 1
        order = {"id": self._number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self._out, json.dumps(order).encode() + b"\0")

    def _message(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], max(0.0, end - time.monotonic()))[0]:
                return {}
            part = os.read(self._in, 1 << 20)
            if not part:
                raise PageError("the browser ended")
            self._buffer += part
        first, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(first))

    def _notice(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(str(parameters["exceptionDetails"])[:500])
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                self.complaints.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.requested.append(parameters["request"]["url"])
            case "Page.javascriptDialogOpening":
                self.complaints.append(f"a dialog opened: {parameters['message']}")
                self._send("Page.handleJavaScriptDialog", self._session, {"accept": True})
            case _:
                pass


@contextmanager
def chromium(width: int = 1280, height: int = 900) -> Iterator[Browser]:
    """A browser for one test."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        browser = Browser(Path(profile), width, height)
        try:
            yield browser
        finally:
            browser.close()
