"""An HTTP API as a Prefect block."""

import re
import ssl
from typing import ClassVar, Literal, Self

import httpx
from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, SecretStr, model_validator

from blocks.http_auth import ApiKey, ClientCredentials
from blocks.key_vault import KeyVaultSecret, secret_source
from blocks.secret_fields import SecretFields
from freight.addresses import fault_of_address, written_address
from freight.errors import ConfigurationError
from freight.types import PasswordSource
from freight.web import open_client

HEADER_NAME = re.compile(r"[A-Za-z0-9_-]+")


class HttpApi(SecretFields, Block):
    """Where an HTTP API is and how to log in to it.

    Attributes:
        base_url: where it is.
        auth: how to log in.
        key: API key; with OAuth2 the secret of the client.
        key_secret: the same as a secret of a Key Vault, which may change while a client lives.
        api_key_header: header that holds the API key.
        token_url: where OAuth2 gives tokens.
        client_id: who asks for them.
        scope: what they are for.
        connect_timeout_s: until the API takes a connection.
        read_timeout_s: until it says something; status and headers have to come within both.
        ca_location: PEM file of the authority that vouches for it.
        private: whether it, or the server of tokens, is in a private network or on this machine.

    Example:
        Keep the API once, then load it by its name:
        ```python
        from blocks.http_api import HttpApi

        HttpApi(base_url="https://erp.example.org/v1", auth="api-key", key="…").save("BLOCK_NAME")
        api = HttpApi.load("BLOCK_NAME")
        with api.client() as client:
            client.get("machines").raise_for_status()
        ```
    """

    _block_type_name: ClassVar[str] = "HTTP API"
    _block_type_slug: ClassVar[str] = "http-api"  # never rename: it is the key of what is stored
    _description: ClassVar[str] = "Where an HTTP API is and how to log in to it."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://www.python-httpx.org/advanced/clients/")

    # Never reorder: the order is part of the schema that Prefect stores, and of the form that it shows.
    base_url: str = Field(description="Where the API is.", examples=["https://erp.example.org/v1"])
    auth: Literal["none", "api-key", "oauth2"] = Field(
        default="none", description="How to log in: with an API key, or with the client credentials of OAuth2."
    )
    key: SecretStr | None = Field(default=None, description="API key; with OAuth2 the secret of the client.")
    key_secret: KeyVaultSecret | None = Field(
        default=None, description="The same as a secret of a Key Vault, instead of the field key."
    )
    api_key_header: str = Field(default="X-Api-Key", description="Header that holds the API key.")
    token_url: str | None = Field(
        default=None,
        description="Where OAuth2 gives tokens.",
        examples=["https://login.microsoftonline.com/TENANT/oauth2/v2.0/token"],
    )
    client_id: str | None = Field(default=None, description="Who asks for tokens of OAuth2.")
    scope: str | None = Field(default=None, description="What the tokens of OAuth2 are for, if it has to be said.")
    connect_timeout_s: float = Field(default=5.0, gt=0, description="Seconds until the API takes a connection.")
    read_timeout_s: float = Field(default=30.0, gt=0, description="Seconds until the API says something.")
    ca_location: str | None = Field(
        default=None, description="PEM file of the authority that vouches for the API; the known ones if it is empty."
    )
    private: bool = Field(
        default=False,
        description="The API is in a private network or on this machine; without this only public addresses are asked.",
    )

    def client(self) -> httpx.Client:
        """Return a client that reaches this API and no other host, whatever it is asked for or redirected to.

        An answer has half an hour, its status and headers both timeouts; see `freight.web`. What the client raises is
        httpx's own; besides, when it connects and logs in:

        Raises:
            ConfigurationError: the login is refused, another host is asked for, or the API is where none may be.
            TransientError: the Key Vault or the token server does not answer.
        """
        return self._open(self.base_url, self._login())

    def _open(self, url: str, auth: httpx.Auth | None = None) -> httpx.Client:
        return open_client(
            url,
            connect_timeout_s=self.connect_timeout_s,
            read_timeout_s=self.read_timeout_s,
            is_private=self.private,
            authorities=self._authorities(),
            auth=auth,
        )

    def _authorities(self) -> ssl.SSLContext | None:
        try:
            return ssl.create_default_context(cafile=self.ca_location) if self.ca_location else None
        except OSError as error:
            raise ConfigurationError(f"ca_location of the HTTP API cannot be used: {error}") from None

    def _login(self) -> httpx.Auth | None:
        if self.auth == "api-key":
            return ApiKey(self.api_key_header, self._key())
        if self.auth == "oauth2":
            assert self.token_url
            assert self.client_id
            return ClientCredentials(self.token_url, self.client_id, self.scope, self._key(), self._open)
        return None

    def _key(self) -> PasswordSource:
        header = "the key of the HTTP API block" if self.auth == "api-key" else ""  # a form carries all characters
        return secret_source(self.key, self.key_secret, header)

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> Self:
        if fault := self._fault_of_place() or self._fault_of_login():
            raise ConfigurationError(f"HTTP API: {fault}")  # not a ValueError, which would show the input
        return self

    def _fault_of_place(self) -> str | None:
        url = _read(self.base_url)
        if url is None:
            return "base_url cannot be read"
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
            return "base_url wants https://, a host and a path, without user, password and question mark"
        if self.auth != "none" and url.scheme != "https":
            return "http:// would show the login to the network: name https:// in base_url"
        return self._fault_of_address("base_url", url)

    def _fault_of_address(self, field: str, url: httpx.URL) -> str | None:
        """What a name leads to is seen when the client connects."""
        address = written_address(url.host)
        fault = fault_of_address(address, is_private=self.private) if address else None
        return f"{field} names {fault}" if fault else None

    def _fault_of_login(self) -> str | None:
        given = bool(self.key and self.key.get_secret_value())
        if given and self.key_secret:
            return "there is one key: remove key, or key_secret"
        secret = given or bool(self.key_secret)
        if self.auth == "none":
            return "there is a key for no login: choose auth, or remove the key" if secret else None
        if not secret:
            return f"{self.auth} needs a key: fill in key, or key_secret"
        if self.auth == "oauth2":
            return self._fault_of_oauth2()
        if not HEADER_NAME.fullmatch(self.api_key_header):
            return "api_key_header wants the name of a header: letters, digits and dashes"
        return None

    def _fault_of_oauth2(self) -> str | None:
        url = _read(self.token_url or "")
        if not self.client_id or not url or url.scheme != "https" or not url.host or url.userinfo or url.fragment:
            return "oauth2 needs a client_id, and a token_url with https:// and a host, without user and password"
        return self._fault_of_address("token_url", url)


def _read(url: str) -> httpx.URL | None:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL:
        return None
