"""The password of a Kafka client, which may change while the client runs."""

import logging
import time
from typing import Any

from freight.secrets import redacted
from freight.types import PasswordSource

log = logging.getLogger("freight")

PASSWORD_CB = "password_cb"  # setting of a client beside librdkafka's own: a `PasswordSource` in place of a password
CHANGEOVER_S = 300.0  # for whoever changes a password first in Kafka and then where we read it, or the other way round
ASK_S = 5.0


class Untold:
    """Words of a client without the password that it was given: a broker may repeat what it was sent.

    Attributes:
        password: as the client has it now.
    """

    def __init__(self, password: str) -> None:
        self.password = password

    def told(self, words: str) -> str:
        """Return what client or broker say."""
        # Of a connection string the rest is no secret, and the name of the host is in most that is said.
        return redacted(words, self.password.rpartition("SharedAccessKey=")[2])

    def log(self, level: int, message: str, *parts: Any) -> None:
        """Log what the client says of itself; it calls this as it would call a logger."""
        logging.getLogger("librdkafka").log(level, "%s", self.told(message % parts))


class ChangingPassword:
    """What a client logs in with, asked for again and again.

    Attributes:
        value: the password, as it was last told.
    """

    def __init__(self, source: PasswordSource) -> None:
        self._source = source
        self.value = source()
        self._let_in_at = self._asked_at = float("-inf")

    def let_in(self) -> None:
        """Note that the broker takes it."""
        self._let_in_at = time.monotonic()

    @property
    def may_change(self) -> bool:
        """Whether a broker that refuses it has taken it shortly before, so that another one is on its way."""
        return time.monotonic() - self._let_in_at < CHANGEOVER_S

    def changes(self, *, was_refused: bool = False) -> bool:
        """Ask for the password, after a refusal every few seconds only; tell whether it is another one.

        Raises:
            TransientError: nobody tells it, and nobody did before.
            ConfigurationError: it is there no more.
        """
        now, before = time.monotonic(), self.value
        if was_refused and now - self._asked_at < ASK_S:
            return False
        self._asked_at = now
        self.value = self._source(fresh=was_refused)
        return self.value != before
