"""A real headless Chromium with the network cut, driven over its own pipe (Chrome DevTools Protocol): no library."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
ANSWER_S = 60.0
"""Seconds that the browser may take for one answer."""
FLAGS = (
    "--headless",
    "--no-sandbox",  # root, as in containers, can't have Chromium's own; the pages are ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
    "--window-size=1280,1000",
)


START = """
import os, sys
commands, answers = (os.dup(int(number)) for number in sys.argv[1:3])
high = [os.dup2(commands, 200), os.dup2(answers, 201)]
for number, source in zip((3, 4), high):
    os.dup2(source, number)
    os.set_inheritable(number, True)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads its commands from descriptor 3, and answers on 4."""


class Browser:
    """One page. requests: every URL that it asked for, data: and blob: apart. errors: of its console."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._number = 0
        self._left = b""
        self.requests: list[str] = []
        self.errors: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session: str | None = None
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session := getattr(self, "_session", None):
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer.get("result", {}))

    def begin(self) -> None:
        """Leave the page that is open, and forget what was asked for and what went wrong."""
        self.open("about:blank", "location.href === 'about:blank' && document.readyState === 'complete'")
        self.requests.clear()
        self.errors.clear()

    def open(self, url: str, until: str) -> None:
        """Go to a page and wait until a JavaScript expression is true there."""
        self.call("Page.navigate", url=url)
        self.wait(until)

    def wait(self, expression: str, limit_s: float = ANSWER_S) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + limit_s
        while not self.value(f"Boolean({expression})"):
            assert time.monotonic() < end, (
                f"never true: {expression}\n{self.value('document.body.innerText')[:2000]}"
            )
            select.select([self._read], [], [], 0.1)

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """Keep a picture of what can be seen."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._read], [], [], ANSWER_S)
            assert ready, "the browser does not answer"
            data = os.read(self._read, 1 << 20)
            assert data, "the browser has ended"
            self._left += data
        raw, _, self._left = self._left.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        parameters = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            url = parameters["request"]["url"]
            if not url.startswith(("data:", "blob:", "about:")):
                self.requests.append(url)
        elif message.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(parameters["entry"]["text"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(parameters["exceptionDetails"].get("text")))
        return message


@contextmanager
def browser(home: Path) -> Iterator[Browser]:
    """Give a browser whose profile lies in `home`; it is ended, whatever happens."""
    assert CHROMIUM is not None
    commands, write = os.pipe()
    read, answers = os.pipe()
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            START,
            str(commands),
            str(answers),
            CHROMIUM,
            f"--user-data-dir={home}",
            *FLAGS,
            "about:blank",
        ],
        pass_fds=(commands, answers),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(commands)
    os.close(answers)
    try:
        yield Browser(write, read)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait(30)
        os.close(write)
        os.close(read)
