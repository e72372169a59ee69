"""Where the Prefect of this machine may listen, who it lets in, and how shells are told."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_METRICS_ENABLED,
    PREFECT_SERVER_API_HOST,
    PREFECT_SERVER_API_PORT,
    temporary_settings,
)
from typer.testing import CliRunner

from deployments import apply_blocks, local, server
from deployments.address import Address
from deployments.background import Background
from deployments.local import Endpoint, server_environment
from deployments.login import OURS, POWERSHELL, THEIRS, chosen_login, kept_login, source_line, tell_shells
from flows import listen, load_nightly
from freight.addresses import is_loopback
from freight.console.cli import app
from freight.errors import ConfigurationError
from freight.settings import Settings
from tasks.temporary_server import guard_temporary_server, new_login
from tests.lib.certificates import write_certificates
from tests.lib.ports import free_port


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation whose user has set nothing."""
    for name in (OURS, THEIRS, "PREFECT_UI_URL", "DPA_PREFECT_CERTIFICATE", "DPA_PREFECT_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Settings(tmp_path, "sqlite://", tmp_path / "catalog.yaml")


# --- The address -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.1.2.3", "192.168.0.4", "prefect.example.org", "localhost.example"]
)
def test_an_address_that_others_reach_is_refused_without_tls(host: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"set DPA_PREFECT_CERTIFICATE to a PEM file .* ssh -L 4200:127.0.0.1:4200"
    ):
        Address(host, 4200).require_closed()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"])
def test_an_address_of_this_machine_alone_needs_no_tls(host: str) -> None:
    assert is_loopback(host)
    Address(host, 4200).require_closed()


def test_with_tls_others_may_reach_it_by_the_name_in_the_certificate(
    here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_certificates(here.home / "ca.pem", here.home / "server.pem", "prefect.example.org")
    monkeypatch.setenv("DPA_PREFECT_CERTIFICATE", "server.pem")
    with temporary_settings({PREFECT_SERVER_API_HOST: "0.0.0.0"}):
        with pytest.raises(ConfigurationError, match=r"such as https://prefect.example.org:4200"):
            Address.wanted(here.home).require_closed()
        monkeypatch.setenv("PREFECT_UI_URL", "https://prefect.example.org:4200/dashboard")
        address = Address.wanted(here.home)
        address.require_closed()
    assert address.api == "https://prefect.example.org:4200/api"
    assert address.hosts == {"127.0.0.1", "localhost", "[::1]", "prefect.example.org"}  # but not 0.0.0.0
    assert address.origins == {
        "https://prefect.example.org:4200",
        "https://127.0.0.1:4200",
        "https://localhost:4200",
        "https://[::1]:4200",
    }


def test_a_proxy_in_front_of_it_has_to_speak_tls(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_UI_URL", "https://prefect.example.org")
    address = Address.wanted(here.home)
    address.require_closed()
    assert (address.api, str(address.ui)) == ("http://127.0.0.1:4200/api", "https://prefect.example.org")
    assert {"prefect.example.org"} < address.hosts
    monkeypatch.setenv("PREFECT_UI_URL", "http://prefect.example.org")
    with pytest.raises(
        ConfigurationError, match=r"^http://prefect.example.org is not how others can open Prefect safely"
    ):
        Address.wanted(here.home).require_closed()


@pytest.mark.parametrize("key", [None, "ca.pem", "nowhere.pem"])
def test_a_certificate_that_cannot_be_used_is_named(here: Settings, key: str | None) -> None:
    write_certificates(here.home / "ca.pem", here.home / "server.pem")
    address = Address("127.0.0.1", 4200, certificate=here.home / "ca.pem", key=here.home / key if key else None)
    with pytest.raises(ConfigurationError, match="DPA_PREFECT_CERTIFICATE and DPA_PREFECT_KEY name no certificate"):
        address.require_closed()


def test_a_key_that_every_user_can_read_is_refused(here: Settings) -> None:
    write_certificates(here.home / "ca.pem", server := here.home / "server.pem")
    server.chmod(0o644)
    address = Address("127.0.0.1", 4200, certificate=server)
    with pytest.raises(ConfigurationError, match=r"every user of this machine can read the key .* chmod 600"):
        address.require_closed()
    server.chmod(0o640)
    address.require_closed()


def test_the_password_that_is_made_cannot_be_guessed() -> None:
    made = {new_login().partition(":")[2] for _ in range(100)}
    assert len(made) == 100
    assert {len(password) for password in made} == {32}  # 192 bits in base64


def test_a_name_that_is_no_url_is_refused(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_UI_URL", "prefect.example.org")
    with pytest.raises(ConfigurationError, match="PREFECT_UI_URL is not a URL such as"):
        Address.wanted(here.home)


def test_no_setting_of_a_user_opens_the_server(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"):
        monkeypatch.setenv(name, "*")
    monkeypatch.setenv("PREFECT_SERVER_API_HOST", "0.0.0.0")
    address, endpoint = Address("127.0.0.1", 4201), Endpoint("http://127.0.0.1:4201/api", "dpa:x")
    told = server_environment(here, address, endpoint)
    script = (
        "from prefect.settings import get_current_settings; a = get_current_settings().server.api;"
        "print(a.host, a.port, a.auth_string.get_secret_value(), a.cors_allowed_origins)"
    )
    done = subprocess.run([sys.executable, "-c", script], env=told, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "127.0.0.1",
        "4201",
        "dpa:x",
        "http://127.0.0.1:4201,http://[::1]:4201,http://localhost:4201",
    ]


def test_the_server_itself_refuses_to_start_without_a_password() -> None:
    with pytest.raises(ConfigurationError, match="the Prefect server needs a password"):
        server.serve(Address("127.0.0.1", free_port()))


def test_metrics_for_everybody_are_refused(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "demo", lambda: None)
    settings = {PREFECT_SERVER_API_PORT: free_port(), PREFECT_CLIENT_METRICS_ENABLED: True}
    with (
        temporary_settings(settings),
        pytest.raises(ConfigurationError, match="PREFECT_CLIENT_METRICS_ENABLED would open a port to everybody"),
    ):
        local.up(here)


def test_a_server_of_an_older_version_is_not_gone_on_with(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "demo", lambda: None)
    older = Background(here.processes / "prefect-server.pid", here.logs / "prefect-server.log")
    argv = [sys.executable, "-c", "import time; time.sleep(600)", "server", "start"]
    older.start(argv, {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"}, here.home)
    try:
        with pytest.raises(ConfigurationError, match=r"older version .*: make down, then make up"):
            local.up(here)
    finally:
        older.stop()


# --- The password ------------------------------------------------------------------------------------------------


def test_a_password_is_made_once_and_shown_once(here: Settings) -> None:
    shown: list[str] = []
    made = chosen_login(here, shown.append)
    assert chosen_login(here, shown.append) == made
    assert shown == [made]
    other = Settings(here.home / "other", "sqlite://", here.catalog)
    assert chosen_login(other, shown.append) != made


@pytest.mark.skipif(os.name == "nt", reason="on Windows the list of the folder decides")
def test_an_older_folder_is_closed_and_what_it_holds_is_kept(here: Settings) -> None:
    here.prefect.mkdir(mode=0o755)
    here.prefect.chmod(0o755)
    database = here.prefect / "prefect.db"
    database.write_text("runs", encoding="utf-8")
    chosen_login(here, print)
    assert stat.S_IMODE(here.prefect.stat().st_mode) == 0o700
    assert stat.S_IMODE((here.prefect / "password").stat().st_mode) == 0o600
    assert database.read_text(encoding="utf-8") == "runs"


def test_the_users_own_takes_the_place_of_the_one_that_was_made(
    here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen_login(here, print)
    monkeypatch.setenv(OURS, "ops:p@ss 'word'")
    assert chosen_login(here, print) == "ops:p@ss 'word'"
    assert kept_login(here) == ""


@pytest.mark.parametrize(
    "login", ["nocolon", ":x", "ops:", "ops:geh\N{LATIN SMALL LETTER E WITH ACUTE}im", "ops:x\n", "o\tp:x"]
)
def test_a_password_with_which_nobody_could_log_in_is_refused_and_not_repeated(
    here: Settings, monkeypatch: pytest.MonkeyPatch, login: str
) -> None:
    monkeypatch.setenv(OURS, login)
    with pytest.raises(ConfigurationError, match="has to be user:password") as told:
        chosen_login(here, print)
    assert login not in str(told.value)


def test_a_password_that_was_made_is_shown_to_a_person_and_not_to_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    local._show_once("dpa:x")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    local._show_once("dpa:x")
    assert capsys.readouterr().out.endswith(": dpa:x\n")


# --- The file for shells -----------------------------------------------------------------------------------------

ECHO = f'printf "%s|" "$PREFECT_API_URL" "${THEIRS}"'


def endpoint(login: str) -> Endpoint:
    return Endpoint("http://127.0.0.1:4200/api", login)


def sourced(here: Settings, **environment: str) -> subprocess.CompletedProcess[str]:
    lines = f"{source_line(here)}\n{ECHO}"
    return subprocess.run(
        ["sh", "-c", lines], env=environment, cwd=here.home, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(os.name == "nt", reason="PowerShell's lines are compared below")
def test_a_shell_that_sources_the_line_knows_address_and_password(here: Settings) -> None:
    login = chosen_login(here, print)
    tell_shells(here, "http://127.0.0.1:4200", endpoint(login).variables)
    assert sourced(here).stdout == f"http://127.0.0.1:4200/api|{login}|"


@pytest.mark.skipif(os.name == "nt", reason="PowerShell's lines are compared below")
def test_the_users_own_password_is_taken_from_the_environment_and_written_nowhere(here: Settings) -> None:
    own = "ops:p@ss 'w\"or$d`"
    tell_shells(here, "http://127.0.0.1:4200", endpoint(own).variables)
    assert own not in here.prefect_login.read_text(encoding="utf-8")
    assert sourced(here, **{OURS: own}).stdout == f"http://127.0.0.1:4200/api|{own}|"
    without = sourced(here)
    assert without.returncode != 0
    assert f"{OURS}: must be the login that the Prefect server was started with" in without.stderr


def test_powershell_is_told_the_same(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.login._shell", lambda _: POWERSHELL)
    login = chosen_login(here, print)
    ca = Endpoint("https://it's:4200/api", login, "C:\\ca.pem")
    tell_shells(here, "https://it's:4200", ca.variables)
    _, how, *lines = here.prefect_login.read_text(encoding="utf-8").splitlines()
    assert how.endswith("Get-Content -Raw -Encoding UTF8 '" + str(here.prefect_login) + "' | Invoke-Expression")
    assert lines == [
        "$env:PREFECT_API_URL = 'https://it''s:4200/api'",
        f"$env:PREFECT_API_AUTH_STRING = '{login}'",
        "$env:PREFECT_API_SSL_CERT_FILE = 'C:\\ca.pem'",
    ]
    tell_shells(here, "https://it's:4200", endpoint("ops:own").variables)
    assert here.prefect_login.read_text(encoding="utf-8").splitlines()[2:] == [
        f"if (-not $env:{OURS}) {{ throw '{OURS} must be the login that the Prefect server was started with' }}",
        "$env:PREFECT_API_URL = 'http://127.0.0.1:4200/api'",
        f"$env:PREFECT_API_AUTH_STRING = $env:{OURS}",
    ]


def test_dpa_shows_the_file_as_it_is_and_says_where_it_comes_from(
    here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DPA_HOME", str(here.home))
    nothing = CliRunner().invoke(app, ["prefect-login"])
    assert isinstance(nothing.exception, ConfigurationError)
    assert "no Prefect was started here: make up" in str(nothing.exception)
    tell_shells(here, "http://127.0.0.1:4200", endpoint(chosen_login(here, print)).variables)
    assert CliRunner().invoke(app, ["prefect-login"]).output == here.prefect_login.read_text(encoding="utf-8")


# --- Servers that a process starts for itself --------------------------------------------------------------------


class Guarded(Exception):
    """What a program does first of all."""


@pytest.mark.parametrize("program", [load_nightly, listen, apply_blocks], ids=lambda program: program.__name__)
def test_each_program_that_may_start_a_server_guards_it_first(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def guard() -> None:
        raise Guarded

    monkeypatch.setattr(program, "guard_temporary_server", guard)
    monkeypatch.setattr("sys.argv", [program.__name__])
    with pytest.raises(Guarded):
        program.main()


def test_who_names_a_server_logs_in_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THEIRS, "ops:of the server")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        guard_temporary_server()
    assert os.environ[THEIRS] == "ops:of the server"


def test_an_address_that_is_empty_names_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (OURS, THEIRS, "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PREFECT_CLIENT_METRICS_ENABLED", "true")
    monkeypatch.setenv("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    monkeypatch.setattr("tasks.temporary_server.refresh_global_settings_context", lambda: None)  # of this process
    with temporary_settings({PREFECT_API_URL: ""}):
        guard_temporary_server()
    assert os.environ[OURS] == os.environ[THEIRS] != ""
    assert os.environ["PREFECT_CLIENT_METRICS_ENABLED"] == "false"


@pytest.mark.parametrize("url", ["https://*", "https://*.example.org", "https://a,*", "https://a b"])
def test_a_name_that_stands_for_every_name_is_refused(
    here: Settings, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("PREFECT_UI_URL", url)
    with pytest.raises(ConfigurationError, match="PREFECT_UI_URL is not a URL such as"):
        Address.wanted(here.home)


def test_a_line_end_in_the_path_of_the_home_starts_no_command(here: Settings) -> None:
    home = here.home / "a\ntouch started"
    home.mkdir()
    odd = Settings(home, here.warehouse_url, here.catalog)
    tell_shells(odd, "http://127.0.0.1:4200", {"PREFECT_API_URL": "http://127.0.0.1:4200/api", THEIRS: "dpa:x"})
    lines = odd.prefect_login.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith(("#", "export ", ":"))] == []
