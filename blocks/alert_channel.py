"""The destination of alerts as a Prefect block: a Teams or Slack channel, mailboxes, phones, or any webhook."""

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
    # Unencrypted only on this machine: the URL is the secret.
    "webhook": (
        re.compile(r"(https://|http://(127\.0\.0\.1|localhost)(:\d+)?/)[^\s@\\]+"),
        "the URL that accepts a POST of JSON, https://…, without a user",
    ),
}


class AlertChannel(SecretFields, Block):
    """The destination of alerts.

    Prefect's server sends them, without our code: `dpa alerts apply` turns this block into one of Prefect's own kinds.

    Attributes:
        kind: The kind of channel.
        key: The secret that gives write access to it.
        sender: The mailbox or phone number that sends the messages.
        recipients: The mailboxes or phone numbers that receive them.
        account: The Twilio account.
        key_secret: The key as a Key Vault secret, which is read when the alerts are applied.

    Example:
        Save the channel once, then load it by name:
        ```python
        from blocks.alert_channel import AlertChannel

        AlertChannel(kind="slack", key="https://hooks.slack.com/services/…").save("BLOCK_NAME")
        channel = AlertChannel.load("BLOCK_NAME")
        channel.sender_block()
        ```
    """

    _block_type_name: ClassVar[str] = "Alert Channel"
    _block_type_slug: ClassVar[str] = "alert-channel"  # never rename: it is the key of the stored blocks
    _description: ClassVar[str] = "Destination of alerts: a Teams or Slack channel, mailboxes, phones, or any webhook."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://docs.prefect.io/v3/concepts/automations")

    # Never reorder: the order is part of Prefect's stored schema and of its form.
    kind: Kind = Field(description="Kind of channel: teams, slack, email (SendGrid), sms (Twilio), or webhook.")
    key: SecretStr | None = Field(
        default=None,
        description="URL of the webhook (teams, slack, webhook), API key of SendGrid (email), or auth token of Twilio.",
    )
    sender: str | None = Field(
        default=None, description="Mailbox (email) or phone number (sms) that sends the messages."
    )
    recipients: list[str] = Field(
        default_factory=list, description="Mailboxes (email) or phone numbers (sms) that receive them."
    )
    account: str | None = Field(default=None, description="Account SID of Twilio (sms).")
    key_secret: KeyVaultSecret | None = Field(
        default=None, description="The key as a Key Vault secret, instead of the field key."
    )

    def sender_block(self) -> Block:
        """Return Prefect's own block with which its server sends; it holds the key and must not be logged.

        Raises:
            ConfigurationError: The key in the vault is not of this kind, or must not be read.
            TransientError: The vault does not answer.
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
            raise ConfigurationError(f"alert channel: {fault}")  # a ValueError would show the input
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
            return f"kind {self.kind} needs a sender and recipients: {said}"
        return self._fault_of_account()

    def _fault_of_account(self) -> str | None:
        if self.kind == "email":
            return "kind email needs no account: remove it" if self.account else None
        fits = ACCOUNT.fullmatch(self.account or "")
        return None if fits else "kind sms needs the account SID of Twilio, AC and 32 hexadecimal digits"
