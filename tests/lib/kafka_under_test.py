"""A local Apache Kafka that tests can crash and freeze, with TLS and logins if required."""

import base64
import os
import secrets
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from freight.demo import local_kafka
from freight.demo.local_kafka import LocalKafka, free_ports
from tests.lib.certificates import write_certificates

Mechanism = Literal["PLAIN", "SCRAM-SHA-512"]

QUICK = {
    "group.min.session.timeout.ms": "1000",
    # A killed broker may come back once its last session has expired, by default after 9 s.
    "broker.session.timeout.ms": "1500",
    "broker.heartbeat.interval.ms": "300",
}
MODULES = "org.apache.kafka.common.security"
SECURE = {
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:PLAINTEXT",
    "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512,OAUTHBEARER",
    # It trusts the claims of unsigned tokens.
    "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config": (
        f'{MODULES}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
    ),
    "listener.name.sasl_ssl.scram-sha-512.connections.max.reauth.ms": "2000",  # who stays has to log in again
    "ssl.keystore.type": "PEM",
    "ssl.keystore.location": "server.pem",
    "ssl.truststore.type": "PEM",
    "ssl.truststore.location": "ca.pem",
}


class Login(NamedTuple):
    """A user of the secure listener."""

    user: str
    password: str


@dataclass(frozen=True)
class SharedKafka:
    """The Kafka that all workers of a run use.

    Attributes:
        bootstrap: The host:port of the listener without TLS or logins.
        secure_bootstrap: The host:port of the SASL_SSL listener.
        tls_bootstrap: The host:port of the SSL listener, which requires no login.
        ca_path: The certificate of the authority of the listeners with TLS.
        logins: The users that may log in, by SASL mechanism.
    """

    bootstrap: str
    secure_bootstrap: str
    tls_bootstrap: str
    ca_path: Path
    logins: Mapping[Mechanism, Login]

    @classmethod
    def at(cls, place: Mapping[str, Any]) -> Self:
        """Return the Kafka at the place that `KafkaUnderTest.place` has told another process."""
        logins = {mechanism: Login(*login) for mechanism, login in place["logins"].items()}
        return cls(**{**place, "ca_path": Path(place["ca_path"]), "logins": logins})


class KafkaUnderTest(LocalKafka):
    """A Kafka for tests; `start` after `crash` finds the same data on the same ports, as after `stop`.

    Args:
        secure: True to listen with TLS too: with a login, PLAIN (like Azure Event Hubs), SCRAM-SHA-512 or OAUTHBEARER,
            and without one. With data from an insecure start, SCRAM has no users.

    Attributes:
        secure_bootstrap: The host:port of the SASL_SSL listener; empty unless secure.
        tls_bootstrap: The host:port of the SSL listener, which requires no login; empty unless secure.
        ca_path: The certificate of the authority of the listeners with TLS.
        logins: The users that may log in, by SASL mechanism.
    """

    def __init__(
        self,
        libs: Path,
        folder: Path,
        partitions: int = 4,
        secure: bool = False,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.logins: dict[Mechanism, Login] = {
            "PLAIN": Login("$ConnectionString", _connection_string()),
            "SCRAM-SHA-512": Login("freight", secrets.token_urlsafe(16)),
        }
        self._secure = secure
        secured = SECURE | self._users() if secure else {}
        super().__init__(libs, folder, partitions, {**QUICK, **secured, **(options or {})})
        if secure:
            self._ports.update(zip(("SASL_SSL", "SSL"), free_ports(2), strict=True))
        self.secure_bootstrap, self.tls_bootstrap = self._place("SASL_SSL"), self._place("SSL")
        self.ca_path = self._folder / "ca.pem"

    @property
    def place(self) -> dict[str, Any]:
        """The place of a secure broker as JSON, for `SharedKafka.at`."""
        return {
            "bootstrap": self.bootstrap,
            "secure_bootstrap": self.secure_bootstrap,
            "tls_bootstrap": self.tls_bootstrap,
            "ca_path": str(self.ca_path),
            "logins": self.logins,
        }

    @property
    def pid(self) -> int:
        """The process id of the broker."""
        assert self._process, "the local Kafka is not started"
        return self._process.pid

    def stop(self) -> None:
        """Shut the broker down cleanly; a paused one is resumed for that."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
        super().stop()

    def crash(self) -> None:
        """Kill the broker, like a power loss; does nothing if it does not run."""
        if self._process is not None:
            self._kill()

    def pause(self) -> None:
        """Freeze the broker: connections stay open and nothing answers, like a network failure."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a paused broker."""
        os.kill(self.pid, signal.SIGCONT)

    def _place(self, listener: str) -> str:
        return f"{local_kafka.HOST}:{self._ports[listener]}" if self._secure else ""

    def _users(self) -> dict[str, str]:
        """Return the settings that let users log in; those of SCRAM are in the data."""
        plain = self.logins["PLAIN"]
        return {
            "listener.name.sasl_ssl.plain.sasl.jaas.config": (
                f'{MODULES}.plain.PlainLoginModule required user_{plain.user}="{plain.password}";'
            ),
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{MODULES}.scram.ScramLoginModule required;",
        }

    def _write_files(self) -> None:
        super()._write_files()
        if self._secure and not self.ca_path.exists():  # clients keep trusting a broker that comes back
            write_certificates(self.ca_path, self._folder / "server.pem")

    def _format(self, *arguments: str) -> None:
        scram = self.logins["SCRAM-SHA-512"]
        user = ("--add-scram", f"SCRAM-SHA-512=[name={scram.user},password={scram.password}]")
        super()._format(*arguments, *(user if self._secure else ()))


def _connection_string() -> str:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return f"Endpoint=sb://localhost/;SharedAccessKeyName=freight;SharedAccessKey={key}"
