"""A real HTTP server that gives the answers that a test needs, valid or not."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.lib.serving import HttpHandler, Served


@dataclass(frozen=True)
class Question:
    """A request."""

    path: str
    parameters: dict[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """An answer, sent after `pause_s`; `cut` bytes of its body are announced but never sent."""

    content: Any = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0
    pause_s: float = 0.0

    @property
    def body(self) -> bytes:
        """The body to send: bytes unchanged, all other values as JSON."""
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


class OddApi(Served):
    """A server on a port of its own, which sends the answers of `reply`.

    Attributes:
        reply: The function that returns the answer to a request.
        asked: All requests.
    """

    def __init__(self) -> None:
        self.reply: Callable[[Question], Reply] = lambda _: Reply([])
        self.asked: list[Question] = []
        api = self

        class Handler(HttpHandler):
            def do_GET(self) -> None:
                place = urlsplit(self.path)
                question = Question(place.path, dict(parse_qsl(place.query)), dict(self.headers.items()))
                api.asked.append(question)
                self.send(api.reply(question))

            def send(self, reply: Reply) -> None:
                time.sleep(reply.pause_s)
                promised = {"Content-Length": str(len(reply.body)), **reply.headers}
                self.answer(reply.status, reply.body[: len(reply.body) - reply.cut], promised)
                self.close_connection = self.close_connection or bool(reply.cut)

        super().__init__(Handler)
