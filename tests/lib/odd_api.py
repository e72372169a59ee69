"""A real HTTP server that answers as a test wants, well or badly."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Question:
    """A request."""

    path: str
    parameters: dict[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """An answer; `cut` bytes of the body are promised and never sent, `pause_s` pass before it."""

    content: Any = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0
    pause_s: float = 0.0

    @property
    def body(self) -> bytes:
        """What is sent: bytes as they are, everything else as JSON."""
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


class OddApi:
    """Serves what `reply` says, on a port of its own.

    Attributes:
        reply: gives the answer to a question.
        asked: every question.
    """

    def __init__(self) -> None:
        self.reply: Callable[[Question], Reply] = lambda _: Reply([])
        self.asked: list[Question] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                place = urlsplit(self.path)
                question = Question(place.path, dict(parse_qsl(place.query)), dict(self.headers.items()))
                api.asked.append(question)
                self.send(api.reply(question))

            def send(self, reply: Reply) -> None:
                time.sleep(reply.pause_s)
                self.send_response(reply.status)
                headers = {"Content-Type": "application/json", "Content-Length": str(len(reply.body)), **reply.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body[: len(reply.body) - reply.cut])
                self.close_connection = self.close_connection or bool(reply.cut)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """Say nothing of clients that went away."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="odd api", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
