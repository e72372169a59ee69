"""Where alerts go, as a Prefect block: a Teams or Slack channel, mailboxes, phones, or any webhook."""

import re
from typing import ClassVar, Literal, Self

from prefect.blocks.core import Block
from prefect.blocks.notifications import MicrosoftTeamsWebhook, SendgridEmail, SlackWebhook, TwilioSMS
from prefect.blocks.webhook import Webhook
from prefect.types import SecretDict
from pydantic import Field, HttpUrl, SecretStr, model_validator

from blocks.key_vault import KeyVaultSecret, secret_source
from blocks.secret_fields import SecretFields
from freight.errors import ConfigurationError

Kind = Literal["teams", "slack", "email", "sms", "webhook"]

MAILBOX = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
PHONE = re.compile(r"\+?[0-9]{11,14}")
ACCOUNT = re.compile(r"AC[0-9a-fA-F]{32}")
KEYS: dict[Kind, tuple[re.Pattern[str], str]] = {
    "teams": (
        re.compile(
            r"https://[\w.-]+(:\d+)?(/powerautomate/[^\s?]+)?/workflows/[\w-]+/triggers/manual/paths/invoke/?\?\S*sig=\S+"
        ),
        "the URL that the workflow of a Teams channel shows, https://…/triggers/manual/paths/invoke?…&sig=…",
    ),
    "slack": (
        re.compile(r"https://hooks\.slack(-gov)?\.com/(services|workflows|triggers)/\S+"),
        "the URL of an incoming webhook, https://hooks.slack.com/services/…",
    ),
    "email": (re.compile(r"SG\.\S+"), "an API key of SendGrid, which begins with SG."),
    "sms": (re.compile(r"[0-9a-fA-F]{32}"), "the auth token of a Twilio account, 32 hexadecimal digits"),
    # Unencrypted on this machine only: the URL is the secret.
    "webhook": (
        re.compile(r"(https://|http://(127\.0\.0\.1|localhost)(:\d+)?/)[^\s@\\]+"),
        "the URL that takes a POST of JSON, https://…, without a user",
    ),
}


class AlertChannel(SecretFields, Block):
    """Where alerts go.

    Prefect's server sends them, and it knows no code of ours: `python -m deployments.automations apply` makes a block
    of its own kinds out of this one.

    Attributes:
        kind: of the channel.
        key: the secret that lets somebody write to it.
        sender: mailbox or phone number that the messages come from.
        recipients: mailboxes or phone numbers that get them.
        account: of Twilio.
        key_secret: the key as a secret of a Key Vault, which is read when the alerts are applied.

    Example:
        Keep the channel once, then load it by its name:
        ```python
        from blocks.alert_channel import AlertChannel

        AlertChannel(kind="slack", key="https://hooks.slack.com/services/…").save("BLOCK_NAME")
        channel = AlertChannel.load("BLOCK_NAME")
        channel.sender_block()
        ```
    """

    _block_type_name: ClassVar[str] = "Alert Channel"
    _block_type_slug: ClassVar[str] = "alert-channel"  # never rename: it is the key of what is stored
    _description: ClassVar[str] = "Where alerts go: a Teams or Slack channel, mailboxes, phones, or any webhook."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://docs.prefect.io/v3/concepts/automations")

    # Never reorder: the order is part of the schema that Prefect stores, and of the form that it shows.
    kind: Kind = Field(description="What it is: teams, slack, email (SendGrid), sms (Twilio), or webhook.")
    key: SecretStr | None = Field(
        default=None,
        description="URL of the webhook (teams, slack, webhook), API key of SendGrid (email), or auth token of Twilio.",
    )
    sender: str | None = Field(
        default=None, description="Mailbox (email) or phone number (sms) that the messages come from."
    )
    recipients: list[str] = Field(
        default_factory=list, description="Mailboxes (email) or phone numbers (sms) that get them."
    )
    account: str | None = Field(default=None, description="Account SID of Twilio (sms).")
    key_secret: KeyVaultSecret | None = Field(
        default=None, description="The key as a secret of a Key Vault, instead of the field key."
    )

    def sender_block(self) -> Block:
        """Return the block of Prefect's own by which its server sends; it holds the key and must not be logged.

        Raises:
            ConfigurationError: the key in the vault cannot be one of this kind, or may not be read.
            TransientError: the vault does not answer.
        """
        key = self._read_key()
        if fault := self._fault_of_key(key):
            raise ConfigurationError(f"alert channel: {fault}")
        match self.kind:
            case "teams":
                return MicrosoftTeamsWebhook(url=SecretStr(key), include_image=False)
            case "slack":
                return SlackWebhook(url=SecretStr(key))
            case "email":
                return SendgridEmail(api_key=SecretStr(key), sender_email=self.sender or "", to_emails=self.recipients)
            case "sms":
                return TwilioSMS(
                    account_sid=self.account or "",
                    auth_token=SecretStr(key),
                    from_phone_number=self.sender or "",
                    to_phone_numbers=self.recipients,
                )
            case "webhook":
                return Webhook(url=SecretStr(key), headers=SecretDict({"Content-Type": "application/json"}))

    def _read_key(self) -> str:
        return secret_source(self.key, self.key_secret, "the key of the Alert Channel block")()

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> Self:
        if fault := self._fault_of_keys() or self._fault_of_addresses():
            raise ConfigurationError(f"alert channel: {fault}")  # not a ValueError, which would show the input
        return self

    def _fault_of_keys(self) -> str | None:
        if self.key and self.key_secret:
            return "there is one key: remove key, or key_secret"
        return None if self.key_secret else self._fault_of_key(self._read_key())

    def _fault_of_key(self, key: str) -> str | None:
        pattern, wanted = KEYS[self.kind]
        return None if pattern.fullmatch(key) else f"the key of kind {self.kind} is {wanted}"

    def _fault_of_addresses(self) -> str | None:
        if self.kind not in ("email", "sms"):
            given = bool(self.sender or self.recipients or self.account)
            return f"kind {self.kind} needs only its key: remove sender, recipients and account" if given else None
        address, said = (
            (MAILBOX, "mailboxes") if self.kind == "email" else (PHONE, "phone numbers such as +237612345678")
        )
        addresses = [self.sender or "", *self.recipients]
        if len(addresses) < 2 or not all(map(address.fullmatch, addresses)):
            return f"kind {self.kind} needs a sender and recipients, which are {said}"
        return self._fault_of_account()

    def _fault_of_account(self) -> str | None:
        if self.kind == "email":
            return "kind email needs no account: remove it" if self.account else None
        fits = ACCOUNT.fullmatch(self.account or "")
        return None if fits else "kind sms needs the account SID of Twilio, AC and 32 hexadecimal digits"
