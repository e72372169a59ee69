"""The common parts of test servers: they start, serve over TLS, answer HTTP requests and stop."""

import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer, ThreadingTCPServer
from types import TracebackType
from typing import Any, Self

STOPS_WITHIN_S = 0.05  # the default half second adds up to a minute over all tests
NO_HEADERS: Mapping[str, str] = {}


class _Quiet:
    """A server whose clients may leave at any time."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        """Log nothing."""


class QuietTcpServer(_Quiet, ThreadingTCPServer):
    """Serves each connection in a thread."""


class QuietHttpServer(_Quiet, ThreadingHTTPServer):
    """Serves each HTTP client in a thread."""


class Served:
    """A server on a port of its own, in a thread that ends with the context.

    Attributes:
        port: The port on which it listens.
        url: The URL for HTTP clients.
    """

    def __init__(
        self,
        handler: type[BaseRequestHandler],
        certificate: Path | None = None,
        kind: type[TCPServer] = QuietHttpServer,
    ) -> None:
        """Listen; requests wait until the context begins.

        Args:
            handler: The handler of one connection.
            certificate: The PEM file with certificate and key, for TLS.
            kind: The class of the server that accepts connections.
        """
        self._server = kind(("127.0.0.1", 0), handler)
        if certificate:
            context = server_context(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        self.url = f"https://localhost:{self.port}" if certificate else f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        loop = {"poll_interval": STOPS_WITHIN_S}
        threading.Thread(target=self._server.serve_forever, kwargs=loop, name=type(self).__name__, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def server_context(certificate: Path) -> ssl.SSLContext:
    """Return the TLS context of a server.

    Args:
        certificate: The PEM file with certificate and key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


class HttpHandler(BaseHTTPRequestHandler):
    """Answers requests on connections that stay open, and keeps no log."""

    protocol_version = "HTTP/1.1"

    @property
    def sent(self) -> bytes:
        """The body of the request, which can be read once."""
        return self.rfile.read(int(self.headers["Content-Length"]))

    def answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] = NO_HEADERS, reason: str | None = None
    ) -> None:
        """Send an answer; its body is JSON unless the headers say otherwise."""
        self.send_response(status, reason)
        usual = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in {**usual, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""
