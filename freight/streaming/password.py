"""The password of a Kafka client, which may change while the client runs."""

import logging
import time
from typing import Any

from freight.secrets import redacted
from freight.types import PasswordSource

log = logging.getLogger("freight")

PASSWORD_CB = "password_cb"  # client setting beside librdkafka's own: a `PasswordSource` in place of a password
CHANGEOVER_S = 300.0  # the time between the change of a password in Kafka and at our source, in either order
ASK_S = 5.0
# The kinds of the client's lines about connections that fail, many a second; callbacks and errors report the same.
CONNECTION_LINES = {"FAIL", "ERROR"}


class Redactor:
    """Removes the client's password from its messages: a broker may repeat the login that it received.

    Attributes:
        password: The client's current password.
    """

    def __init__(self, password: str) -> None:
        self.password = password

    def redacted(self, words: str) -> str:
        """Return a message of the client or the broker without the password."""
        # The rest of a connection string is not secret, and most messages contain its host name.
        return redacted(words, self.password.rpartition("SharedAccessKey=")[2])

    def log(self, level: int, message: str, *parts: Any) -> None:
        """Log a message of the client, which calls this in place of a logger."""
        if parts and parts[0] in CONNECTION_LINES:
            level = logging.DEBUG
        logging.getLogger("librdkafka").log(level, "%s", self.redacted(message % parts))


class ChangingPassword:
    """The login password of a client, which is read again and again.

    Attributes:
        value: The password at the last reading.
    """

    def __init__(self, source: PasswordSource) -> None:
        self._source = source
        self.value = source()
        self._let_in_at = self._asked_at = float("-inf")

    def let_in(self) -> None:
        """Note that the broker accepts it."""
        self._let_in_at = time.monotonic()

    @property
    def may_change(self) -> bool:
        """True if the broker accepted it recently: then a refusal means that another one is on its way."""
        return time.monotonic() - self._let_in_at < CHANGEOVER_S

    def changes(self, *, was_refused: bool = False) -> bool:
        """Read the password, after a refusal only every few seconds; return True if it has changed.

        Raises:
            TransientError: The source does not answer, and never did before.
            ConfigurationError: The password no longer exists.
        """
        now, before = time.monotonic(), self.value
        if was_refused and now - self._asked_at < ASK_S:
            return False
        self._asked_at = now
        self.value = self._source(fresh=was_refused)
        return self.value != before
