"""A Kafka cluster, or an Azure Event Hubs namespace, as a Prefect block."""

import re
from typing import Any, ClassVar, Literal, Self

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, SecretStr, model_validator

from blocks.azure_identity import CLOUDS, cloud
from blocks.azure_tokens import TokenSource, azure_tokens
from blocks.key_vault import KeyVaultSecret
from blocks.secret_fields import SecretFields
from freight.addresses import is_loopback
from freight.errors import ConfigurationError
from freight.streaming.password import PASSWORD_CB

# No other characters: the client stops reading at a NUL, so it would see another name than we check.
PLACE = "[A-Za-z0-9._-]+:[0-9]{1,5}"
PLACES = re.compile(f"{PLACE}(,{PLACE})*")
EVENT_HUBS_PORT = 9093
EVENT_HUBS_USER = "$ConnectionString"
NAMESPACE = re.compile(r"[A-Za-z][A-Za-z0-9-]{4,48}[A-Za-z0-9]")


class KafkaCluster(SecretFields, Block):
    """The servers of a Kafka cluster and the login to it.

    Azure Event Hubs speaks Kafka's protocol: `KafkaCluster.event_hubs` sets its port, user and encryption.

    Attributes:
        bootstrap_servers: The servers to connect to first, as `host:port`, separated by commas.
        security_protocol: The protocol: PLAINTEXT, SSL (TLS without a login), or SASL_SSL (with a login over TLS).
        sasl_mechanism: The kind of login.
        username: The user; `$ConnectionString` on Event Hubs.
        password: The user's password; on Event Hubs the connection string.
        ca_location: The PEM file of the servers' certificate authority.
        password_secret: The password as a Key Vault secret; the client picks up changes.
        insecure: True if the network is trusted: anybody in it can read and change PLAINTEXT traffic.

    Example:
        Save the cluster once, then load it by name:
        ```python
        from blocks.kafka_cluster import KafkaCluster

        KafkaCluster(bootstrap_servers="kafka.example.org:9093", security_protocol="SSL").save("BLOCK_NAME")
        cluster = KafkaCluster.load("BLOCK_NAME")
        cluster.client_settings()
        ```
    """

    _block_type_name: ClassVar[str] = "Kafka Cluster"
    _block_type_slug: ClassVar[str] = "kafka-cluster"  # never rename: it is the key of the stored blocks
    _description: ClassVar[str] = "Servers of Kafka or Azure Event Hubs, and the login to them."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://kafka.apache.org/documentation/#security")

    # Never reorder: the order is part of Prefect's stored schema and of its form.
    bootstrap_servers: str = Field(
        description="Servers to connect to first, as host:port, separated by commas.",
        examples=["kafka.example.org:9093", "my-namespace.servicebus.windows.net:9093"],
    )
    security_protocol: Literal["PLAINTEXT", "SASL_SSL", "SSL"] = Field(
        default="PLAINTEXT", description="SASL_SSL with a login over TLS, SSL without a login, or PLAINTEXT."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        default="PLAIN",
        description="Kind of login with SASL_SSL; Event Hubs accepts PLAIN with a connection string, or OAUTHBEARER.",
    )
    username: str | None = Field(default=None, description="User; on Event Hubs literally $ConnectionString.")
    password: SecretStr | None = Field(
        default=None, description="Password of the user; on Event Hubs the connection string of the namespace."
    )
    ca_location: str | None = Field(
        default=None,
        description="PEM file of the servers' certificate authority; empty for those of the system.",
    )
    password_secret: KeyVaultSecret | None = Field(
        default=None, description="The password as a Key Vault secret, instead of the field password."
    )
    insecure: bool = Field(
        default=False,
        description="The network is trusted: anybody in it can read and change PLAINTEXT traffic.",
    )

    @classmethod
    def event_hubs(cls, namespace: str, connection_string: str | None = None) -> Self:
        """Return the cluster of an Event Hubs namespace, Standard tier or above.

        Args:
            namespace: The name of the namespace, without the domain.
            connection_string: The connection string of a shared access policy with the right Listen, `Endpoint=sb://…`;
                without one, the client logs in with tokens of its own identity.

        Raises:
            ConfigurationError: The name or the connection string is invalid.
        """
        if not NAMESPACE.fullmatch(namespace):
            raise ConfigurationError("the name of an Event Hubs namespace is letters, digits and dashes: omit the rest")
        place = f"{namespace}.{cloud().event_hubs[0]}:{EVENT_HUBS_PORT}"
        if connection_string is None:
            return cls(bootstrap_servers=place, security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER")
        return cls(
            bootstrap_servers=place,
            security_protocol="SASL_SSL",
            username=EVENT_HUBS_USER,
            password=SecretStr(connection_string),
        )

    def client_settings(self, token_source: TokenSource | None = None) -> dict[str, Any]:
        """Return the settings of a `KafkaReader`; they may hold the password in clear and must not be logged.

        Args:
            token_source: The source of OAUTHBEARER tokens; for Event Hubs by default those of this process's Azure
                identity.

        Raises:
            ConfigurationError: OAUTHBEARER outside Event Hubs has no token source.
        """
        settings = {"bootstrap.servers": self.bootstrap_servers, "security.protocol": self.security_protocol}
        if self.ca_location and self.security_protocol != "PLAINTEXT":
            settings["ssl.ca.location"] = self.ca_location
        if self.security_protocol != "SASL_SSL":
            return settings
        return {**settings, "sasl.mechanism": self.sasl_mechanism, **self._login(token_source)}

    def _login(self, token_source: TokenSource | None) -> dict[str, Any]:
        if self.sasl_mechanism != "OAUTHBEARER":
            return {"sasl.username": self.username, **self._password()}
        if token_source is None and not self._is_at_event_hubs:
            raise ConfigurationError(
                "the Kafka cluster needs OAUTHBEARER, but only Event Hubs receives tokens: use SCRAM or "
                "PLAIN with a password"
            )
        return {"oauth_cb": token_source or azure_tokens(self._hosts[0])}

    @property
    def _hosts(self) -> list[str]:
        return [place.partition(":")[0].lower() for place in self.bootstrap_servers.split(",")]

    @property
    def _is_at_event_hubs(self) -> bool:
        """Whether a server belongs to Event Hubs, or looks like it."""
        domains = [f".{domain}" for known in CLOUDS.values() for domain in known.event_hubs]
        return any(domain in host for domain in domains for host in self._hosts)

    def _password(self) -> dict[str, Any]:
        if self.password_secret:
            return {PASSWORD_CB: self.password_secret.read}
        return {"sasl.password": self.password.get_secret_value() if self.password else ""}

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> Self:
        faults = self._fault_of_place, self._fault_of_login, self._fault_of_event_hubs, self._fault_of_network
        if fault := next(filter(None, (find() for find in faults)), None):
            raise ConfigurationError(f"Kafka cluster: {fault}")  # a ValueError would show the input
        return self

    def _fault_of_place(self) -> str | None:
        if not PLACES.fullmatch(self.bootstrap_servers):
            return "bootstrap_servers needs host:port, separated by commas, without kafka:// and spaces"
        return None

    def _fault_of_login(self) -> str | None:
        named, given = bool(self.username), bool(self.password and self.password.get_secret_value())
        if given and self.password_secret:
            return "there is one password: remove password, or password_secret"
        secret = given or bool(self.password_secret)
        if self.security_protocol != "SASL_SSL":
            why = f"{self.security_protocol} logs nobody in: choose SASL_SSL, or remove username and password"
            return why if named or secret else None
        if self.sasl_mechanism == "OAUTHBEARER":
            return "OAUTHBEARER logs in with tokens: remove username and password" if named or secret else None
        if not named:
            return f"SASL_SSL with {self.sasl_mechanism} needs a username; on Event Hubs it is {EVENT_HUBS_USER}"
        if not secret:
            return f"SASL_SSL with {self.sasl_mechanism} needs a password; on Event Hubs it is the connection string"
        return None

    def _fault_of_event_hubs(self) -> str | None:
        if self._is_at_event_hubs and (fault := self._fault_of_namespace() or self._fault_of_its_login()):
            return fault
        password = self.password.get_secret_value() if self.password else ""
        if self.username == EVENT_HUBS_USER and not (self.password_secret or password.startswith("Endpoint=sb://")):
            return f"the password of {EVENT_HUBS_USER} is the connection string, which begins with Endpoint=sb://"
        return None

    def _fault_of_namespace(self) -> str | None:
        if len(self._hosts) > 1:
            return "an Event Hubs namespace is one server, and no other may receive its login: remove the others"
        place = f".{cloud().event_hubs[0]}:{EVENT_HUBS_PORT}"
        if not self.bootstrap_servers.lower().endswith(place):
            return (
                f"Event Hubs speaks Kafka on port {EVENT_HUBS_PORT} only, at NAMESPACE{place}: correct "
                "bootstrap_servers, or name another cloud of Azure in DPA_AZURE_CLOUD"
            )
        return None

    def _fault_of_its_login(self) -> str | None:
        if self.security_protocol != "SASL_SSL":
            return f"Event Hubs needs SASL_SSL with the user {EVENT_HUBS_USER}: set security_protocol"
        if self.sasl_mechanism.startswith("SCRAM"):
            return "Event Hubs does not support SCRAM: choose PLAIN with a connection string"
        if self.sasl_mechanism == "PLAIN" and self.username != EVENT_HUBS_USER:
            return f"the user of Event Hubs is literally {EVENT_HUBS_USER}: set username"
        return None

    def _fault_of_network(self) -> str | None:
        far = next((host for host in self._hosts if not is_loopback(host)), None)
        if far is None or self.security_protocol != "PLAINTEXT" or self.insecure:
            return None
        return (
            f"PLAINTEXT lets anybody in the network read and change what {far} sends: choose SASL_SSL or SSL in a "
            "Kafka Cluster block, or trust the network with `insecure` in the block or DPA_KAFKA_INSECURE=true"
        )
