"""A headless Chromium, told what to do by the WebDriver protocol of the W3C.

The five requests that tests need are said here: a library for all of it would bring a second HTTP client, an event loop
and a program that downloads browsers.
"""

import base64
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.lib.ports import free_port
from tests.lib.streams import wait_until

START_LIMIT_S = 60.0
ANSWER_LIMIT_S = 120.0
SCRIPT_LIMIT_MS = 60_000
FLAGS = [
    "--headless",
    "--no-sandbox",  # which a container's root cannot have
    "--window-size=1280,900",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def why_not() -> str | None:
    """Return what is missing on this machine, None if nothing is."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return (
        f"{' and '.join(missing)} missing: install the packages 'chromium' and 'chromium-driver'" if missing else None
    )


class Browser:
    """A browser with a profile of its own, from start to end of a `with`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()

    def __enter__(self) -> Self:
        with (self._folder / "chromedriver.log").open("wb") as log:
            self._driver = subprocess.Popen(["chromedriver", f"--port={self._port}"], stdout=log, stderr=log)
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=ANSWER_LIMIT_S, trust_env=False)
        try:
            wait_until(self._is_ready, START_LIMIT_S, "chromedriver")
            self._session = self._open()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.delete(f"/session/{self._session}")
        self._end()

    def _end(self) -> None:
        self._client.close()
        self._driver.terminate()
        self._driver.wait()

    def _is_ready(self) -> bool:
        try:
            return bool(self._client.get("/status").json()["value"]["ready"])
        except httpx.TransportError:
            return False

    def _open(self) -> str:
        options = {"args": [*FLAGS, f"--user-data-dir={self._folder / 'profile'}"], "binary": shutil.which("chromium")}
        wanted = {"goog:chromeOptions": options, "timeouts": {"script": SCRIPT_LIMIT_MS}}
        answer = self._client.post("/session", json={"capabilities": {"alwaysMatch": wanted}}).json()["value"]
        assert "sessionId" in answer, answer
        return str(answer["sessionId"])

    def _tell(self, command: str, **what: Any) -> Any:
        answer = self._client.post(f"/session/{self._session}/{command}", json=what)
        assert answer.is_success, answer.text
        return answer.json()["value"]

    def open(self, url: str) -> None:
        """Go to a page."""
        self._tell("url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script of the page returns; a promise is waited for."""
        return self._tell("execute/sync", script=script, args=arguments)

    def find(self, selector: str) -> str | None:
        """Return the first element that a CSS selector finds, None if there is none yet."""
        found = self._tell("elements", using="css selector", value=selector)
        return str(next(iter(found[0].values()))) if found else None

    def type(self, element: str, text: str) -> None:
        """Press keys in an element, as a person does."""
        self._tell(f"element/{element}/value", text=text)

    @property
    def text(self) -> str:
        """What the page shows."""
        return str(self.run("return document.body ? document.body.innerText : ''"))

    def save_screenshot(self, path: Path) -> None:
        """Keep what the page looks like, as PNG."""
        shot = self._client.get(f"/session/{self._session}/screenshot").raise_for_status().json()["value"]
        path.write_bytes(base64.b64decode(shot))
