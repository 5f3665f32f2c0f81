"""A headless Chromium, spoken to over a pipe by its DevTools protocol."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def program() -> str | None:
    """Where Chromium is; None where there is none."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


class Browser:
    """Opens one page; `evaluate` gives the value of an expression in it."""

    def __init__(self, page: Path, width: int, height: int) -> None:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"]
        # DevTools reads descriptor 3 and writes 4.
        script = f'exec "$0" "$@" 3<&{commands} 4>&{answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, program() or "", *options, f"--user-data-dir={self._folder.name}", "about:blank"],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._read = os.fdopen(self._answers, "rb")
        self._session, self._number, self._waiting = "", 0, b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)
        self.call("Page.enable")
        self.call("Page.navigate", url=page.as_uri())
        self._wait(lambda message: message.get("method") == "Page.loadEventFired")

    def call(self, method: str, **parameters: object) -> Any:
        """One call of DevTools, and its result."""
        self._number += 1
        number = self._number
        content: dict[str, object] = {"id": number, "method": method, "params": parameters}
        os.write(self._commands, json.dumps(content | ({"sessionId": self._session} if self._session else {})).encode())
        os.write(self._commands, b"\0")
        answer = self._wait(lambda message: message.get("id") == number)
        assert "error" not in answer, answer
        return answer["result"]

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """A key as from a keyboard."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def _wait(self, wanted: Any) -> Any:
        while True:
            while b"\0" not in self._waiting:
                piece = os.read(self._answers, 1 << 16)
                assert piece, "the browser has ended"
                self._waiting += piece
            text, _, self._waiting = self._waiting.partition(b"\0")
            message = json.loads(text)
            if wanted(message):
                return message

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        self._read.close()
        self._folder.cleanup()
