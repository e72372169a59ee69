"""A headless Chromium, controlled through the WebDriver protocol of the W3C.

This module implements the five requests that tests need: a full library would bring a second HTTP client, an event
loop and a program that downloads browsers.
"""

import base64
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.lib.ports import free_port
from tests.lib.waiting import LIMIT_S, wait_until

FLAGS = [
    "--headless",
    "--no-sandbox",  # root in a container cannot use the sandbox
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
    """Return the requirement that this machine lacks; None if it has all."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return (
        f"{' and '.join(missing)} missing: install the packages 'chromium' and 'chromium-driver'" if missing else None
    )


class Browser:
    """A running browser."""

    def __init__(self, driver: httpx.Client, session: str) -> None:
        self._driver, self._session = driver, session

    def _tell(self, command: str, **what: Any) -> Any:
        answer = self._driver.post(f"/session/{self._session}/{command}", json=what)
        assert answer.is_success, answer.text
        return answer.json()["value"]

    def open(self, url: str) -> None:
        """Open a page."""
        self._tell("url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """Return the result of a script in the page; waits for a promise."""
        return self._tell("execute/sync", script=script, args=arguments)

    def find(self, selector: str) -> str | None:
        """Return the first element of a CSS selector; None if there is none yet."""
        found = self._tell("elements", using="css selector", value=selector)
        return str(next(iter(found[0].values()))) if found else None

    def type(self, element: str, text: str) -> None:
        """Type keys into an element, as a person does."""
        self._tell(f"element/{element}/value", text=text)

    @property
    def text(self) -> str:
        """The visible text of the page."""
        return str(self.run("return document.body ? document.body.innerText : ''"))

    def __str__(self) -> str:
        return f"shows: {self.text}"

    def save_screenshot(self, path: Path) -> None:
        """Save a screenshot as PNG."""
        shot = self._driver.get(f"/session/{self._session}/screenshot").raise_for_status().json()["value"]
        path.write_bytes(base64.b64decode(shot))


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """Yield a browser with its own profile in a folder."""
    port = free_port()
    with ExitStack() as at_the_end:
        log = at_the_end.enter_context((folder / "chromedriver.log").open("wb"))
        process = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=log, stderr=log)
        at_the_end.callback(process.wait)
        at_the_end.callback(process.terminate)
        where = f"http://127.0.0.1:{port}"
        driver = at_the_end.enter_context(httpx.Client(base_url=where, timeout=LIMIT_S, trust_env=False))
        wait_until(lambda: _is_ready(driver), told=folder / "chromedriver.log")
        session = _open(driver, folder)
        at_the_end.callback(driver.delete, f"/session/{session}")
        yield Browser(driver, session)


def _is_ready(driver: httpx.Client) -> bool:
    try:
        return bool(driver.get("/status").json()["value"]["ready"])
    except httpx.TransportError:
        return False


def _open(driver: httpx.Client, folder: Path) -> str:
    options = {"binary": shutil.which("chromium"), "args": [*FLAGS, f"--user-data-dir={folder / 'profile'}"]}
    wanted = {"goog:chromeOptions": options, "timeouts": {name: int(LIMIT_S * 1000) for name in ("script", "pageLoad")}}
    answer = driver.post("/session", json={"capabilities": {"alwaysMatch": wanted}}).json()["value"]
    assert "sessionId" in answer, answer
    return str(answer["sessionId"])
