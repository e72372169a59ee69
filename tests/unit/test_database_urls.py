"""URLs of databases: what of them is secret is found in every spelling, and a server has to prove who it is."""

import traceback
from pathlib import Path

import pytest
import sqlalchemy as sa

from blocks.sql_source import SqlSource
from blocks.warehouse import Warehouse
from freight.database_urls import mysql_over_tls, over_tls, read_url, safe_url, secrets_of
from freight.databases import Database
from freight.errors import ConfigurationError
from freight.settings import load_settings
from freight.warehouse.connect import open_engine

MARK = "cAnArY0123456789"
ODBC = "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BSERVER%3Ddb%3BUID%3Ddpa%3B"
SPELLINGS = {
    "before the host": f"postgresql://dpa:{MARK}@db/freight",
    "libpq": f"postgresql://dpa@db/freight?password={MARK}",
    "of a key": f"postgresql://dpa@db/freight?sslpassword={MARK}",
    "capitals": f"postgresql://dpa@db/freight?PassWord={MARK}",
    "blanks": f"mssql+pyodbc://dpa@db/erp?driver=x&Pwd+={MARK}",
    "by percent": f"postgresql://dpa@db/freight?%70assword={MARK}",
    "OAuth": f"postgresql://dpa@db/freight?oauth_client_secret={MARK}",
    "SCRAM": f"postgresql://dpa@db/freight?scram_client_key={MARK}",
    "MySQL": f"mysql+pymysql://dpa@db/erp?passwd={MARK}",
    "token": f"mssql+pyodbc://db/erp?driver=x&AccessToken={MARK}",
    "ODBC": f"{ODBC}Pwd+%3D+{MARK}",
    "ODBC in braces": f"{ODBC}PWD%3D%7B{MARK}%3B%7D%7Dx%3D1%7D%3BEncrypt%3Dyes",
    "ODBC, all of it": f"{ODBC}Password%3D{MARK}",
    "ODBC, encoded twice": f"{ODBC}%2550WD%253D{MARK}",
    "among attributes": f"mssql+pyodbc://dpa@db/erp?driver=x%3B+pwd+%3D{MARK}",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_is_found_refused_and_not_shown(spelling: str) -> None:
    url = SPELLINGS[spelling]
    assert MARK in "".join(secrets_of(read_url(url)))
    assert MARK not in safe_url(url)
    assert "***" in safe_url(url)
    for block in (Warehouse, SqlSource):
        with pytest.raises(ConfigurationError, match="put it into the field password") as refused:
            block(url=url)
        assert MARK not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://dpa@db/freight?passfile=/etc/dpa/pgpass&sslkey=/etc/dpa/key.pem&sslmode=require",
        "postgresql://dpa@db/freight?options=-c+statement_timeout%3D0&require_auth=scram-sha-256",
        "mssql+pyodbc://reader@erp.database.windows.net/erp?driver=ODBC+Driver+18+for+SQL+Server&Encrypt=yes",
        "sqlite:////data/100%/a@b/x.sqlite",
    ],
)
def test_what_is_no_secret_stays(url: str) -> None:
    assert secrets_of(read_url(url)) == []
    assert "***" not in safe_url(url)
    assert safe_url(safe_url(url)) == safe_url(url)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"postgresql://dpa@db:{MARK}/freight", "a port that is not a number"),
        (f"postgresql://dpa:5/{MARK}@db:54x/freight", "a port that is not a number"),
        ("postgresql://dpa@db:99999/freight", "between 1 and 65535"),
        (f"postgresql://dpa:p@ss{MARK}@db/freight", "one @ too many: write the characters .* as .*%40"),
        (f"postgresql://d/pa:{MARK}@db/freight", "one @ too many"),
        (f"postgresql://dpa:{MARK}%zz@db/freight", "a % without two hexadecimal digits"),
        (f"postgresql://dpa:{MARK}%ff@db/freight", "not UTF-8"),
        (f"postgresql://dpa:{MARK}%0Ax@db/freight", "has a line end in it"),
        (f"postgresql://dpa:{MARK}%00@db/freight", "has a NUL in it"),
        (f"postgresql://dpa@db/freight?password={MARK}\nx", "has a line end in it"),
        (f"{ODBC}PWD%3D{MARK}%250Ax", "has a line end in it"),
        (f"postgresql//dpa:{MARK}@db/freight", "expected sqlite:///"),
        ("postgresql://db/freight?sslmode=verify-full&sslmode=disable", "names sslmode twice"),
        ("postgresql://dpa@/freight?host=a:1&host=b:2&port=3", "different numbers of hosts and ports"),
        ("postgresql://dpa@/freight?host=a&port=x", "different numbers of hosts and ports"),
    ],
)
def test_a_url_that_cannot_be_read_is_told_with_its_setting_and_without_its_secret(
    url: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DPA_HOME", str(tmp_path))
    monkeypatch.setenv("DPA_WAREHOUSE_URL", url)
    for call in (
        lambda: open_engine(load_settings().warehouse_url),
        lambda: safe_url(load_settings().warehouse_url),
        lambda: Database(url),
        lambda: Warehouse(url=url),
        lambda: SqlSource(url=url),
    ):
        with pytest.raises(ConfigurationError, match=told) as refused:
            call()
        assert MARK not in "".join(traceback.format_exception(refused.value))
        assert "URL" in str(refused.value)


@pytest.mark.parametrize(
    "place",
    [
        "db",
        "10.0.0.1",
        "localhost,db",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "/freight?host=db",
        "localhost/freight?host=db",
        "localhost/freight?hostaddr=10.0.0.1",
        "localhost/freight?host=localhost:1&host=db:1",
        "localhost/freight?host=localhost,db&port=1,2",
        "localhost/freight?host=&hostaddr=10.0.0.1",
        "localhost/freight?service=erp",
        "/freight?host=,db",
        "/freight",
    ],
)
def test_a_server_on_another_machine_proves_who_it_is(place: str) -> None:
    query = over_tls(read_url(f"postgresql://dpa@{place}")).query
    assert (query["sslmode"], query["gssencmode"]) == ("verify-full", "disable")
    assert "sslrootcert" in query


@pytest.mark.parametrize(
    "place",
    [
        "localhost",
        "LOCALHOST",
        "127.0.0.1",
        "127.0.0.2",
        "[::1]",
        "localhost/freight?hostaddr=127.0.0.1",
        "localhost/freight?host=localhost:1&host=127.0.0.1:2",
        "/freight?host=/var/run/postgresql",
        "db/freight?sslmode=disable",
    ],
)
def test_one_on_this_machine_or_of_a_url_that_says_otherwise_need_not(place: str) -> None:
    url = read_url(f"postgresql://dpa@{place}")
    assert over_tls(url) == url


def test_the_engine_shows_no_secret_when_it_is_shown() -> None:
    url = f"postgresql://dpa:{MARK}@127.0.0.1:1/freight?connect_timeout=1"
    engine = open_engine(url)
    with pytest.raises(sa.exc.DBAPIError) as refused:
        engine.connect()
    shown = [repr(engine), *traceback.format_exception(refused.value)]
    assert [text for text in shown if MARK in text] == []


def test_a_connection_string_within_a_url_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="has the parameter conninfo"):
        read_url("postgresql://dpa@localhost/freight?conninfo=hostaddr%3D127.0.0.9")


@pytest.mark.parametrize("more", ["ssl_verify_cert=true", "ssl_verify_identity=true", "ssl_disabled=false", ""])
def test_no_option_of_mysql_takes_the_proof_away_unless_it_says_so(more: str) -> None:
    query = mysql_over_tls(sa.make_url(f"mysql://erp@db.example.org/erp?{more}")).query
    assert set(query) == {"ssl_ca"}
    assert "ssl_ca" in mysql_over_tls(sa.make_url(f"mysql:///erp?read_default_group=client&{more}")).query
    assert set(mysql_over_tls(sa.make_url("mysql://erp@db/erp?ssl_disabled=true")).query) == {"ssl_disabled"}
