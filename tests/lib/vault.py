"""A Key Vault: an HTTPS server with the read part of the secrets API, as Azure's client requires it."""

import json
import re
from pathlib import Path
from typing import Any

from blocks.azure_identity import TIMEOUTS
from tests.lib.certificates import write_certificates
from tests.lib.serving import NO_HEADERS, HttpHandler, Served
from tests.lib.tokens import StandInCredential

SCHEME = 'Bearer authorization="https://login.microsoftonline.com/tenant", resource="https://vault.azure.net"'
CHALLENGE = {"WWW-Authenticate": SCHEME}
PATH = re.compile(r"/secrets/([0-9A-Za-z-]+)/([0-9A-Za-z-]*)(?:\?|$)")


class StandInVault(Served):
    """A stand-in for a vault; a secret has a version for each time that it was set.

    Attributes:
        status: The HTTP status to answer every request with instead of a secret; None for normal answers.
        asked: The requests with a token.
    """

    def __init__(self, folder: Path) -> None:
        self._ca_path, certificate = folder / "vault-ca.pem", folder / "vault.pem"
        write_certificates(self._ca_path, certificate)
        self._secrets: dict[str, list[str]] = {}
        self.status: int | None = None
        self.asked = 0
        vault = self

        class Handler(HttpHandler):
            def do_GET(self) -> None:
                """Answer; a request without a token first gets the address of the token service."""
                shows_token = bool(self.headers.get("Authorization"))
                status, content = vault._answer(self.path) if shows_token else (401, _error("Unauthorized", "no token"))
                self.answer(status, json.dumps(content).encode(), NO_HEADERS if shows_token else CHALLENGE)

        super().__init__(Handler, certificate)

    def client_options(self, _url: str) -> dict[str, Any]:
        """Return the client settings for it: neither its host nor its certificate authority is Azure's."""
        return {
            "credential": StandInCredential(),
            "connection_verify": str(self._ca_path),
            "verify_challenge_resource": False,
            **TIMEOUTS,
            "retry_total": 0,
        }

    def set(self, name: str, value: str) -> None:
        """Set a new version of a secret."""
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
