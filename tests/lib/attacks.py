"""A server that attacks its clients: each path is another attack, and most would never end by themselves."""

import gzip
import itertools
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from socketserver import StreamRequestHandler
from typing import Any

from tests.lib.serving import QuietTcpServer, Served, server_context

MUCH = 400 << 20
BLOCK = b" " * (1 << 16)
DRIP_S = 0.2  # far below a client's timeout for a single byte
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

Attack = Callable[[], Iterator[bytes]]


def _much() -> Iterator[bytes]:
    yield from itertools.repeat(BLOCK, MUCH // len(BLOCK))


def _body_of(status: str, more: str = "") -> Attack:
    """A body of 400 MB behind any status."""

    def attack() -> Iterator[bytes]:
        yield f"HTTP/1.1 {status}\r\n{more}Content-Type: application/json\r\nContent-Length: {MUCH}\r\n\r\n".encode()
        yield from _much()

    return attack


def _packed(encodings: str, body: Callable[[], bytes]) -> Attack:
    def attack() -> Iterator[bytes]:
        packed = body()
        yield OK + f"Content-Encoding: {encodings}\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
        yield packed

    return attack


@cache
def _bomb(size: int, wbits: int = 31) -> bytes:
    """Return an endless compressed body that unpacks to many blanks: a piece of it is repeated."""
    packer = zlib.compressobj(9, wbits=wbits)
    start, piece = (packer.compress(b" " * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return start + piece * (size >> 20)


def _endlessly(start: bytes, more: bytes) -> Attack:
    """An endless response, as fast as the client reads."""

    def attack() -> Iterator[bytes]:
        yield start
        yield from itertools.repeat(more * (1 + len(BLOCK) // len(more)), MUCH // len(BLOCK))

    return attack


def _dripping(start: bytes, more: bytes) -> Attack:
    """An endless, slow response."""

    def attack() -> Iterator[bytes]:
        yield start
        for _ in range(3_000):
            time.sleep(DRIP_S)
            yield more

    return attack


def _to(place: str, status: str = "302 Found") -> Attack:
    return _body_of(status, f"Location: {place}\r\n")


def _silent() -> Iterator[bytes]:
    yield b""
    time.sleep(600)


ATTACKS: dict[str, Attack] = {
    "gzip-within-gzip": _packed("gzip, gzip", lambda: gzip.compress(_bomb(MUCH))),
    "gzip-on-two-lines": _packed("gzip\r\nContent-Encoding: gzip", lambda: gzip.compress(_bomb(MUCH))),
    "gzip": _packed("gzip", lambda: _bomb(MUCH)),
    "deflate": _packed("deflate", lambda: _bomb(MUCH, wbits=15)),
    "many-encodings": _packed(", ".join(["gzip"] * 500), lambda: _bomb(MUCH)),
    "brotli": _packed("br", lambda: b"\x1b"),
    "half-a-gzip": _packed("gzip", lambda: gzip.compress(b"[]" * 999)[:-9]),
    "two-gzips": _packed("gzip", lambda: gzip.compress(b"[") + gzip.compress(b"]")),
    "no-gzip": _packed("gzip", lambda: b"[]"),
    "redirect-with-a-body": _to("/v1/body"),
    "posted-on": _to("https://127.0.0.1/v1/body", "307 Temporary Redirect"),
    "redirect-to-nowhere": _to("//xn--a/"),
    "redirect-loop": _to("/v1/redirect-loop/machines"),
    "refused-with-a-body": _body_of("401 Unauthorized"),
    "missing-with-a-body": _body_of("404 Not Found"),
    "broken-with-a-body": _body_of("500 Internal Server Error"),
    "body": _body_of("200 OK"),
    "endless-status": _endlessly(b"HTTP/1.1 200 ", b"O"),
    "endless-headers": _endlessly(OK, b"X-More: more\r\n"),
    "endless-header": _endlessly(OK + b"X-More: ", b"more"),
    "endless-continues": _endlessly(b"", b"HTTP/1.1 100 Continue\r\nX-More: more\r\n\r\n"),
    "endless-trailers": _endlessly(CHUNKED + b"0\r\n", b"X-More: more\r\n"),
    "endless-extensions": _endlessly(CHUNKED, b"1;x=" + b"y" * 9_000 + b"\r\n \r\n"),
    "endless-extension": _endlessly(CHUNKED + b"1;x=", b"y"),
    "endless-links": _endlessly(OK + b"Link: ", b'</v1/machines>; rel="next", '),
    "many-links": lambda: iter([OK, b"Link: " + b"</x>;;;; rel=x, <" * 5_000 + b"\r\nContent-Length: 2\r\n\r\n[]"]),
    "dripping-status": _dripping(b"", b"H"),
    "dripping-headers": _dripping(OK, b"X-More: more\r\n"),
    "dripping-trailers": _dripping(CHUNKED + b"0\r\n", b"X-More: more\r\n"),
    "dripping-continues": _dripping(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "dripping-body": _dripping(OK + b"Content-Length: 9000\r\n\r\n", b" "),
    "dripping-extension": _dripping(CHUNKED + b"1;x=", b"y"),
    "dripping-error": _dripping(b"HTTP/1.1 500 No\r\nContent-Length: 9000\r\n\r\n", b" "),
    "dripping-redirect": _dripping(b"HTTP/1.1 302 No\r\nLocation: /v1/body\r\nContent-Length: 9000\r\n\r\n", b" "),
    "silent": _silent,
}
SLOW = [name for name in ATTACKS if name.startswith(("dripping", "endless-continues", "endless-extensions", "silent"))]


class AttackServer(Served):
    """An attacking server on a port of its own; the path segment after `/v1/` names the attack.

    Attributes:
        asked: The requests, each as its first line and its body.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        """Prepare the server.

        Args:
            certificate: The PEM file with certificate and key, for TLS.
        """
        self.asked: list[tuple[str, str]] = []
        server = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    server._answer(self.request)

        super().__init__(Handler, kind=QuietTcpServer)
        self._context = server_context(certificate) if certificate else None  # the handshake runs in its thread
        if certificate:
            self.url = f"https://localhost:{self.port}"

    def _answer(self, plain: socket.socket) -> None:
        with self._context.wrap_socket(plain, server_side=True) if self._context else plain as stream:
            line, body = _asked(stream)
            self.asked.append((line, body))
            for piece in ATTACKS[line.split("/")[2].split(" ")[0]]():
                stream.sendall(piece)


def _asked(stream: socket.socket) -> tuple[str, str]:
    with stream.makefile("rb") as lines:
        head = [*iter(lambda: lines.readline().decode().strip(), "")]
        told: dict[str, Any] = dict(line.lower().split(": ", 1) for line in head[1:])
        return head[0], lines.read(int(told.get("content-length", 0))).decode()
