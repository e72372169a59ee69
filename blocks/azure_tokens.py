"""Azure tokens in place of passwords, such as those of a workload identity."""

from collections.abc import Callable

from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import AzureError

from blocks.azure_identity import CheckedCredential, cloud, machine_credential, refuse_foreign, safe_text
from freight.errors import TransientError
from freight.types import PasswordSource

# Called with the client's `sasl.oauthbearer.config`; returns a token and its expiry, in seconds since 1970.
TokenSource = Callable[[str], tuple[str, float]]


def azure_tokens(host: str, credential: TokenCredential | None = None) -> TokenSource:
    """Return a token source for Kafka; it raises a `TransientError` if Azure issues none.

    Kafka's client calls it in a thread of its own before a token expires; the credential caches its token until then.

    Args:
        host: The host of the Event Hubs namespace, such as my-namespace.servicebus.windows.net.
        credential: The login to Azure; by default `machine_credential`.

    Raises:
        ConfigurationError: The host is not an Event Hubs namespace, and the token would be this machine's.
    """
    if credential is None:
        refuse_foreign(host, cloud().event_hubs)
    known = credential or machine_credential()

    def token(_: str) -> tuple[str, float]:
        given = _given(known, f"https://{host}/.default", "Kafka")
        return given.token, float(given.expires_on)

    return token


def azure_passwords(credential: TokenCredential | None = None) -> PasswordSource:
    """Return a source of tokens as PostgreSQL passwords; it raises a `TransientError` if Azure issues none.

    A token has to be valid only during the login, so each connection takes the current one.

    Args:
        credential: The login to Azure; by default `machine_credential`.
    """
    known = credential or machine_credential()

    def password(*, fresh: bool = False) -> str:  # noqa: ARG001 - a credential knows itself when to ask anew
        return _given(known, cloud().postgresql_scope, "PostgreSQL").token

    return password


def _given(credential: TokenCredential, scope: str, taker: str) -> AccessToken:
    try:
        return CheckedCredential(credential).get_token(scope)
    except AzureError as error:
        raise TransientError(f"Azure issues no token for {taker}: {safe_text(error)}") from None
