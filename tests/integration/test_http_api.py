"""An HTTP API is reached at its own host alone, with a key or a token that may change meanwhile."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from blocks.http_api import HttpApi
from blocks.key_vault import KeyVault, KeyVaultSecret
from freight.errors import ConfigurationError, TransientError
from tests.lib.certificates import write_certificates
from tests.lib.serving import HttpHandler, Served
from tests.lib.vault import StandInVault

NewApi = Callable[..., HttpApi]


class Erp(Served):
    """Stands for an API: machines for whom shows a key or a token, tokens for whom knows the secret of the client.

    Attributes:
        key: what it takes; tokens are for this secret, too.
        token: the one that it gives and takes.
        lifetime_s: of tokens.
        status, refusal, headers: of the token server, when it is unwell.
        seen: requests, as path and who showed what.
    """

    def __init__(self, folder: Path) -> None:
        self.ca_path, certificate = folder / "erp-ca.pem", folder / "erp.pem"
        write_certificates(self.ca_path, certificate)
        self.key, self.token, self.lifetime_s, self.status = "canary one", "token one", 3600, 200
        self.refusal: dict[str, Any] = {}
        self.headers: dict[str, str] = {}
        self.seen: list[tuple[str, str | None]] = []
        erp = self

        class Handler(HttpHandler):
            def do_GET(self) -> None:
                shown = self.headers.get("X-Api-Key") or self.headers.get("Authorization")
                erp.seen.append((self.path, shown))
                if self.path == "/v1/away":
                    self.tell(302, {}, Location=f"https://127.0.0.1:{erp.port}/v1/machines")
                elif shown in (erp.key, f"Bearer {erp.token}"):
                    self.tell(200, {"machines": 3})
                else:
                    self.tell(401, {})

            def do_POST(self) -> None:
                form = parse_qs(self.sent.decode())
                erp.seen.append((self.path, form["client_secret"][0]))
                told = (form["grant_type"], form["client_id"], form["scope"], form["client_secret"])
                if erp.status != 200:
                    self.tell(erp.status, erp.refusal, **erp.headers)
                elif told == (["client_credentials"], ["dpa"], ["erp"], [erp.key]):
                    self.tell(200, {"access_token": erp.token, "expires_in": erp.lifetime_s})
                else:
                    self.tell(401, {"error": "invalid_client"})

            def tell(self, status: int, content: dict[str, Any], **headers: str) -> None:
                self.answer(status, json.dumps(content).encode(), headers)

        super().__init__(Handler, certificate)


@pytest.fixture
def erp(tmp_path: Path) -> Iterator[Erp]:
    with Erp(tmp_path) as made:
        yield made


@pytest.fixture
def new_api(erp: Erp, vault: StandInVault) -> NewApi:
    """Makes blocks of the API whose key is in the vault."""
    vault.set("erp", erp.key)
    secret = KeyVaultSecret(vault=KeyVault(url=vault.url), name="erp")
    oauth2 = {"token_url": f"{erp.url}/token", "client_id": "dpa", "scope": "erp"}
    place = {"base_url": f"{erp.url}/v1", "private": True, "ca_location": str(erp.ca_path)}
    shared: dict[str, Any] = {**place, "key_secret": secret}
    return lambda auth, **more: HttpApi(auth=auth, **{**shared, **(oauth2 if auth == "oauth2" else {}), **more})


def machines(client: httpx.Client) -> Any:
    return client.get("machines").raise_for_status().json()["machines"]


@pytest.mark.parametrize("auth", ["api-key", "oauth2"])
def test_a_key_that_changes_is_followed_by_a_client_that_lives(
    erp: Erp, new_api: NewApi, vault: StandInVault, auth: str
) -> None:
    with new_api(auth).client() as client:
        assert machines(client) == machines(client) == 3
        erp.key, erp.token = "canary two", "token two"
        vault.set("erp", "canary two")
        assert machines(client) == 3
        erp.key, erp.token = "canary three", "token three"
        if auth == "api-key":
            assert client.get("machines").status_code == 401  # the vault does not know it yet
        else:
            with pytest.raises(ConfigurationError, match="answers 401 without a token: check client_id, scope and"):
                machines(client)


def test_a_token_is_kept_until_it_is_about_to_expire(erp: Erp, new_api: NewApi) -> None:
    with new_api("oauth2").client() as client:
        assert machines(client) == machines(client) == 3
        assert [path for path, _ in erp.seen] == ["/token", "/v1/machines", "/v1/machines"]
    erp.lifetime_s = 30
    erp.seen.clear()
    with new_api("oauth2").client() as client:
        assert machines(client) == machines(client) == 3
        assert [path for path, _ in erp.seen] == 2 * ["/token", "/v1/machines"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_token_server_that_is_unwell_may_be_asked_again(erp: Erp, new_api: NewApi, status: int) -> None:
    erp.status = status
    with new_api("oauth2").client() as client:
        with pytest.raises(TransientError, match=f"answers {status}"):
            machines(client)
        erp.status = 200
        assert machines(client) == 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_secret_of_a_client_is_posted_once_and_nowhere_else(erp: Erp, new_api: NewApi, status: int) -> None:
    erp.status = status
    for place in (f"{erp.url.replace('localhost', '127.0.0.1')}/stolen", "/stolen"):
        erp.headers = {"Location": place}
        erp.seen.clear()
        with (
            new_api("oauth2").client() as client,
            pytest.raises(ConfigurationError, match=f"answers {status}, and redirects elsewhere: a secret is not"),
        ):
            client.get("machines", follow_redirects=True)
        assert erp.seen == [("/token", erp.key)]


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        ({"error": "invalid_scope", "error_description": "canary one"}, r"the key \(invalid_scope\)$"),
        ({"error": "canary one"}, "the key$"),
        ({"error": ["invalid_scope"]}, "the key$"),
        ({"access_token": 7}, "the key$"),
        ({"access_token": "token one"}, "the key$"),
    ],
)
def test_of_a_refusal_only_what_oauth_has_a_word_for_is_told(
    erp: Erp, new_api: NewApi, refusal: dict[str, Any], told: str
) -> None:
    erp.status, erp.refusal, erp.headers = 403, refusal, {"X-Told": "canary one"}
    with new_api("oauth2").client() as client, pytest.raises(ConfigurationError, match=told) as refused:
        machines(client)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("lifetime", [-1, "soon", 1e300, None, [], True])
def test_a_lifetime_that_is_none_does_no_harm(erp: Erp, new_api: NewApi, lifetime: Any) -> None:
    erp.lifetime_s = lifetime
    with new_api("oauth2").client() as client:
        assert machines(client) == machines(client) == 3


@pytest.mark.parametrize("key", ["canary\nX: y", "canary\x00", "canary é", "canary\r"])
def test_a_key_that_no_header_can_hold_is_not_repeated(vault: StandInVault, new_api: NewApi, key: str) -> None:
    vault.set("erp", key)
    with new_api("api-key").client() as client, pytest.raises(ConfigurationError, match=r"secret|key") as refused:
        machines(client)
    assert "canary" not in str(refused.value)


def test_a_token_that_no_header_can_hold_is_not_repeated(erp: Erp, new_api: NewApi) -> None:
    erp.token = "canary\nX: y"
    with new_api("oauth2").client() as client, pytest.raises(ConfigurationError, match="has a line end") as refused:
        machines(client)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("auth", ["api-key", "oauth2"])
def test_nothing_leads_a_client_to_another_host(erp: Erp, new_api: NewApi, auth: str) -> None:
    elsewhere = erp.url.replace("localhost", "127.0.0.1")
    with new_api(auth).client() as client:
        assert client.get("away").status_code == 302
        for url in ("away", f"{elsewhere}/v1/machines", erp.url.replace("https", "http")):
            with pytest.raises(ConfigurationError, match="needs an HTTP API block of its own"):
                client.get(url, follow_redirects=True)
        assert machines(client) == 3


def test_an_api_without_a_login_gets_none(erp: Erp, new_api: NewApi) -> None:
    with new_api("none", key_secret=None).client() as client:
        assert client.get("machines").status_code == 401
    assert erp.seen == [("/v1/machines", None)]


def test_an_authority_that_is_not_known_is_not_trusted(new_api: NewApi) -> None:
    with (
        new_api("none", key_secret=None, ca_location=None).client() as client,
        pytest.raises(httpx.ConnectError, match="certificate verify failed"),
    ):
        machines(client)


def test_an_api_that_is_slow_is_not_waited_for(erp: Erp, new_api: NewApi) -> None:
    with (
        new_api("none", key_secret=None, read_timeout_s=0.001).client() as client,
        pytest.raises(httpx.TimeoutException),
    ):
        machines(client)
    assert erp.url
