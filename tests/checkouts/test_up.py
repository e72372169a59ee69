"""`make up`, a run from Prefect and `make down`, as the README shows them, in a copy of the repository.

One `make up` serves the tests of this file, in their order: the last one that needs it ends it.
"""

import json
import re
import socket
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import pytest
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.sync.client import connect

from tests.lib.browser import Browser
from tests.lib.checkout import MADE_BY_DPA, Checkout
from tests.lib.ports import free_port
from tests.lib.readme import block
from tests.lib.serving import HttpHandler, Served
from tests.lib.waiting import LIMIT_S, wait_until

DEPLOYMENTS = {
    "backfill/backfill",
    "check-sources/check-sources",
    "listen/listen-terminal-events",
    "listen/listen-transactions",
    "load-nightly/load-day",
    "load-nightly/load-nightly",
    "maintain-warehouse/maintain-warehouse",
    "reconcile/reconcile",
    "export-quarantine/export-quarantine",
    "preview-source/preview-source",
    "import-quarantine/import-quarantine",
    "replay-quarantine/replay-quarantine",
    "replay-range/replay-range",
    "scale-listeners/scale-listeners",
    "send-report/send-report",
    "watch/watch",
}
SCHEDULED = {  # none of which overlaps itself
    "load-nightly/load-nightly",
    "maintain-warehouse/maintain-warehouse",
    "reconcile/reconcile",
    "watch/watch",
}
LISTENERS = {"listen/listen-transactions": "transactions", "listen/listen-terminal-events": "terminal_events"}


class Installation(NamedTuple):
    """A checkout and the port that its server gets."""

    checkout: Checkout
    port: int

    @property
    def ui(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> str:
        return f"{self.ui}/api"

    @property
    def login(self) -> str:
        return (self.checkout.folder / ".prefect" / "password").read_text(encoding="ascii")

    @property
    def auth(self) -> httpx.BasicAuth:
        return httpx.BasicAuth(*self.login.split(":"))

    def run(self, line: str, **environment: str) -> str:
        """Run a line of the README, which must succeed."""
        done = self.checkout.run(line, PREFECT_SERVER_API_PORT=str(self.port), **environment)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def ask(self, path: str, **what: Any) -> Any:
        """Ask as Prefect's own clients do: again while the server says that its database is busy."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            answer = httpx.post(f"{self.api}{path}", json=what, auth=self.auth, timeout=LIMIT_S)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                return answer.raise_for_status().json()
            time.sleep(0.5)

    def keep(self, slug: str, name: str, **data: Any) -> None:
        """Keep a block of a kind that is registered."""
        (known,) = self.ask("/block_types/filter", block_types={"slug": {"any_": [slug]}})
        (schema,) = self.ask("/block_schemas/filter", block_schemas={"block_type_id": {"any_": [known["id"]]}})
        block = {"name": name, "data": data, "block_type_id": known["id"], "block_schema_id": schema["id"]}
        self.ask("/block_documents/", **block)

    def deployments(self) -> dict[str, Any]:
        flows = {flow["id"]: flow["name"] for flow in self.ask("/flows/filter")}
        return {f"{flows[found['flow_id']]}/{found['name']}": found for found in self.ask("/deployments/filter")}

    def server_settings(self) -> dict[str, Any]:
        answer = httpx.get(f"{self.api}/admin/settings", auth=self.auth, timeout=LIMIT_S)
        settings = answer.raise_for_status().json()["server"]
        assert isinstance(settings, dict)
        return settings

    def processes(self) -> list[int]:
        """Numbers of the processes that live in this checkout, children of the worker included."""
        folder = str(self.checkout.folder)
        return [p.pid for p in psutil.process_iter() if _is_of(p, folder)]


def _is_of(process: psutil.Process, folder: str) -> bool:
    try:
        return process.environ().get("PREFECT_HOME", "").startswith(folder) and process.status() != "zombie"
    except psutil.Error:
        return False


def open_to_others(installation: Installation) -> list[Path]:
    """Return what other users can use of what was written, Prefect's database with its keys included."""
    folders = [installation.checkout.folder / name for name in (*MADE_BY_DPA, ".prefect")]
    written = [path for folder in folders for path in (folder, *folder.rglob("*")) if path.exists()]
    assert any(path.name == "prefect.db" for path in written)
    return [path for path in written if path.stat().st_mode & 0o077]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = Installation(Checkout(tmp_path_factory.mktemp("up") / "dpa"), free_port())
    yield made
    for pid in made.processes():  # of a test that failed
        psutil.Process(pid).kill()


UP, LOGIN, RUN, DOWN = block("sh", "make up").splitlines()
DEPLOY = ".venv/bin/prefect --no-prompt deploy --all"


@pytest.fixture(scope="module")
def first_up(installation: Installation) -> str:
    """What `make up` says in a fresh checkout, whose runs ask a Kafka where nobody answers."""
    installation.checkout.write({"blocks.yaml": "azure-key-vault: {corridor: {url: 'https://v.vault.azure.net'}}"})
    return installation.run(UP, DPA_KAFKA_BOOTSTRAP="127.0.0.1:9")


def scheduled(installation: Installation) -> set[str]:
    """Return the names of the deployments that have runs to come."""
    names = {found["id"]: name for name, found in installation.deployments().items()}

    def found() -> set[str]:
        runs = installation.ask("/flow_runs/filter", flow_runs={"state": {"type": {"any_": ["SCHEDULED"]}}})
        return {names[run["deployment_id"]] for run in runs if run["deployment_id"]}

    wait_until(lambda: len(found()) == len(SCHEDULED))
    return found()


def count(installation: Installation, table: str) -> int:
    path = installation.checkout.folder / "database" / "supply_chain_dwh.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        ((found,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    assert isinstance(found, int)
    return found


def stored_state(installation: Installation, run: str) -> str:
    """The state of a run in the server's own database."""
    path = installation.checkout.folder / ".prefect" / "prefect.db"
    with closing(sqlite3.connect(path)) as connection:
        ((state,),) = connection.execute("SELECT state_type FROM flow_run WHERE name = ?", [run]).fetchall()
    return str(state)


def start(installation: Installation, deployment: str, until: str, **parameters: Any) -> str:
    """Start a run and wait until it is in a state; return its name."""
    found = installation.deployments()[deployment]["id"]
    run = installation.ask(f"/deployments/{found}/create_flow_run", parameters=parameters)["id"]

    def told() -> dict[str, Any]:
        (found,) = installation.ask("/flow_runs/filter", flow_runs={"id": {"any_": [run]}})
        return dict(found)

    wait_until(lambda: told()["state_type"] == until, told=f"{deployment} is not {until}")
    return str(told()["name"])


def test_make_up_starts_a_server_and_a_worker_and_deploys_everything(installation: Installation, first_up: str) -> None:
    assert first_up.startswith("Simulated 28,002 rows in 17 files")
    assert f"  {LOGIN}\n" in first_up
    assert "nobody hears of it. To set one: dpa alerts set teams" in first_up
    check_deployments(installation.deployments())
    check_server(installation.server_settings())
    assert len(installation.processes()) == 2
    assert scheduled(installation) == SCHEDULED
    assert [told["name"] for told in installation.ask("/block_documents/filter")] == ["corridor"]


def test_its_password_is_in_no_output_log_or_command_line_and_its_files_are_the_owners_alone(
    installation: Installation, first_up: str
) -> None:
    user, password = installation.login.split(":")
    assert (user, len(password) >= 32) == ("dpa", True)
    logs = [log.read_text(encoding="utf-8") for log in (installation.checkout.folder / "logs").iterdir()]
    lines = [" ".join(psutil.Process(pid).cmdline()) for pid in installation.processes()]
    assert [text for text in [first_up, *logs, *lines] if password in text] == []
    folder = installation.checkout.folder / ".prefect"
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "password", folder / "login.sh")
    }
    assert modes == {".prefect": 0o700, "password": 0o600, "login.sh": 0o600}
    shown = installation.run(".venv/bin/dpa prefect-login")
    assert shown.startswith(f"# Prefect at {installation.ui} asks for the login {installation.login}\n")
    assert shown == (folder / "login.sh").read_text(encoding="utf-8")


# --- Attacks -----------------------------------------------------------------------------------------------------

CANARY = "S3cret-of-a-block"
SECRETS = {"include_secrets": True}
ELSEWHERE = ("evil.example", "127.0.0.1.evil.example", "0.0.0.0", "")
ASKS_FIRST = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
WEBSOCKETS = (
    "events/in",
    "events/out",
    "logs/out",
    "task_runs/subscriptions/scheduled",
    "work_pools/local/workers/connect",
)


@pytest.fixture(scope="module")
def secret_block(installation: Installation, first_up: str) -> None:
    assert first_up
    installation.keep("secret", "canary", value=CANARY)
    assert CANARY in json.dumps(installation.ask("/block_documents/filter", **SECRETS))


@pytest.mark.usefixtures("secret_block")
def test_everything_but_signs_of_life_wants_the_password(installation: Installation) -> None:
    paths = httpx.get(f"{installation.api}/openapi.json", auth=installation.auth, timeout=LIMIT_S).json()["paths"]
    with httpx.Client(base_url=installation.api, timeout=LIMIT_S) as nobody:
        asked = [(method, path) for path, methods in paths.items() for method in methods]
        answers = {(m, p): nobody.request(m, re.sub(r"{\w+}", "x", p)).status_code for m, p in asked}
        assert len(answers) > 150
        assert {what for what, code in answers.items() if code != 401} == {("get", "/health"), ("get", "/ready")}
        wrong = nobody.post("/block_documents/filter", json=SECRETS, auth=("dpa", "guessed"))
        assert (wrong.status_code, CANARY in wrong.text) == (401, False)
        told = nobody.get(f"{installation.ui}/ui-settings").json()
        assert (told["api_url"], told["auth"]) == (installation.api, "BASIC")
        described = [
            nobody.get(f"{installation.ui}{path}").status_code for path in ("/docs", "/redoc", "/openapi.json")
        ]
        assert described == [404, 404, 404]


@pytest.mark.usefixtures("secret_block")
def test_a_page_of_another_origin_may_ask_nothing(installation: Installation) -> None:
    own = {installation.ui, installation.ui.replace("127.0.0.1", "localhost")}
    others = {"https://evil.example", "null", "http://127.0.0.1:9", "http://localhost"}
    for origin in own | others:
        headers = {"Origin": origin, **ASKS_FIRST}
        answer = httpx.options(f"{installation.api}/block_documents/filter", headers=headers, timeout=LIMIT_S)
        assert answer.headers.get("Access-Control-Allow-Origin") == (origin if origin in own else None)


@pytest.mark.usefixtures("secret_block")
def test_a_request_that_names_another_host_is_refused_even_with_the_password(installation: Installation) -> None:
    for host in ELSEWHERE:
        headers = {"Host": f"{host}:{installation.port}" if host else ""}
        where = f"{installation.api}/block_documents/filter"
        answer = httpx.post(where, json=SECRETS, headers=headers, auth=installation.auth, timeout=LIMIT_S)
        assert (answer.status_code, CANARY in answer.text) == (400, False), host
        assert httpx.get(installation.ui, headers=headers, timeout=LIMIT_S).status_code == 400


@pytest.mark.usefixtures("first_up")
def test_the_interface_runs_its_own_scripts_alone_and_in_no_frame(installation: Installation) -> None:
    for page in ("/", "/v2/", "/runs"):
        policy = httpx.get(f"{installation.ui}{page}", timeout=LIMIT_S).headers["Content-Security-Policy"]
        assert "script-src 'self' 'unsafe-eval'; " in policy  # no inline script, none of another host
        assert f"connect-src 'self' {installation.ui}/ {installation.ui.replace('http', 'ws')}/; " in policy
        assert policy.endswith("frame-ancestors 'none'")


@pytest.mark.usefixtures("first_up")
@pytest.mark.parametrize("path", WEBSOCKETS)
def test_a_websocket_wants_the_password_and_its_own_host(installation: Installation, path: str) -> None:
    assert said_to_websocket(installation, path, "127.0.0.1", installation.login) == "auth_success"
    assert said_to_websocket(installation, path, "127.0.0.1", "dpa:guessed") == "closed"
    assert said_to_websocket(installation, path, "127.0.0.1", None) == "refused"
    assert said_to_websocket(installation, path, "evil.example", installation.login) == "refused"


def said_to_websocket(installation: Installation, path: str, host: str, login: str | None) -> str:
    """Connect as a page of another origin would, whose host name leads here; log in if there is a login."""
    with socket.create_connection(("127.0.0.1", installation.port)) as way:
        where, protocols = f"ws://{host}:{installation.port}/api/{path}", ["prefect"] if login else None
        opening = {"origin": "https://evil.example", "open_timeout": LIMIT_S}
        try:
            with connect(where, sock=way, subprotocols=protocols, **opening) as socket_:  # type: ignore[arg-type]
                socket_.send(json.dumps({"type": "auth", "token": login}))
                return str(json.loads(socket_.recv(timeout=LIMIT_S))["type"])
        except InvalidHandshake:
            return "refused"
        except WebSocketException:
            return "closed"


# --- In a browser ------------------------------------------------------------------------------------------------

ENTER = "\ue007"


def log_in(browser: Browser, ui: str, login: str) -> None:
    browser.open(ui)
    wait_until(lambda: browser.find("input[type=password]") is not None, told=browser)
    browser.type(str(browser.find("input[type=password]")), login + ENTER)


@pytest.mark.usefixtures("first_up")
def test_the_interface_opens_in_a_browser_and_lets_in_who_knows_the_password(
    installation: Installation, browser: Browser, tmp_path: Path
) -> None:
    log_in(browser, installation.ui, "dpa:guessed")
    wait_until(lambda: "Invalid credentials" in browser.text, told=browser)
    assert "Deployments" not in browser.text

    ui = installation.ui.replace("127.0.0.1", "localhost")  # whose pages ask 127.0.0.1
    log_in(browser, ui, installation.login)
    wait_until(lambda: "Deployments" in browser.text, told=browser)
    browser.open(f"{ui}/v2/deployments")
    wait_until(lambda: "load-nightly" in browser.text, told=browser)
    browser.save_screenshot(tmp_path / "deployments.png")
    loaded = browser.run("return performance.getEntriesByType('resource').map(entry => new URL(entry.name).hostname)")
    assert set(loaded) <= {"127.0.0.1", "localhost"}  # nobody else is told that it is used


TRIES = """
const [api, deployment, run] = arguments;
const told = promise => promise.then(answer => answer.text(), error => error.name);
const json = {method: 'POST', headers: {'Content-Type': 'application/json'}};
const untyped = body => ({method: 'POST', mode: 'no-cors', body: new Blob([JSON.stringify(body)])});
const listened = new Promise(done => {
    const socket = new WebSocket(api.replace('http', 'ws') + '/events/out');
    socket.onopen = () => socket.send(JSON.stringify({type: 'filter', filter: {}}));
    socket.onmessage = message => done(message.data);
    socket.onclose = () => done('closed');
});
return Promise.all([
    told(fetch(api + '/block_documents/filter', {...json, body: '{"include_secrets": true}'})),
    told(fetch(api + `/deployments/${deployment}/create_flow_run`, {...json, body: JSON.stringify(run)})),
    told(fetch(api + `/deployments/${deployment}/create_flow_run`, untyped(run))),
    listened,
]);
"""


@pytest.mark.usefixtures("secret_block")
def test_a_page_of_others_in_a_browser_reads_no_block_and_starts_no_run(
    installation: Installation, browser: Browser
) -> None:
    reconcile = installation.deployments()["reconcile/reconcile"]["id"]
    attack = {"name": "attack", "job_variables": {"command": "false"}}
    with page_of_others() as page:
        browser.open(page)
        answers = browser.run(TRIES, installation.api, reconcile, attack)
    assert answers == ["TypeError", "TypeError", "", "closed"]  # the third is sent, and its answer kept from the page
    assert installation.ask("/flow_runs/filter", flow_runs={"name": {"any_": ["attack"]}}) == []


@contextmanager
def page_of_others() -> Iterator[str]:
    """Serve an empty page at another port of this machine."""

    class Page(HttpHandler):
        def do_GET(self) -> None:
            self.answer(200, headers={"Content-Type": "text/html"})

    with Served(Page) as server:
        yield f"{server.url}/"


# --- Work, and the end -------------------------------------------------------------------------------------------


def test_everything_runs_from_prefect_and_nothing_after_make_down(installation: Installation, first_up: str) -> None:
    assert first_up
    deployed, running = installation.deployments(), installation.processes()
    installation.run(f"{LOGIN}\n{RUN}")  # ends with 0 if the run is Completed
    loaded = count(installation, "fact_transactions")
    assert loaded > 20_000

    installation.keep("alert-channel", "alerts", kind="webhook", key="http://127.0.0.1:9/nobody")
    again = installation.run(UP, PREFECT_SERVER_API_AUTH_STRING="ops:another")  # in a shell that knows no Kafka
    assert "alerts go to the channel 'alerts'" in again
    assert "The Prefect server is already running" in again
    assert "It keeps its old password" in again
    assert "The worker is already running" in again
    assert "It keeps its old DPA_KAFKA_BOOTSTRAP" in again
    assert installation.processes() == running
    assert {name: told["id"] for name, told in installation.deployments().items()} == {
        name: told["id"] for name, told in deployed.items()
    }
    assert count(installation, "fact_transactions") == loaded

    installation.run(f"{LOGIN}\n{DEPLOY}")  # needs no variable
    check_deployments(installation.deployments())
    installation.run(f"{LOGIN}\n{DEPLOY}", DPA_SCALING="true")
    scaler = installation.deployments()["scale-listeners/scale-listeners"]
    assert [schedule["active"] for schedule in scaler["schedules"]] == [True]
    installation.run(f"{LOGIN}\n{DEPLOY}")

    start(installation, "reconcile/reconcile", until="COMPLETED")
    listener = start(installation, "listen/listen-transactions", until="RUNNING", simulated=True)
    ended = installation.run(DOWN)
    assert f"Cancelling {listener}\nThe worker and the Prefect server are stopped" in ended
    assert stored_state(installation, listener) == "CANCELLED"
    assert installation.processes() == []
    assert "Nothing is running here" in installation.run(DOWN)
    assert open_to_others(installation) == []


def check_server(settings: dict[str, Any]) -> None:
    """It deletes what is old, remembers beyond a kill who has a place, and tells nobody that it is used."""
    assert set(settings["services"]["db_vacuum"]["enabled"]) == {"events", "flow_runs"}
    assert settings["concurrency"]["lease_storage"].endswith(".filesystem")
    assert settings["analytics_enabled"] is False


def check_deployments(deployed: dict[str, Any]) -> None:
    """What prefect.yaml says is what the server knows."""
    assert set(deployed) == DEPLOYMENTS
    for name, told in deployed.items():
        assert (told["work_pool_name"], told["description"] != "", "dpa" in told["tags"]) == ("local", True, True)
        parameters = told["parameter_openapi_schema"]["properties"].items()
        assert [n for n, parameter in parameters if not parameter.get("description")] == [], name
    limits = {n: t["global_concurrency_limit"] and t["global_concurrency_limit"]["limit"] for n, t in deployed.items()}
    assert {name for name, limit in limits.items() if limit} == SCHEDULED | {"scale-listeners/scale-listeners"}
    scaler = deployed["scale-listeners/scale-listeners"]
    assert [schedule["active"] for schedule in scaler["schedules"]] == [False]
    assert scaler["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert deployed["load-nightly/load-nightly"]["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    (nightly,) = deployed["load-nightly/load-nightly"]["schedules"]
    assert (nightly["schedule"]["cron"], nightly["schedule"]["timezone"]) == ("0 2 * * *", "Africa/Douala")
    for name, dataset in LISTENERS.items():
        assert deployed[name]["parameters"]["dataset"] == dataset
        assert deployed[name]["job_variables"]["env"]["MALLOC_ARENA_MAX"] == "2"


def test_a_port_in_use_is_named_and_nothing_is_left(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", installation.port)):
        done = installation.checkout.run("python3 bootstrap.py up", PREFECT_SERVER_API_PORT=str(installation.port))
    assert done.returncode == 2
    assert f"port {installation.port} of 127.0.0.1 is in use by another program" in done.stdout
    assert installation.processes() == []
