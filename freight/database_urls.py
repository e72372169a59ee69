"""Database URLs: how to read them, which parts are secret, how to show them, and which servers they name."""

import re
import ssl
from collections.abc import Iterator
from urllib.parse import unquote_plus

import certifi
import sqlalchemy as sa

from freight.addresses import is_loopback
from freight.errors import ConfigurationError
from freight.secrets import HIDDEN, accepted, refuse_control_characters

VERIFIED = "verify-full"  # value of libpq's `sslmode`
PORTS = range(1, 65_536)
NAMES_A_SERVER = {"host", "read_default_file", "read_default_group"}  # parameters of MySQL that can name another server
CONNINFO = "conninfo"  # of psycopg: a whole connection string, with its own syntax for servers and secrets
SEVERAL = {"host", "port"}  # parameters of libpq that may appear more than once

# Drivers' names for secrets, without spaces, dashes and capitals: sslpassword, Pwd, passwd, AccessToken.
SECRET_NAME = re.compile(r"pass(?!file)|pwd|secret|token|(access|account|client|server|shared)key|^(pw|sig|sas|key)$")
ATTRIBUTE = re.compile(r"([^=;{}]+)=(\s*\{(?:[^}]|\}\})*\}|[^;]*)")  # of ODBC: name=value; or name={va;lue}
BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
UNDECODED = "\ufffd"
SIGNS = "write the characters : / @ ? % of a user or a password as %3A %2F %40 %3F %25"


def read_url(url: str, what: str = "the URL of a database") -> sa.URL:
    """Return the parts of a URL.

    Args:
        url: The URL in SQLAlchemy's notation.
        what: The name of the URL for people.

    Raises:
        ConfigurationError: The URL cannot be read; the message shows no part of it.
    """
    text = accepted(url, what)
    try:
        parsed = sa.make_url(text)
    except sa.exc.ArgumentError:
        raise ConfigurationError(f"{what} cannot be read: expected sqlite:///… or postgresql://…") from None
    except ValueError:  # of a port; its message may show the end of a password
        raise ConfigurationError(f"{what} has a port that is not a number: correct it, or {SIGNS}") from None
    if fault := _fault_of_signs(text, parsed) or _fault_of_places(parsed):
        raise ConfigurationError(f"{what} {fault}")
    for part in _decoded(parsed):
        refuse_control_characters(part, what)
    return parsed


def read_url_without_secrets(url: str, what: str) -> sa.URL:
    """Return the parts of a URL that everybody may see.

    Args:
        url: The URL in SQLAlchemy's notation.
        what: The name of the URL for people.

    Raises:
        ConfigurationError: The URL cannot be read, or holds a secret under any name.
    """
    parsed = read_url(url, what)
    if secrets_of(parsed):
        raise ConfigurationError(f"{what} must not hold a password: put it into the field password")
    return parsed


def secrets_of(url: sa.URL) -> list[str]:
    """Return the secrets of a URL: its password, and the query parameters that drivers treat as secret."""
    return [str(url.password)] * (url.password is not None) + [
        secret for name, value in _query(url) for secret in _secrets_of(name, value)
    ]


def safe_url(url: str) -> str:
    """Return a URL without its secrets, to show to people.

    Raises:
        ConfigurationError: The URL cannot be read.
    """
    return shown(read_url(url))


def shown(url: sa.URL) -> str:
    """Return a URL as text without its secrets, to show to people."""
    query = {name: tuple(_hidden(name, value) for value in values) for name, values in url.normalized_query.items()}
    return url.set(query=query).render_as_string(hide_password=True).replace("%2A%2A%2A", HIDDEN)


def attributes(url: sa.URL) -> dict[str, list[str]]:
    """Return the attributes that an ODBC driver receives, in lower case, by name without spaces; a name may repeat."""
    pairs = [(name, value) for name, value in _query(url) if name != "odbc_connect"]
    pairs += [pair for name, value in _query(url) if name == "odbc_connect" for pair in ATTRIBUTE.findall(value)]
    named: dict[str, list[str]] = {}
    for name, value in pairs:
        named.setdefault(_plain(name), []).append(value.strip().strip("{}").lower())
    return named


def servers_of(url: sa.URL) -> list[str]:
    """Return the hosts, addresses and sockets in a PostgreSQL URL, as libpq reads them.

    Raises:
        sa.exc.ArgumentError: The numbers of hosts and ports differ.
    """
    dialect = url.set(drivername="postgresql+psycopg").get_dialect()()
    _, named = dialect.create_connect_args(url)
    return [place for name in ("host", "hostaddr") if name in named for place in str(named[name]).split(",")]


def over_tls(url: sa.URL) -> sa.URL:
    """Require a PostgreSQL on another machine to prove its identity, unless its URL says otherwise."""
    mode = url.query.get("sslmode")
    if mode not in (None, VERIFIED) or (mode is None and _is_here(url)):
        return url
    # With a Kerberos ticket at hand, libpq would encrypt with it and skip the certificate.
    named = {"sslmode": VERIFIED, "gssencmode": url.query.get("gssencmode", "disable")}
    if mode is None:
        named["sslrootcert"] = url.query.get("sslrootcert", known_authorities())
    return url.update_query_dict(named)


def mysql_over_tls(url: sa.URL) -> sa.URL:
    """Require a MySQL on another machine to prove its identity, unless its URL says otherwise."""
    # PyMySQL reads any text as true; the last two make it skip the authority or the host name.
    kept = str(url.query.get("ssl_disabled")).lower() == "true"
    url = url.difference_update_query([*([] if kept else ["ssl_disabled"]), "ssl_verify_cert", "ssl_verify_identity"])
    is_here = (url.host is None or is_loopback(url.host)) and not url.query.keys() & NAMES_A_SERVER
    if is_here or url.query.keys() & {"ssl_ca", "ssl_capath", "ssl_disabled"}:
        return url
    return url.update_query_dict({"ssl_ca": known_authorities()})


def known_authorities() -> str:
    """Return the file of trusted certificate authorities: the system's, else certifi's.

    Not libpq's "system": the libpq in psycopg's wheel looks for certificates in a folder that does not exist.
    """
    return ssl.get_default_verify_paths().cafile or certifi.where()


def _is_here(url: sa.URL) -> bool:
    """Whether all servers in a PostgreSQL URL are on this machine; a service can name any server."""
    named = servers_of(url)
    return bool(named) and "service" not in url.query and all(map(_is_local, named))


def _is_local(place: str) -> bool:
    is_socket = place.startswith(("/", "@"))
    return is_socket or is_loopback(place)


def _fault_of_signs(text: str, url: sa.URL) -> str | None:
    head, _, query = text.partition("?")
    is_path = url.get_backend_name() == "sqlite"
    if BROKEN_ESCAPE.search(query if is_path else f"{head}?{query}"):
        return f"has a % without two hexadecimal digits after it: {SIGNS}"
    if UNDECODED in "".join(_decoded(url)) and UNDECODED not in text:
        return "has escapes such as %FF that are not UTF-8: correct them"
    if not is_path and "@" in f"{url.host}{url.database}":
        return f"has one @ too many: {SIGNS}"
    return None


def _fault_of_places(url: sa.URL) -> str | None:
    if url.port is not None and url.port not in PORTS:
        return "has an invalid port: it must be between 1 and 65535"
    if url.get_backend_name() != "postgresql":
        return None
    if CONNINFO in url.query:
        return f"has the parameter {CONNINFO}, which hides the server: write its parts as parameters of the URL"
    if doubled := [name for name, values in url.normalized_query.items() if len(values) > 1 and name not in SEVERAL]:
        return f"names {doubled[0]} twice: remove one"
    try:
        servers_of(url)
    except (sa.exc.ArgumentError, ValueError):
        return "has different numbers of hosts and ports: write ?host=a:5432&host=b:5432"
    return None


def _decoded(url: sa.URL) -> Iterator[str]:
    yield from (str(part) for part in (url.username, url.password, url.host, url.database) if part is not None)
    for name, value in _query(url):
        yield from (name, value)


def _query(url: sa.URL) -> Iterator[tuple[str, str]]:
    """Yield the query parameters, those of an ODBC connection string decoded a second time, as SQLAlchemy does."""
    for name, values in url.normalized_query.items():
        yield from ((name, unquote_plus(value) if name == "odbc_connect" else value) for value in values)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _secrets_of(name: str, value: str) -> Iterator[str]:
    if SECRET_NAME.search(_plain(name)):
        yield value
    else:
        yield from (held.strip() for key, held in ATTRIBUTE.findall(value) if SECRET_NAME.search(_plain(key)))


def _hidden(name: str, value: str) -> str:
    text = unquote_plus(value) if name == "odbc_connect" else value
    if SECRET_NAME.search(_plain(name)):
        return HIDDEN
    return ATTRIBUTE.sub(_hidden_attribute, text)


def _hidden_attribute(found: re.Match[str]) -> str:
    return f"{found[1]}={HIDDEN}" if SECRET_NAME.search(_plain(found[1])) else found[0]
