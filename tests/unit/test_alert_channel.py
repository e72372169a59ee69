"""The Alert Channel block: what it refuses and why, what Prefect's server gets of it, and what arrives in Teams."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.notifications import MicrosoftTeamsWebhook
from pydantic import SecretStr, ValidationError

from blocks.alert_channel import AlertChannel
from blocks.key_vault import KeyVault, KeyVaultSecret
from freight.errors import ConfigurationError
from tests.lib.certificates import write_certificates
from tests.lib.serving import HttpHandler, Served
from tests.lib.vault import StandInVault

# What sends to Slack and the like imports a module that Python 3.13 drops.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")

CANARY = "canary0123456789"
TEAMS = f"https://prod-1.westeurope.logic.azure.com:443/workflows/W1/triggers/manual/paths/invoke?sv=1.0&sig={CANARY}"
POWER = (
    "https://default0.00.environment.api.powerplatform.com:443/powerautomate/automations/direct/workflows/W1"
    f"/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={CANARY}"
)
SLACK = f"https://hooks.slack.com/services/T0/B0/{CANARY}"
TWILIO = "0123456789abcdef" * 2
MAIL: dict[str, Any] = {"sender": "dpa@example.org", "recipients": ["ops@example.org", "night@example.org"]}
SMS: dict[str, Any] = {"sender": "+237612345678", "recipients": ["+237612345679"], "account": f"AC{TWILIO}"}


@pytest.mark.parametrize(
    ("kind", "key", "more", "slug"),
    [
        ("teams", TEAMS, {}, "ms-teams-webhook"),
        ("teams", POWER, {}, "ms-teams-webhook"),
        ("slack", SLACK, {}, "slack-webhook"),
        ("email", f"SG.{CANARY}", MAIL, "sendgrid-email"),
        ("sms", TWILIO, SMS, "twilio-sms"),
        ("webhook", f"https://example.org/{CANARY}", {}, "webhook"),
    ],
)
def test_the_server_gets_a_block_of_its_own_kinds_and_nobody_sees_the_key(
    kind: Any, key: str, more: dict[str, Any], slug: str, caplog: pytest.LogCaptureFixture
) -> None:
    channel = AlertChannel(kind=kind, key=SecretStr(key), **more)
    sender = channel.sender_block()
    assert sender.get_block_type_slug() == slug
    shown = [
        repr(channel),
        str(channel.model_dump()),
        channel.model_dump_json(),
        repr(sender),
        sender.model_dump_json(),
    ]
    assert [text for text in [*shown, caplog.text] if CANARY in text or TWILIO in text.replace(f"AC{TWILIO}", "")] == []


@pytest.mark.parametrize(
    ("fields", "remedy"),
    [
        ({"kind": "teams", "key": SLACK}, "the URL that the workflow of a Teams channel shows"),
        ({"kind": "teams", "key": "https://x.webhook.office.com/webhookb2/canary"}, "workflow of a Teams channel"),
        ({"kind": "slack", "key": f"http://example.org/{CANARY}"}, "the URL of an incoming webhook"),
        ({"kind": "slack"}, "the URL of an incoming webhook"),
        ({"kind": "slack", "key": SLACK, **MAIL}, "remove sender, recipients and account"),
        ({"kind": "email", "key": CANARY, **MAIL}, "begins with SG."),
        ({"kind": "email", "key": f"SG.{CANARY}"}, "needs a sender and recipients: mailboxes"),
        ({"kind": "email", "key": f"SG.{CANARY}", **MAIL, "recipients": ["ops"]}, "recipients: mailboxes"),
        ({"kind": "email", "key": f"SG.{CANARY}", **MAIL, "account": "AC0"}, "needs no account: remove it"),
        ({"kind": "sms", "key": TWILIO, **SMS, "recipients": ["612"]}, "phone numbers such as"),
        ({"kind": "sms", "key": TWILIO, **SMS, "account": None}, "needs the account SID of Twilio"),
        ({"kind": "sms", "key": CANARY, **SMS}, "the auth token of a Twilio account"),
        ({"kind": "webhook", "key": "example.org"}, "the URL that accepts a POST"),
        ({"kind": "webhook", "key": f"http://example.org/{CANARY}"}, "the URL that accepts a POST of JSON, https://"),
        ({"kind": "webhook", "key": f"http://127.0.0.1@example.org/{CANARY}"}, "the URL that accepts a POST"),
        ({"kind": "webhook", "key": f"http://localhost.example.org/{CANARY}"}, "the URL that accepts a POST"),
        ({"kind": "webhook", "key": f"https://localhost@example.org/{CANARY}"}, "without a user"),
        ({"kind": "webhook", "key": f"https://example.org/{CANARY}é"}, "not ASCII"),
        ({"kind": "slack", "key": f"{SLACK}\nX"}, "the field key of the Alert Channel block has a line end"),
        ({"kind": "teams", "key": TEAMS.replace("logic.azure", "x@example")}, "the workflow of a Teams channel"),
        (
            {"kind": "slack", "key": SLACK, "key_secret": {"vault": {"url": "https://v.vault.azure.net"}, "name": "s"}},
            "remove key, or key_secret",
        ),
    ],
)
def test_a_channel_that_cannot_work_is_refused_with_a_remedy(fields: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy) as refused:
        AlertChannel(**fields)
    assert "canary" not in repr(refused.value)


def test_a_fault_of_a_field_does_not_show_the_key() -> None:
    with pytest.raises(ValidationError) as refused:
        AlertChannel(kind="slack", key={"key": CANARY})  # type: ignore[arg-type]
    assert CANARY not in str(refused.value)


def test_the_key_may_be_in_a_vault_and_is_judged_when_it_is_read(vault: StandInVault) -> None:
    secret = KeyVaultSecret(vault=KeyVault(url=vault.url), name="slack")
    channel = AlertChannel(kind="slack", key_secret=secret)
    vault.set("slack", SLACK)
    assert channel.sender_block().url.get_secret_value() == SLACK  # type: ignore[attr-defined]
    other = AlertChannel(kind="teams", key_secret=secret)
    with pytest.raises(ConfigurationError, match="workflow of a Teams channel"):
        other.sender_block()


def test_a_message_arrives_in_teams_as_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards: list[dict[str, Any]] = []

    class Handler(HttpHandler):
        def do_POST(self) -> None:
            cards.append(json.loads(self.sent))
            self.answer(202)

    write_certificates(tmp_path / "ca.pem", tmp_path / "server.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with Served(Handler, tmp_path / "server.pem") as server:
        url = TEAMS.replace("prod-1.westeurope.logic.azure.com:443", f"localhost:{server.port}")
        sender = AlertChannel(kind="teams", key=SecretStr(url)).sender_block()
        assert isinstance(sender, MicrosoftTeamsWebhook)
        with sender.raise_on_failure():
            asyncio.run(sender.anotify(subject="DPA: listen Crashed", body="Source: listen\nReason: killed"))
    (card,) = cards
    texts = [part["text"] for part in card["attachments"][0]["content"]["body"]]
    assert texts[0] == "DPA: listen Crashed"
    assert "Reason: killed" in texts[1]
