"""Where the Prefect server of this machine listens, by which names it is called, and where it must not listen."""

import ipaddress
import os
import re
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

import httpx
from prefect.settings import get_current_settings

from freight.addresses import is_loopback
from freight.errors import ConfigurationError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")  # no * and no comma, by which it would answer to any name


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
        host: name or IP address of this machine.
        port: of it.
        public: by which people open it, None if that is what it listens at.
        certificate: PEM file of its chain, by which it speaks TLS, None if it does not.
        key: PEM file of the key, None if it is in that of the chain.
    """

    host: str
    port: int
    public: httpx.URL | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def wanted(cls, home: Path) -> "Address":
        """Return where settings want a server: Prefect's own, and ours for TLS; relative paths count from a folder.

        Raises:
            ConfigurationError: `PREFECT_UI_URL` is no URL.
        """
        api = get_current_settings().server.api
        certificate, key = (os.environ.get(name) for name in ("DPA_PREFECT_CERTIFICATE", "DPA_PREFECT_KEY"))
        return cls(
            api.host,
            api.port,
            _origin(os.environ.get("PREFECT_UI_URL", "")),
            home / certificate if certificate else None,
            home / key if key else None,
        )

    @property
    def ui(self) -> httpx.URL:
        """By which people open it."""
        return self.public or self._url(self.host)

    @property
    def api(self) -> str:
        """URL of the API for programs of this machine."""
        return f"{self._url(self.host) if is_loopback(self.host) else self.ui}/api"

    @property
    def hosts(self) -> set[str]:
        """What a request may name as its host: pages of others lead their own names to this machine."""
        return {f"[{name}]" if ":" in name else name for name in self._names}

    @property
    def origins(self) -> set[str]:
        """Of which pages the scripts may ask it, and read the answers."""
        return {str(self.ui), *(str(self._url(name)) for name in self._names)}

    @property
    def _names(self) -> set[str]:
        return {name for name in (*LOOPBACK, self.host, self.ui.host) if not _is_any(name)}

    def _url(self, host: str) -> httpx.URL:
        return httpx.URL(scheme="https" if self.certificate else "http", host=host, port=self.port)

    def require_closed(self) -> None:
        """See to it that nobody can read on the way what is said to the server.

        Raises:
            ConfigurationError: other machines reach it without TLS, or its certificate cannot be used; the message says
                what to set.
        """
        if not is_loopback(self.host) and self.certificate is None:
            raise ConfigurationError(
                f"a Prefect at {self.host} is reached from other machines, and the password goes there in clear: set"
                " DPA_PREFECT_CERTIFICATE to a PEM file with the key and the certificate of this machine, or unset"
                f" PREFECT_SERVER_API_HOST and come by a tunnel: ssh -L {self.port}:127.0.0.1:{self.port} MACHINE"
            )
        if not is_loopback(self.ui.host) and (self.ui.scheme != "https" or _is_any(self.ui.host)):
            raise ConfigurationError(
                f"{self.ui} is not how others can open Prefect safely: set PREFECT_UI_URL to the name that is in the"
                f" certificate, such as https://prefect.example.org:{self.port}"
            )
        if self.certificate is not None:
            _load(self.certificate, self.key)


def _origin(url: str) -> httpx.URL | None:
    if not url:
        return None
    try:
        told = httpx.URL(url)
    except httpx.InvalidURL:
        told = httpx.URL()
    if told.scheme not in ("http", "https") or not HOST.fullmatch(told.host):
        raise ConfigurationError(
            "PREFECT_UI_URL is no URL such as https://prefect.example.org:4200: correct or unset it"
        )
    return httpx.URL(scheme=told.scheme, host=told.host, port=told.port)


def _load(certificate: Path, key: Path | None) -> None:
    try:
        # An empty password, since a key that has one would be asked for at a terminal that nobody sees.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password="")
    except OSError as error:  # which those of ssl are, too
        raise ConfigurationError(
            f"DPA_PREFECT_CERTIFICATE and DPA_PREFECT_KEY name no certificate with its key in PEM: {error}"
        ) from error
    holder = key or certificate
    if os.name != "nt" and holder.stat().st_mode & stat.S_IROTH:
        raise ConfigurationError(f"every user of this machine can read the key in {holder}: chmod 600 {holder}")


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
