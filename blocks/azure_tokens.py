"""Tokens of Azure for a Kafka client, such as those of a workload identity."""

from collections.abc import Callable

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError

from blocks.azure_identity import machine_credential
from freight.errors import TransientError

# Called with the client's `sasl.oauthbearer.config`; returns a token and when it expires, in seconds since 1970.
TokenSource = Callable[[str], tuple[str, float]]


def azure_tokens(host: str, credential: TokenCredential | None = None) -> TokenSource:
    """Return a source of tokens, which raises a `TransientError` when Azure gives none.

    Kafka's client asks it in a thread of its own, before a token expires; a credential keeps its token until then.

    Args:
        host: of the Event Hubs namespace, such as my-namespace.servicebus.windows.net.
        credential: logs in to Azure; by default `machine_credential`.
    """
    known, scope = credential or machine_credential(), f"https://{host}/.default"

    def token(_: str) -> tuple[str, float]:
        try:
            given = known.get_token(scope)
        except AzureError as error:
            raise TransientError(f"Azure gives no token for Kafka: {error}") from None
        return given.token, float(given.expires_on)

    return token
