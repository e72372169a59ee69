"""Tokens of Azure for a Kafka client, such as those of a workload identity."""

from collections.abc import Callable

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError

from freight.errors import TransientError

# Called with the client's `sasl.oauthbearer.config`; returns a token and when it expires, in seconds since 1970.
TokenSource = Callable[[str], tuple[str, float]]

ANSWER_S = 5  # for Azure; by default it is asked for many minutes, and a listener has to poll


def azure_tokens(host: str, credential: TokenCredential | None = None) -> TokenSource:
    """Return a source of tokens, which raises a `TransientError` when Azure gives none.

    Kafka's client asks it in a thread of its own, before a token expires; a credential keeps its token until then.

    Args:
        host: of the Event Hubs namespace, such as my-namespace.servicebus.windows.net.
        credential: logs in to Azure; by default whatever this machine has: a workload identity, a managed identity, the
            variables of a service principal, or the login of a developer.
    """
    known, scope = credential or _credential_of_this_machine(), f"https://{host}/.default"

    def token(_: str) -> tuple[str, float]:
        try:
            given = known.get_token(scope)
        except AzureError as error:
            raise TransientError(f"Azure gives no token for Kafka: {error}") from None
        return given.token, float(given.expires_on)

    return token


def _credential_of_this_machine() -> TokenCredential:
    from azure.identity import DefaultAzureCredential  # a slow import, which few need

    return DefaultAzureCredential(connection_timeout=ANSWER_S, read_timeout=ANSWER_S, retry_total=1)
