"""Who this process is for Azure, which hosts may see that, and how long Azure may take to answer."""

import asyncio
import re
from functools import cache
from typing import Any, NamedTuple, Self

from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import AzureError, HttpResponseError

from freight.errors import ConfigurationError
from freight.secrets import accepted, redacted
from freight.settings import AzureCloud, azure_cloud, azure_secrets

ANSWER_S = 5  # by default Azure is asked for many minutes, and a listener has to poll
PATIENCE: dict[str, Any] = {"connection_timeout": ANSWER_S, "read_timeout": ANSWER_S, "retry_total": 1}
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
CODE = re.compile(r"[A-Za-z0-9_.-]{1,80}")  # of an answer: a word, such as SecretNotFound


class Cloud(NamedTuple):
    """A cloud of Azure: who gives its tokens, and the domains of the services that they are for.

    Attributes:
        authority: host that gives tokens.
        vault, blob, postgresql, sql, event_hubs: domains below which a service has its hosts.
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
    """Return the cloud that this installation works with; see `azure_cloud`."""
    return CLOUDS[azure_cloud()]


def is_below(host: str, domains: tuple[str, ...]) -> bool:
    """Whether a host is one of Azure's own: labels of a name, and then one of the domains, without a dot behind it."""
    lowered = host.lower()
    names = [lowered.removesuffix(f".{domain}") for domain in domains if lowered.endswith(f".{domain}")]
    return lowered.isascii() and any(all(map(LABEL.fullmatch, name.split("."))) for name in names)


def refuse_foreign(host: str, domains: tuple[str, ...]) -> None:
    """Refuse to show who this process is to a host that is not Azure's own.

    Raises:
        ConfigurationError: it is another one.
    """
    if not is_below(host, domains):
        raise ConfigurationError(
            f"{host!r} is not below {' or '.join(domains)}, and no other host is given a token of this identity: "
            "correct the host, set DPA_AZURE_CLOUD for a sovereign cloud, or log in otherwise"
        )


@cache  # it keeps its tokens until they expire
def machine_credential() -> TokenCredential:
    """Return what this machine has: a workload or managed identity, a service principal's variables, `az login`."""
    from azure.identity import DefaultAzureCredential  # a slow import, which few need

    return CheckedCredential(DefaultAzureCredential(authority=cloud().authority, **PATIENCE))


class CheckedCredential:
    """A credential whose tokens fit into a header: whoever sends another one repeats it in an error."""

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Return a token.

        Raises:
            ConfigurationError: it cannot be sent.
        """
        given = self._credential.get_token(*scopes, **options)
        return AccessToken(accepted(given.token, "the token of Azure", ascii_only=True), given.expires_on)


class WaitingCredential:
    """The identity that this machine has, for a client that must not be held up."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Return a token; see `machine_credential`."""
        return await asyncio.to_thread(machine_credential().get_token, *scopes, **options)

    async def close(self) -> None:
        """Do nothing: others use the identity, too."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def told(error: AzureError, *secrets: str) -> str:
    """Return what an error of Azure says, without what was sent: of an answer only its number and its code.

    Args:
        error: of a library of Azure.
        secrets: The secrets that it was given, besides those that it takes from the environment by itself.
    """
    if isinstance(error, HttpResponseError) and error.response is not None:
        code = str(getattr(error.error, "code", ""))
        return f"{error.status_code} {code if CODE.fullmatch(code) else ''}".strip()
    return redacted(error.message, *secrets, *azure_secrets())
