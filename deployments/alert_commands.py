"""`dpa alerts`: set the channel of alerts, apply them, and try them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from freight.errors import ConfigurationError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

# Like all commands of `dpa`, one imports its modules when it runs.

app = typer.Typer(no_args_is_help=True, help="Set, apply and try the alerts that Prefect sends to people.")

KEY = "DPA_ALERT_KEY"

Kind = Literal["teams", "slack", "email", "sms", "webhook"]
Channel = Annotated[str, typer.Option(help="Name of the Alert Channel block.")]


@app.command(name="set")
def set_command(
    kind: Annotated[Kind, typer.Argument(help="Kind of the channel.")],
    vault: Annotated[str | None, typer.Option(help="URL of the Key Vault that holds the key.")] = None,
    secret: Annotated[str | None, typer.Option(help="Name of the secret in the vault.")] = None,
    sender: Annotated[str | None, typer.Option(help="Mailbox or phone number that sends.")] = None,
    recipient: Annotated[list[str] | None, typer.Option(help="Mailbox or phone number; may be repeated.")] = None,
    account: Annotated[str | None, typer.Option(help="Account SID of Twilio.")] = None,
    channel: Channel = "alerts",
) -> None:
    """Save the channel and apply the alerts to it.

    The key is asked for, or read from standard input or DPA_ALERT_KEY, so that no history keeps it.
    """
    from pydantic import SecretStr

    from blocks.alert_channel import AlertChannel
    from blocks.key_vault import KeyVaultSecret
    from deployments import automations

    if (vault is None) != (secret is None):
        raise ConfigurationError("a key in a vault needs both --vault and --secret")
    in_vault = KeyVaultSecret.model_validate({"vault": {"url": vault}, "name": secret}) if vault else None
    key = None if in_vault else SecretStr(_read_key(kind))
    block = AlertChannel(
        kind=kind, key=key, key_secret=in_vault, sender=sender, recipients=recipient or [], account=account
    )
    with _server() as client:
        block.save(channel, overwrite=True)
        print(automations.apply(client, channel))
    print("To send a test alert: dpa alerts try")


def _read_key(kind: str) -> str:
    """Return the key, which is never an argument: others could read that, and a shell keeps it."""
    if key := os.environ.get(KEY):
        return key
    if sys.stdin.isatty():
        return str(typer.prompt(f"Key of {kind} (docs/alerts.md)", hide_input=True)).strip()
    return sys.stdin.readline().strip()


@app.command(name="apply")
def apply_command(channel: Channel = "alerts") -> None:
    """Apply the alerts again, after a change of the key in its vault or an update of DPA."""
    from deployments import automations

    with _server() as client:
        print(automations.apply(client, channel))


@app.command(name="try")
def try_command() -> None:
    """Send a test alert along the way of all alerts."""
    from deployments import automations

    with _server():
        automations.try_out()
    print("A test alert is on its way")


@contextmanager
def _server() -> "Iterator[SyncPrefectClient]":
    """Yield a client of the server that sends alerts: the one of the settings, else that of `make up`."""
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL

    from deployments.local import running_endpoint
    from freight.settings import load_settings
    from tasks.temporary_server import login_hint

    url = PREFECT_API_URL.value()
    ours = None if url else running_endpoint(load_settings())
    if not url and ours is None:
        raise ConfigurationError("no Prefect server is running here: make up, or set PREFECT_API_URL")
    with login_hint(), ours.client() if ours else get_client(sync_client=True) as client:
        if error := client.api_healthcheck():
            raise ConfigurationError(f"Prefect does not answer at {url or client.api_url}: {error}")
        yield client
