"""Servers of Prefect that other machines reach, and those that a process starts for itself."""

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, PREFECT_SERVER_API_PORT, temporary_settings
from websockets.sync.client import connect

from deployments import address
from deployments.address import Address
from deployments.local import Endpoint, is_healthy
from freight.errors import ConfigurationError
from tests.lib.alerting import own_prefect
from tests.lib.certificates import write_certificates
from tests.lib.ports import free_port
from tests.lib.serving import HttpHandler, Served
from tests.lib.waiting import LIMIT_S


def test_a_server_for_others_speaks_tls_alone_to_those_who_know_its_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "is_loopback", lambda _: False)  # it listens on loopback all the same
    ca, certificate, port = tmp_path / "ca.pem", tmp_path / "server.pem", free_port()
    write_certificates(ca, certificate)
    monkeypatch.setenv("DPA_PREFECT_CERTIFICATE", certificate.name)
    monkeypatch.setenv("PREFECT_UI_URL", f"https://localhost:{port}")
    with temporary_settings({PREFECT_SERVER_API_PORT: port}):
        there = Address.wanted(tmp_path)
    there.require_closed()
    with own_prefect(tmp_path, address=there, authority=str(ca)) as own:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), own.endpoint.client() as client:
            assert client.read_flow_runs() == []
        trusted, login = ssl.create_default_context(cafile=str(ca)), own.endpoint.login
        where = f"wss://localhost:{port}/api/events/out"
        with connect(where, ssl=trusted, subprotocols=["prefect"], open_timeout=LIMIT_S) as socket:  # type: ignore[list-item]
            socket.send(json.dumps({"type": "auth", "token": login}))
            assert json.loads(socket.recv(timeout=LIMIT_S))["type"] == "auth_success"
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://localhost:{port}/api/health", timeout=LIMIT_S)
        with pytest.raises(ConfigurationError, match=r"name its authority in PREFECT_API_SSL_CERT_FILE"):
            is_healthy(Endpoint(own.endpoint.url, login))


# The flow of the program is held until the test has attacked the server that was started for it.
HELD = """
import sys
from prefect import flow, get_client
from flows import load_nightly as program

@flow
def held(sources):
    with get_client(sync_client=True) as client:
        print(client.api_url, flush=True)
    sys.stdin.readline()

program.load_nightly = held
sys.exit(program.main())
"""


def test_the_server_that_a_flow_starts_for_itself_answers_it_alone(tmp_path: Path) -> None:
    """Also where a login for another server is set."""
    environment = {
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(LIMIT_S),
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_API_AUTH_STRING": "ops:of another",
    }
    with subprocess.Popen(
        [sys.executable, "-c", HELD], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        api = process.stdout.readline().strip()
        try:
            asked = httpx.post(f"{api}/block_documents/filter", json={"include_secrets": True}, timeout=LIMIT_S)
            assert asked.status_code == 401
            other = httpx.post(f"{api}/flows/filter", json={}, auth=("ops", "of another"), timeout=LIMIT_S)
            assert other.status_code == 401
            page = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
            answer = httpx.options(f"{api}/flows/filter", headers=page, timeout=LIMIT_S)
            assert "Access-Control-Allow-Origin" not in answer.headers
        finally:
            process.communicate("\n", timeout=LIMIT_S)
    assert process.returncode == 0


@pytest.mark.parametrize("command", ["flows.load_nightly", "deployments.apply_blocks"])
def test_who_calls_a_server_without_its_login_is_told_where_it_is(command: str, server_that_refuses: str) -> None:
    """A shell, or its profile, that names the Prefect of `make up` as older releases said."""
    done = subprocess.run(
        [sys.executable, "-m", command],
        env={"PREFECT_API_URL": server_that_refuses, "PREFECT_CLIENT_MAX_RETRIES": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"error: Prefect at {server_that_refuses} asks for a login" in done.stderr
    assert "`. .prefect/login.sh`" in done.stderr


@pytest.mark.parametrize("command", ["flows.load_nightly", "flows.listen", "deployments.apply_blocks"])
def test_who_waits_in_vain_for_a_server_of_its_own_is_told_the_setting(command: str, tmp_path: Path) -> None:
    """On a slow machine; here no server is waited for at all."""
    done = subprocess.run(
        [sys.executable, "-m", command],
        env={"PREFECT_HOME": str(tmp_path), "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "error: Prefect's temporary server did not start within 0 s: set PREFECT_SERVER_EPHEMERAL" in done.stderr
    assert "start a server with `make up`" in done.stderr


@pytest.fixture
def server_that_refuses() -> Iterator[str]:
    class Refusal(HttpHandler):
        def _refuse(self) -> None:
            self.answer(401)

        do_GET = do_POST = _refuse

    with Served(Refusal) as server:
        yield f"{server.url}/api"
