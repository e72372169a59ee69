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
    """The URL of an HTTP API and the login to it.

    Attributes:
        base_url: The URL of the API.
        auth: The kind of login.
        key: The API key; with OAuth2 the client secret.
        key_secret: The same as a Key Vault secret, which may change while a client is in use.
        api_key_header: The header for the API key.
        token_url: The OAuth2 token endpoint.
        client_id: The OAuth2 client.
        scope: The OAuth2 scope.
        connect_timeout_s: The limit for opening a connection.
        read_timeout_s: The limit for the next bytes; status and headers must arrive within the sum of both.
        ca_location: The PEM file of its certificate authority.
        private: True if it, or the token server, is in a private network or on this machine.

    Example:
        Save the API once, then load it by name:
        ```python
        from blocks.http_api import HttpApi

        HttpApi(base_url="https://erp.example.org/v1", auth="api-key", key="…").save("BLOCK_NAME")
        api = HttpApi.load("BLOCK_NAME")
        with api.client() as client:
            client.get("machines").raise_for_status()
        ```
    """

    _block_type_name: ClassVar[str] = "HTTP API"
    _block_type_slug: ClassVar[str] = "http-api"  # never rename: it is the key of the stored blocks
    _description: ClassVar[str] = "URL of an HTTP API and the login to it."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://www.python-httpx.org/advanced/clients/")

    # Never reorder: the order is part of Prefect's stored schema and of its form.
    base_url: str = Field(description="URL of the API.", examples=["https://erp.example.org/v1"])
    auth: Literal["none", "api-key", "oauth2"] = Field(
        default="none", description="Kind of login: none, an API key, or the client credentials of OAuth2."
    )
    key: SecretStr | None = Field(default=None, description="API key; with OAuth2 the client secret.")
    key_secret: KeyVaultSecret | None = Field(
        default=None, description="The same as a Key Vault secret, instead of the field key."
    )
    api_key_header: str = Field(default="X-Api-Key", description="Header for the API key.")
    token_url: str | None = Field(
        default=None,
        description="Token endpoint of OAuth2.",
        examples=["https://login.microsoftonline.com/TENANT/oauth2/v2.0/token"],
    )
    client_id: str | None = Field(default=None, description="Client of OAuth2.")
    scope: str | None = Field(default=None, description="Scope of the OAuth2 tokens, if the server requires one.")
    connect_timeout_s: float = Field(default=5.0, gt=0, description="Limit in seconds for opening a connection.")
    read_timeout_s: float = Field(default=30.0, gt=0, description="Limit in seconds for the next bytes of a response.")
    ca_location: str | None = Field(
        default=None, description="PEM file of the API's certificate authority; empty for the public ones."
    )
    private: bool = Field(
        default=False,
        description="The API is in a private network or on this machine; otherwise only public addresses are allowed.",
    )

    def client(self) -> httpx.Client:
        """Return a client that reaches this API and no other host, whatever the request or redirect.

        A response may take half an hour, its status and headers the sum of both timeouts; see `freight.web`. The client
        raises httpx's own errors, and on connecting and logging in:

        Raises:
            ConfigurationError: The login is refused, the request is for another host, or the address is forbidden.
            TransientError: The Key Vault or the token server does not answer.
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
        header = "the key of the HTTP API block" if self.auth == "api-key" else ""  # a form can carry all characters
        return secret_source(self.key, self.key_secret, header)

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> Self:
        if fault := self._fault_of_place() or self._fault_of_login():
            raise ConfigurationError(f"HTTP API: {fault}")  # a ValueError would show the input
        return self

    def _fault_of_place(self) -> str | None:
        url = _read(self.base_url)
        if url is None:
            return "base_url cannot be read"
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
            return "base_url needs https://, a host and a path, without user, password and query"
        if self.auth != "none" and url.scheme != "https":
            return "http:// would show the login to the network: name https:// in base_url"
        return self._fault_of_address("base_url", url)

    def _fault_of_address(self, field: str, url: httpx.URL) -> str | None:
        """Check literal addresses; the client checks those of names when it connects."""
        address = written_address(url.host)
        fault = fault_of_address(address, is_private=self.private) if address else None
        return f"{field} names {fault}" if fault else None

    def _fault_of_login(self) -> str | None:
        given = bool(self.key and self.key.get_secret_value())
        if given and self.key_secret:
            return "there is one key: remove key, or key_secret"
        secret = given or bool(self.key_secret)
        if self.auth == "none":
            return "there is a key, but auth is none: choose auth, or remove the key" if secret else None
        if not secret:
            return f"{self.auth} needs a key: fill in key, or key_secret"
        if self.auth == "oauth2":
            return self._fault_of_oauth2()
        if not HEADER_NAME.fullmatch(self.api_key_header):
            return "api_key_header needs the name of a header: letters, digits and dashes"
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
