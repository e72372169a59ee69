"""A Key Vault: an HTTPS server that speaks the part of the secrets API that reads, as Azure's client wants it."""

import json
import re
import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from blocks.azure_identity import TIMEOUTS
from tests.lib.certificates import write_certificates
from tests.lib.tokens import StandInCredential

CHALLENGE = 'Bearer authorization="https://login.microsoftonline.com/tenant", resource="https://vault.azure.net"'
NO_HEADERS: Mapping[str, str] = {}
PATH = re.compile(r"/secrets/([0-9A-Za-z-]+)/([0-9A-Za-z-]*)(?:\?|$)")


class StandInVault:
    """Stands for a vault; secrets have a version for each time that they were set.

    Attributes:
        status: the answer to every request in place of a secret; None while all is well.
        asked: requests that showed a token.
    """

    def __init__(self, folder: Path) -> None:
        self._ca_path, self._server_path = folder / "vault-ca.pem", folder / "vault.pem"
        write_certificates(self._ca_path, self._server_path)
        self._secrets: dict[str, list[str]] = {}
        self.status: int | None = None
        self.asked = 0

    def __enter__(self) -> Self:
        vault = self

        class Handler(_Handler):
            answer = staticmethod(vault._answer)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._server_path)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, name="vault", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"https://localhost:{self._server.server_port}"

    def client_options(self, _url: str) -> dict[str, Any]:
        """Return how a client asks it: its host is not Azure's, and neither is who vouches for it."""
        return {
            "credential": StandInCredential(),
            "connection_verify": str(self._ca_path),
            "verify_challenge_resource": False,
            **TIMEOUTS,
            "retry_total": 0,
        }

    def set(self, name: str, value: str) -> None:
        """Give a secret a new version."""
        self._secrets.setdefault(name, []).append(value)

    def _answer(self, path: str) -> tuple[int, dict[str, Any]]:
        self.asked += 1
        if self.status:
            return self.status, _error("Unwell", "not today")
        found = PATH.match(path)
        assert found, path
        name, version = found.groups()
        values = self._secrets.get(name, [])
        number = int(version or len(values))
        if not 0 < number <= len(values):
            return 404, _error("SecretNotFound", f"A secret with (name/id) {name} was not found in this key vault.")
        return 200, {"value": values[number - 1], "id": f"{self.url}/secrets/{name}/{number}", "attributes": {}}


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answer: ClassVar[Any]

    def do_GET(self) -> None:
        """Answer; who shows no token is told first where to get one."""
        if not self.headers.get("Authorization"):
            self._send(401, _error("Unauthorized", "no token"), {"WWW-Authenticate": CHALLENGE})
            return
        self._send(*self.answer(self.path))

    def _send(self, status: int, content: dict[str, Any], headers: Mapping[str, str] = NO_HEADERS) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
