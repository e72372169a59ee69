"""A client of an HTTP server goes where it is told, by an address that may be, and waits no longer than told."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from freight import web
from freight.errors import ConfigurationError
from freight.web import open_client, shown, words_of
from tests.lib.attacks import AttackServer
from tests.lib.odd_api import OddApi, Reply

Resolved = dict[str, list[str]]
LIMITS: dict[str, Any] = {"connect_timeout_s": 30, "read_timeout_s": 30}


@pytest.fixture
def api() -> Iterator[OddApi]:
    with OddApi() as api:
        yield api


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Resolved:
    """What names lead to."""
    known: Resolved = {}

    def looked_up(host: bytes, port: int, **_: Any) -> list[Any]:
        found = known.get(host.decode(), [host.decode()])
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(web, "getaddrinfo", looked_up)
    return known


def open_named(api: OddApi, *, is_private: bool = True) -> httpx.Client:
    """Return a client that knows an API by a name."""
    return open_client(api.url.replace("127.0.0.1", "erp.example.org"), is_private=is_private, **LIMITS)


def test_the_address_that_was_checked_is_the_one_that_is_asked(api: OddApi, names: Resolved) -> None:
    names["erp.example.org"] = ["127.0.0.1"]  # no other look-up knows that name
    with open_named(api) as client:
        assert client.get("machines").json() == []


@pytest.mark.parametrize("address", ["169.254.169.254", "168.63.129.16", "0.0.0.0", "::ffff:169.254.169.254"])
@pytest.mark.parametrize("is_private", [False, True])
def test_no_name_leads_to_the_services_of_the_machine(
    api: OddApi, names: Resolved, address: str, is_private: bool
) -> None:
    names["erp.example.org"] = [address]
    with (
        open_named(api, is_private=is_private) as client,
        pytest.raises(ConfigurationError, match=r"erp\.example\.org leads to .*, where no API is"),
    ):
        client.get("latest/meta-data")


def test_a_public_name_does_not_lead_into_a_private_network(api: OddApi, names: Resolved) -> None:
    names["erp.example.org"] = ["127.0.0.1", "10.0.0.1"]
    with (
        open_named(api, is_private=False) as client,
        pytest.raises(ConfigurationError, match=r"127\.0\.0\.1, which is this machine or in a private network"),
    ):
        client.get("machines")
    assert api.asked == []


def test_a_name_that_leads_elsewhere_the_second_time_is_not_followed(api: OddApi, names: Resolved) -> None:
    names["erp.example.org"] = ["127.0.0.1"]
    api.reply = lambda _: Reply([], headers={"Connection": "close"})
    with open_named(api) as client:
        client.get("machines")
        names["erp.example.org"] = ["169.254.169.254"]
        with pytest.raises(ConfigurationError, match="where no API is"):
            client.get("machines")


def test_addresses_that_may_not_be_are_passed_over_for_one_that_may(api: OddApi, names: Resolved) -> None:
    names["erp.example.org"] = ["fe80::1", "127.0.0.1"]
    with open_named(api) as client:
        assert client.get("machines").status_code == 200


def test_a_name_that_is_looked_up_for_ever_is_not_waited_for(api: OddApi, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    monkeypatch.setattr(web, "getaddrinfo", lambda *_, **__: done.wait(60) and [])
    with (
        open_client(api.url, is_private=True, connect_timeout_s=0.1, read_timeout_s=0.1) as client,
        pytest.raises(httpx.ConnectTimeout),
    ):
        client.get("machines")
    assert not done.is_set()
    done.set()


def test_a_handshake_that_never_comes_is_not_waited_for() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        open_client(
            f"https://127.0.0.1:{silent.getsockname()[1]}", is_private=True, connect_timeout_s=0.2, read_timeout_s=0.2
        ) as client,
        pytest.raises(httpx.ConnectTimeout),
    ):
        client.get("machines")


def test_a_name_without_an_address_is_told(api: OddApi, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_up(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(web, "getaddrinfo", looked_up)
    with open_named(api) as client, pytest.raises(httpx.ConnectError) as failed:
        client.get("machines")
    assert words_of(failed.value) == "[Errno -2] Name or service not known"


def test_no_cookie_is_kept(api: OddApi) -> None:
    api.reply = lambda _: Reply([], headers={"Set-Cookie": f"more={'x' * 9_000}"})
    with open_client(api.url, is_private=True, **LIMITS) as client:
        for _ in range(3):
            client.get("machines")
    assert ["Cookie" in question.headers for question in api.asked] == [False, False, False]


def test_a_proxy_of_the_environment_is_used_and_decides_what_names_lead_to(
    api: OddApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", api.url)
    with open_client("http://erp.example.org", **LIMITS) as client:
        assert client.get("machines").json() == []
    assert [question.headers["Host"] for question in api.asked] == ["erp.example.org"]
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with open_client(api.url, is_private=True, **LIMITS) as client:
        assert client.get("machines").json() == []


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "https://dpa:canary@erp.example.org/v1?key=canary&key=canary&page=2#canary",
            "https://erp.example.org/v1?key&page",
        ),
        ("/v1/machines", "/v1/machines"),
        ("/" + "x" * 9_000, "/" + "x" * 299),
    ],
)
def test_of_a_url_nothing_is_shown_that_may_be_a_secret(url: str, told: str) -> None:
    assert shown(httpx.URL(url)) == told


def test_what_was_sent_is_not_in_the_words_for_what_went_wrong(api: OddApi) -> None:
    with open_client(api.url, is_private=True, **LIMITS) as client, pytest.raises(httpx.LocalProtocolError) as failed:
        client.get("machines", headers={"X-Api-Key": "canary\n"})
    assert "canary" in str(failed.value)  # as httpx says it
    assert "canary" not in words_of(failed.value)


@pytest.mark.parametrize("attack", ["dripping-status", "dripping-headers", "dripping-continues"])
def test_headers_that_drip_have_the_time_of_one_answer(attack: str) -> None:
    with (
        AttackServer() as server,
        open_client(f"{server.url}/v1/{attack}", is_private=True, connect_timeout_s=0.5, read_timeout_s=0.5) as client,
        pytest.raises(httpx.ReadTimeout),
    ):
        client.get("machines")


def test_a_client_that_is_told_no_limit_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "EXCHANGE_LIMIT_S", 1.0)
    with (
        AttackServer() as server,
        open_client(f"{server.url}/v1/dripping-body", is_private=True, **LIMITS) as client,
        pytest.raises(httpx.ReadTimeout),
    ):
        client.get("machines")
