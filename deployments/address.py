"""The address of this machine's Prefect server: where it listens, which names it answers to, and what it refuses."""

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
HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")  # no * and no comma: with them it would answer to any name


@dataclass(frozen=True)
class Address:
    """The address of a server.

    Attributes:
        host: The name or IP address of this machine.
        port: The port.
        public: The URL by which people open it; None if it is the same address.
        certificate: The PEM file of its certificate chain; None without TLS.
        key: The PEM file of the key; None if the key is in that of the chain.
    """

    host: str
    port: int
    public: httpx.URL | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def wanted(cls, home: Path) -> "Address":
        """Return the address in Prefect's settings, and ours for TLS; relative paths start at a folder.

        Raises:
            ConfigurationError: `PREFECT_UI_URL` is not a URL.
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
        """The URL by which people open it."""
        return self.public or self._url(self.host)

    @property
    def api(self) -> str:
        """The URL of the API for programs on this machine."""
        return f"{self._url(self.host) if is_loopback(self.host) else self.ui}/api"

    @property
    def hosts(self) -> set[str]:
        """The allowed Host headers: a foreign page can point its own name to this machine."""
        return {f"[{name}]" if ":" in name else name for name in self._names}

    @property
    def origins(self) -> set[str]:
        """The origins whose scripts may call the server and read its responses."""
        return {str(self.ui), *(str(self._url(name)) for name in self._names)}

    @property
    def _names(self) -> set[str]:
        return {name for name in (*LOOPBACK, self.host, self.ui.host) if not _is_any(name)}

    def _url(self, host: str) -> httpx.URL:
        return httpx.URL(scheme="https" if self.certificate else "http", host=host, port=self.port)

    def require_closed(self) -> None:
        """Check that nobody can read the traffic to the server on its way.

        Raises:
            ConfigurationError: Other machines reach it without TLS, or its certificate cannot be used; the message says
                what to set.
        """
        if not is_loopback(self.host) and self.certificate is None:
            raise ConfigurationError(
                f"a Prefect at {self.host} is open to other machines, and the password would travel in clear text: set"
                " DPA_PREFECT_CERTIFICATE to a PEM file with the key and the certificate of this machine, or unset"
                f" PREFECT_SERVER_API_HOST and use a tunnel: ssh -L {self.port}:127.0.0.1:{self.port} MACHINE"
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
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not HOST.fullmatch(parsed.host):
        raise ConfigurationError(
            "PREFECT_UI_URL is not a URL such as https://prefect.example.org:4200: correct or unset it"
        )
    return httpx.URL(scheme=parsed.scheme, host=parsed.host, port=parsed.port)


def _load(certificate: Path, key: Path | None) -> None:
    try:
        # An empty password: for an encrypted key, OpenSSL would prompt at a terminal that nobody sees.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password="")
    except OSError as error:  # those of ssl are OSErrors too
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
