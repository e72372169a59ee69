"""A mail server as a Prefect block."""

import smtplib
import ssl
from email.message import EmailMessage
from typing import ClassVar, Literal, Self

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, SecretStr, model_validator

from blocks.key_vault import KeyVaultSecret, secret_source
from blocks.secret_fields import SecretFields
from freight.errors import ConfigurationError, TransientError
from freight.secrets import secretly

ANSWER_S = 30
LATER = range(400, 500)  # replies of a server that may accept the mail later


class MailServer(SecretFields, Block):
    """A mail server, and the account that sends through it.

    Attributes:
        host, port: The address of the server.
        security: The encryption of the connection; a login is never sent without.
        username: The user; empty if the server needs no login.
        password: The user's password.
        password_secret: The same as a Key Vault secret, which is read when mail is sent.
        sender: The address of the sender.
        ca_location: The PEM file of the server's certificate authority.

    Example:
        Save the server once, then load it by name:
        ```python
        from blocks.mail_server import MailServer

        MailServer(host="smtp.example.org", username="dpa", password="…", sender="dpa@example.org").save("BLOCK_NAME")
        server = MailServer.load("BLOCK_NAME")
        server.send(message)
        ```
    """

    _block_type_name: ClassVar[str] = "Mail Server"
    _block_type_slug: ClassVar[str] = "mail-server"  # never rename: it is the key of the stored blocks
    _description: ClassVar[str] = "A mail server, and the account that sends through it."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://docs.python.org/3/library/smtplib.html")

    # Never reorder: the order is part of Prefect's stored schema and of its form.
    host: str = Field(description="Name of the server.", examples=["smtp.example.org"])
    port: int = Field(default=587, ge=1, le=65_535, description="Port: usually 587 with STARTTLS, 465 with TLS.")
    security: Literal["STARTTLS", "TLS", "NONE"] = Field(
        default="STARTTLS", description="Encryption of the connection; NONE only for a relay without a login."
    )
    username: str | None = Field(default=None, description="User; empty if the server needs no login.")
    password: SecretStr | None = Field(default=None, description="Password of the user.")
    password_secret: KeyVaultSecret | None = Field(
        default=None, description="The password as a Key Vault secret, instead of the field password."
    )
    sender: str = Field(description="Address of the sender.", examples=["dpa@example.org"])
    ca_location: str | None = Field(
        default=None, description="PEM file of the server's certificate authority; empty for those of the system."
    )

    def send(self, message: EmailMessage) -> None:
        """Send a message, with the sender of this block.

        Raises:
            ConfigurationError: The server refuses the login, the sender or a recipient, or cannot be trusted.
            TransientError: The server does not answer, or asks to retry later.
        """
        del message["From"]
        message["From"] = self.sender
        password = self._password() if self.username else ""
        try:
            refused = secretly(lambda: self._hand_in(message, password), password)
        except ssl.SSLError as error:
            raise ConfigurationError(f"{self._place} cannot be trusted: {error}: see ca_location") from None
        except smtplib.SMTPRecipientsRefused as error:
            raise ConfigurationError(f"{self._place} accepts no mail for {', '.join(error.recipients)}") from None
        except smtplib.SMTPResponseException as error:
            refusal = f"{self._place} says {error.smtp_code}: {_text(error.smtp_error)}"
            raise (TransientError(refusal) if error.smtp_code in LATER else ConfigurationError(refusal)) from None
        except smtplib.SMTPNotSupportedError as error:
            raise ConfigurationError(f"{self._place}: {error}: see security, username and port") from None
        except (OSError, smtplib.SMTPException) as error:
            raise TransientError(f"{self._place} does not answer: {error}") from None
        if refused:
            raise ConfigurationError(
                f"{self._place} accepts no mail for {', '.join(refused)}; the others have received theirs"
            )

    @property
    def _place(self) -> str:
        return f"the mail server {self.host}:{self.port}"

    def _hand_in(self, message: EmailMessage, password: str) -> dict[str, tuple[int, bytes]]:
        """Return the refused recipients, with the reasons."""
        with self._connected() as server:
            if self.username:
                server.login(self.username, password)
            return server.send_message(message)

    def _connected(self) -> smtplib.SMTP:
        if self.security == "NONE":
            return smtplib.SMTP(self.host, self.port, timeout=ANSWER_S)
        trust = self._authorities()
        if self.security == "TLS":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=ANSWER_S, context=trust)
        server = smtplib.SMTP(self.host, self.port, timeout=ANSWER_S)
        try:
            server.starttls(context=trust)
        except BaseException:
            server.close()
            raise
        return server

    def _authorities(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_location)
        except OSError as error:
            raise ConfigurationError(f"ca_location of the Mail Server block cannot be used: {error}") from None

    def _password(self) -> str:
        return secret_source(self.password, self.password_secret, "the password of the Mail Server block")()

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> Self:
        # No ValueErrors: they would show the input.
        if self.password and self.password_secret:
            raise ConfigurationError("a mail server has one password: remove password, or password_secret")
        if bool(self.username) != bool(self.password or self.password_secret):
            raise ConfigurationError("a login at a mail server needs a username and a password: set both, or none")
        if self.username and self.security == "NONE":
            raise ConfigurationError("security NONE would show the password to the network: choose STARTTLS or TLS")
        return self


def _text(reply: bytes | str) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else reply
