"""Unsigned tokens, for a Kafka that trusts their claims."""

import base64
import json
import time
from typing import Any

from azure.core.credentials import AccessToken


class StandInCredential:
    """A stand-in for an Azure identity.

    Attributes:
        error: The error to raise instead of returning a token.
        scopes: The requested scopes.
        token: The last token.
    """

    def __init__(self, lifetime_s: float = 600.0, **claims: object) -> None:
        self._lifetime_s, self._claims = lifetime_s, claims
        self.error: Exception | None = None
        self.scopes: set[str] = set()
        self.token = ""

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """Return a token, or raise the error."""
        if self.error:
            raise self.error
        self.scopes |= set(scopes)
        now = time.time()
        claims = {"sub": "dpa", "iat": now, "exp": now + self._lifetime_s, **self._claims}
        self.token = f"{_encoded({'alg': 'none'})}.{_encoded(claims)}."
        return AccessToken(self.token, int(now + self._lifetime_s))


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
