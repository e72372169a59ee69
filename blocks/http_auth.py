"""How a client of an HTTP API says who it is. What it shows may change while the client lives."""

import time
from collections.abc import Generator
from http import HTTPStatus

import httpx

from freight.errors import ConfigurationError, TransientError
from freight.types import PasswordSource

Requests = Generator[httpx.Request, httpx.Response, None]

EXPIRY_MARGIN_S = 60.0  # a token that is about to expire would do so on its way
LIFETIME_S = 300.0  # of a token whose server does not say for how long it is valid
RETRIED = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT}


class ApiKey(httpx.Auth):
    """Shows a key in a header; one that is refused is asked for anew, once."""

    def __init__(self, header: str, key: PasswordSource) -> None:
        self._header, self._key = header, key

    def auth_flow(self, request: httpx.Request) -> Requests:
        """Send a request with the key."""
        request.headers[self._header] = key = self._key()
        response = yield request
        if response.status_code == HTTPStatus.UNAUTHORIZED and (other := self._key(fresh=True)) != key:
            request.headers[self._header] = other
            yield request


class ClientCredentials(httpx.Auth):
    """Shows a token of OAuth2, which is given for the secret of a client and kept until it expires.

    Not of a library: those at hand take a secret that never changes.
    """

    def __init__(self, token_url: str, client_id: str, scope: str | None, secret: PasswordSource) -> None:
        self._token_url, self._secret = token_url, secret
        self._form = {"grant_type": "client_credentials", "client_id": client_id} | ({"scope": scope} if scope else {})
        self._token, self._valid_until = "", 0.0

    def sync_auth_flow(self, request: httpx.Request) -> Requests:
        """Send a request with a token, and again with another one if it is refused.

        Raises:
            ConfigurationError: the token server refuses the client.
            TransientError: it gives no token right now.
        """
        if time.monotonic() >= self._valid_until:
            yield from self._renew()
        request.headers["Authorization"] = f"Bearer {self._token}"
        response = yield request
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            yield from self._renew()
            request.headers["Authorization"] = f"Bearer {self._token}"
            yield request

    def _renew(self) -> Requests:
        secret = self._secret()
        response = yield self._question(secret)
        is_refused = response.status_code in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED)
        if is_refused and (other := self._secret(fresh=True)) != secret:
            response = yield self._question(other)
        response.read()
        self._take(response)

    def _question(self, secret: str) -> httpx.Request:
        return httpx.Request("POST", self._token_url, data={**self._form, "client_secret": secret})

    def _take(self, response: httpx.Response) -> None:
        told = f"the token server {self._token_url} answers {response.status_code}"
        if response.is_server_error or response.status_code in RETRIED:
            raise TransientError(told)
        try:
            content = response.json()
            self._token, lifetime_s = content["access_token"], float(content.get("expires_in") or LIFETIME_S)
        except (ValueError, KeyError, TypeError):
            raise ConfigurationError(f"{told} without a token: check client_id, scope and the key") from None
        self._valid_until = time.monotonic() + lifetime_s - EXPIRY_MARGIN_S
