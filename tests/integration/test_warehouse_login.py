"""A PostgreSQL proves who it is, and takes a token as it takes a password."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from azure.core.credentials import AccessToken

from blocks.azure_tokens import azure_passwords
from freight.errors import ConfigurationError
from freight.warehouse.connect import Engine, closing, open_engine, reading
from tests.lib.certificates import write_certificates
from tests.lib.postgres import PostgresServer, own_server

HOST = "db.example.org"  # whose address these tests know by themselves


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Who vouches for the server."""
    return tmp_path_factory.mktemp("authority") / "ca.pem"


@pytest.fixture(scope="module")
def proven_server(authority: Path) -> Iterator[PostgresServer]:
    with tempfile.TemporaryDirectory(prefix="dpa-proven-") as folder:
        certificate = Path(folder, "server.pem")
        write_certificates(authority, certificate, HOST)
        if os.geteuid() == 0:
            for path in (folder, certificate):
                shutil.chown(path, "postgres")
        files = {"ssl_cert_file": str(certificate), "ssl_key_file": str(certificate)}
        with own_server({"ssl": "on", **files}) as server:
            yield server


def at(server: PostgresServer, host: str, **more: object) -> str:
    url = sa.make_url(server.new_database()).set(host=host)
    return url.update_query_dict({"hostaddr": "127.0.0.1", **{k: str(v) for k, v in more.items()}}).render_as_string()


def is_encrypted(url: str) -> bool:
    query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    with closing(open_engine(url)) as engine, reading(engine) as connection:
        return bool(connection.execute(sa.text(query)).scalar_one())


def test_a_server_that_proves_who_it_is_is_let_in(proven_server: PostgresServer, authority: Path) -> None:
    assert is_encrypted(at(proven_server, HOST, sslrootcert=authority))


@pytest.mark.parametrize("host", [HOST, "another.example.org"], ids=["authority unknown", "name is another"])
def test_a_server_that_does_not_is_told_with_a_remedy(
    proven_server: PostgresServer, authority: Path, host: str
) -> None:
    known = {} if host == HOST else {"sslrootcert": authority}
    remedy = r"does not prove its identity: .*; name the file of its authority with \?sslrootcert= in the URL"
    with pytest.raises(ConfigurationError, match=remedy):
        is_encrypted(at(proven_server, host, **known))


def test_a_server_without_tls_is_used_only_where_the_url_says_so_or_on_this_machine(
    postgres_server: PostgresServer,
) -> None:
    with pytest.raises(ConfigurationError, match=r"does not prove its identity: .*does not support SSL"):
        is_encrypted(at(postgres_server, HOST))
    assert not is_encrypted(at(postgres_server, HOST, sslmode="disable"))
    assert not is_encrypted(postgres_server.new_database())


class Identity:
    """Stands for an identity of Azure whose tokens are as long as those of Entra ID."""

    token = "one" * 600

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        """Give the token of the moment."""
        return AccessToken(self.token, 2_000_000_000)


def test_each_connection_takes_the_token_of_its_moment(postgres_server: PostgresServer) -> None:
    identity = Identity()
    url = postgres_server.new_protected_database(identity.token)
    owner = sa.make_url(url).username
    with closing(open_engine(url, password=azure_passwords(identity))) as engine:
        assert who_is(engine) == owner
        identity.token = "two" * 600
        assert who_is(engine) == owner  # a connection that is there asks for no token
        engine.dispose()
        with pytest.raises(ConfigurationError, match="password authentication failed"):
            who_is(engine)
        postgres_server.change_password(url, identity.token)
        assert who_is(engine) == owner


def who_is(engine: Engine) -> str:
    with reading(engine) as connection:
        return str(connection.execute(sa.text("SELECT current_user")).scalar_one())
