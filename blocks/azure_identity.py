"""The Azure identity of this process, the hosts that may receive its tokens, and the time limits for Azure."""

import asyncio
import re
from functools import cache
from typing import Any, NamedTuple, Self

from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import AzureError, HttpResponseError

from freight.errors import ConfigurationError
from freight.secrets import accepted, redacted
from freight.settings import AzureCloud, azure_cloud, azure_secrets

ANSWER_S = 5  # Azure's clients retry for many minutes by default, but a listener has to poll
TIMEOUTS: dict[str, Any] = {"connection_timeout": ANSWER_S, "read_timeout": ANSWER_S, "retry_total": 1}
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
CODE = re.compile(r"[A-Za-z0-9_.-]{1,80}")  # an error code of a response, such as SecretNotFound


class Cloud(NamedTuple):
    """An Azure cloud: its token authority, and the domains of the services that accept its tokens.

    Attributes:
        authority: The host that issues tokens.
        vault, blob, postgresql, sql, event_hubs: The parent domains of a service's hosts.
        postgresql_scope: The scope of a token for PostgreSQL.
    """

    authority: str
    vault: tuple[str, ...]
    blob: tuple[str, ...]
    postgresql: tuple[str, ...]
    sql: tuple[str, ...]
    event_hubs: tuple[str, ...]
    postgresql_scope: str


CLOUDS: dict[AzureCloud, Cloud] = {
    "public": Cloud(
        authority="login.microsoftonline.com",
        vault=("vault.azure.net",),
        blob=("blob.core.windows.net", "blob.storage.azure.net"),
        postgresql=("postgres.database.azure.com",),
        sql=("database.windows.net", "sql.azuresynapse.net", "database.fabric.microsoft.com"),
        event_hubs=("servicebus.windows.net",),
        postgresql_scope="https://ossrdbms-aad.database.windows.net/.default",
    ),
    "china": Cloud(
        authority="login.chinacloudapi.cn",
        vault=("vault.azure.cn",),
        blob=("blob.core.chinacloudapi.cn",),
        postgresql=("postgres.database.chinacloudapi.cn",),
        sql=("database.chinacloudapi.cn",),
        event_hubs=("servicebus.chinacloudapi.cn",),
        postgresql_scope="https://ossrdbms-aad.database.chinacloudapi.cn/.default",
    ),
    "usgov": Cloud(
        authority="login.microsoftonline.us",
        vault=("vault.usgovcloudapi.net",),
        blob=("blob.core.usgovcloudapi.net",),
        postgresql=("postgres.database.usgovcloudapi.net",),
        sql=("database.usgovcloudapi.net",),
        event_hubs=("servicebus.usgovcloudapi.net",),
        postgresql_scope="https://ossrdbms-aad.database.usgovcloudapi.net/.default",
    ),
}


def cloud() -> Cloud:
    """Return the Azure cloud of this installation; see `azure_cloud`."""
    return CLOUDS[azure_cloud()]


def is_below(host: str, domains: tuple[str, ...]) -> bool:
    """Whether a host belongs to Azure: DNS labels followed by one of the domains, without a trailing dot."""
    lowered = host.lower()
    names = [lowered.removesuffix(f".{domain}") for domain in domains if lowered.endswith(f".{domain}")]
    return lowered.isascii() and any(all(map(LABEL.fullmatch, name.split("."))) for name in names)


def refuse_foreign(host: str, domains: tuple[str, ...]) -> None:
    """Refuse to send this process's identity to a host that is not Azure's own.

    Raises:
        ConfigurationError: The host is not Azure's.
    """
    if not is_below(host, domains):
        raise ConfigurationError(
            f"{host!r} is not below {' or '.join(domains)}, and no other host may receive a token of this identity: "
            "correct the host, set DPA_AZURE_CLOUD for a sovereign cloud, or log in otherwise"
        )


@cache  # it keeps its tokens until they expire
def machine_credential() -> TokenCredential:
    """Return this machine's credential: a workload or managed identity, a service principal, or `az login`."""
    from azure.identity import DefaultAzureCredential  # a slow import that few installations need

    return CheckedCredential(DefaultAzureCredential(authority=cloud().authority, **TIMEOUTS))


class CheckedCredential:
    """A credential that checks its tokens for use in a header: an error of the client would quote an invalid one."""

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Return a token.

        Raises:
            ConfigurationError: The token cannot be sent.
        """
        given = self._credential.get_token(*scopes, **options)
        return AccessToken(accepted(given.token, "the token of Azure", ascii_only=True), given.expires_on)


class WaitingCredential:
    """The identity of this machine, for an asynchronous client."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Return a token; see `machine_credential`."""
        return await asyncio.to_thread(machine_credential().get_token, *scopes, **options)

    async def close(self) -> None:
        """Do nothing: other clients share the identity."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def safe_text(error: AzureError, *secrets: str) -> str:
    """Return an Azure error's message without the request: of a response only its status and its code.

    Args:
        error: The error of an Azure library.
        secrets: The secrets that the library received, besides those that it reads from the environment itself.
    """
    if isinstance(error, HttpResponseError) and error.response is not None:
        code = str(getattr(error.error, "code", ""))
        return f"{error.status_code} {code if CODE.fullmatch(code) else ''}".strip()
    return redacted(error.message, *secrets, *azure_secrets())
