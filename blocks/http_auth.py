"""Logins to an HTTP API. Keys and tokens may change while a client is in use."""

import time
from collections.abc import Callable, Generator, Iterable
from http import HTTPStatus
from math import inf
from typing import Any, NamedTuple

import httpx
import orjson

from freight.errors import ConfigurationError, TransientError
from freight.secrets import accepted
from freight.types import PasswordSource
from freight.web import UNTIL, shown, words_of

Requests = Generator[httpx.Request, httpx.Response, None]

EXPIRY_MARGIN_S = 60.0  # a token that is about to expire could do so in transit
LIFETIME_S, LONGEST_LIFETIME_S = 300.0, 86_400.0  # if the token server states none, or an implausible one
TOKEN_LIMIT_S = 60.0  # for a token, even if the server sends its response drop by drop
TOKEN_LIMIT_BYTES = 64 << 10  # of its response; tokens with many groups have some thousand characters
RETRIED = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT}

# The error codes of OAuth2 (RFC 6749). All other text of an error may repeat the secret.
REFUSALS = {
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
}


class ApiKey(httpx.Auth):
    """Sends a key in a header; if it is refused, reads the key anew, once."""

    def __init__(self, header: str, key: PasswordSource) -> None:
        self._header, self._key = header, key

    def auth_flow(self, request: httpx.Request) -> Requests:
        """Send a request with the key, which `secret_source` has accepted for a header."""
        request.headers[self._header] = key = self._key()
        response = yield request
        if response.status_code == HTTPStatus.UNAUTHORIZED and (other := self._key(fresh=True)) != key:
            request.headers[self._header] = other
            yield request


class _Answer(NamedTuple):
    """The response of a token server: its status, and its JSON content, if any."""

    status: int
    content: dict[str, Any]


class ClientCredentials(httpx.Auth):
    """Sends an OAuth2 token, obtained with a client secret and cached until it expires.

    Not from a library: the usual ones expect a secret that never changes.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        scope: str | None,
        secret: PasswordSource,
        connect: Callable[[str], httpx.Client],
    ) -> None:
        self._token_url, self._secret, self._connect = token_url, secret, connect
        self._form = {"grant_type": "client_credentials", "client_id": client_id} | ({"scope": scope} if scope else {})
        self._token, self._valid_until = "", 0.0

    def sync_auth_flow(self, request: httpx.Request) -> Requests:
        """Send a request with a token, and again with a new one if it is refused.

        Raises:
            ConfigurationError: The token server refuses the client.
            TransientError: The token server issues no token right now.
        """
        until = request.extensions.get(UNTIL, inf)
        if time.monotonic() >= self._valid_until:
            self._renew(until)
        request.headers["Authorization"] = f"Bearer {self._token}"
        response = yield request
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            self._renew(until)
            request.headers["Authorization"] = f"Bearer {self._token}"
            yield request

    def _renew(self, until: float) -> None:
        secret = self._secret()
        answer = self._ask(secret, until)
        is_refused = answer.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED)
        if is_refused and (other := self._secret(fresh=True)) != secret:
            answer = self._ask(other, until)
        self._refuse(answer)
        self._take(answer.content)

    def _ask(self, secret: str, until: float) -> _Answer:
        """Use a client of its own that follows no redirects: a secret must not be forwarded."""
        form = {**self._form, "client_secret": secret}
        limit = {UNTIL: min(until, time.monotonic() + TOKEN_LIMIT_S)}
        try:
            with (
                self._connect(self._token_url) as client,
                client.stream("POST", self._token_url, data=form, extensions=limit) as response,
            ):
                return _Answer(response.status_code, _content(response))
        except httpx.TransportError as error:
            raise TransientError(f"{self._server} does not answer in full: {words_of(error)}") from None
        except (httpx.InvalidURL, ValueError):
            raise ConfigurationError(f"{self._server} redirects to an invalid URL: ask its owner") from None

    @property
    def _server(self) -> str:
        return f"the token server {shown(httpx.URL(self._token_url))}"

    def _refuse(self, answer: _Answer) -> None:
        answered = f"{self._server} answers {answer.status}"
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status in RETRIED:
            raise TransientError(answered)
        if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
            raise ConfigurationError(
                f"{answered}, and redirects elsewhere: a secret is not forwarded, set token_url to the final endpoint"
            )
        if answer.status >= HTTPStatus.BAD_REQUEST or not isinstance(answer.content.get("access_token"), str):
            refusal = answer.content.get("error")
            code = f" ({refusal})" if isinstance(refusal, str) and refusal in REFUSALS else ""
            raise ConfigurationError(f"{answered} without a token: check client_id, scope and the key{code}")

    def _take(self, content: dict[str, Any]) -> None:
        self._token = accepted(content["access_token"], "the token of the token server", ascii_only=True)
        self._valid_until = time.monotonic() + _lifetime_s(content.get("expires_in")) - EXPIRY_MARGIN_S


def _content(response: httpx.Response) -> dict[str, Any]:
    """Return the content of a token server's response, if it is JSON within the limit."""
    try:
        content = orjson.loads(_start_of(response.iter_bytes()))
    except (ValueError, httpx.DecodingError):
        return {}
    return content if isinstance(content, dict) else {}


def _start_of(pieces: Iterable[bytes]) -> bytes:
    start = bytearray()
    for piece in pieces:
        start += piece
        if len(start) > TOKEN_LIMIT_BYTES:
            break
    return bytes(start[:TOKEN_LIMIT_BYTES])


def _lifetime_s(stated: object) -> float:
    try:
        return min(float(stated or LIFETIME_S), LONGEST_LIFETIME_S)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return LIFETIME_S
