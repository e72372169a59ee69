"""A local Apache Kafka that tests crash and freeze, and that listens with TLS and logins as well."""

import base64
import os
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from freight.demo import local_kafka
from freight.demo.local_kafka import LocalKafka, free_ports
from tests.lib.certificates import write_certificates

Mechanism = Literal["PLAIN", "SCRAM-SHA-512"]

QUICK = {
    "group.min.session.timeout.ms": "1000",
    # A broker that was killed may come back when its last session has run out, by default after 9 s.
    "broker.session.timeout.ms": "1500",
    "broker.heartbeat.interval.ms": "300",
}
SECURE = {
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:PLAINTEXT",
    "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
    "ssl.keystore.type": "PEM",
    "ssl.keystore.location": "server.pem",
    "ssl.truststore.type": "PEM",
    "ssl.truststore.location": "ca.pem",
}
MODULES = "org.apache.kafka.common.security"


class Login(NamedTuple):
    """A user that the secure listener knows."""

    user: str
    password: str


class KafkaUnderTest(LocalKafka):
    """`start` after `crash` finds the same data on the same ports, as after `stop`.

    Args:
        secure: Whether it listens with TLS as well: with a login, PLAIN (as Azure Event Hubs does) or SCRAM-SHA-512,
            and without one. With data that was made without it, SCRAM knows no user.

    Attributes:
        secure_bootstrap: host:port of the SASL_SSL listener; empty unless secure.
        tls_bootstrap: host:port of the SSL listener, which asks for no login; empty unless secure.
        ca_path: The certificate of the authority that vouches for the listeners with TLS.
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
    def pid(self) -> int:
        """Number of the broker's process."""
        assert self._process, "the local Kafka is not started"
        return self._process.pid

    def stop(self) -> None:
        """Let the broker end well; one that is paused has to go on to end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
        super().stop()

    def crash(self) -> None:
        """Kill the broker, as a loss of power would; does nothing if it does not run."""
        if self._process is not None:
            self._kill()

    def pause(self) -> None:
        """Freeze the broker: connections stay open and nothing answers, as when the network is cut."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused broker go on."""
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
        if self._secure and not self.ca_path.exists():  # clients go on to trust a broker that comes back
            write_certificates(self.ca_path, self._folder / "server.pem")

    def _format(self, *arguments: str) -> None:
        scram = self.logins["SCRAM-SHA-512"]
        user = ("--add-scram", f"SCRAM-SHA-512=[name={scram.user},password={scram.password}]")
        super()._format(*arguments, *(user if self._secure else ()))


def _connection_string() -> str:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return f"Endpoint=sb://localhost/;SharedAccessKeyName=freight;SharedAccessKey={key}"
