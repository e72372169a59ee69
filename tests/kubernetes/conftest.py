"""The work pool `aks` on a live Kubernetes: a Prefect server, a worker with the rights of its file, and what runs use.

`KUBECONFIG` names the cluster and `DPA_TEST_IMAGE` an image with DPA that its nodes have or can pull. Servers of the
tests listen at `DPA_TEST_HOST`, an address of this machine that pods reach; by default that of the cluster's node.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from freight.demo import local_kafka
from freight.settings import PROJECT_ROOT
from freight.warehouse.connect import open_engine
from freight.warehouse.migrate import migrate
from tests.lib.aks import AKS, as_applied, template
from tests.lib.kafka_under_test import KafkaUnderTest
from tests.lib.kubernetes import NAMESPACE, config_map, found, kubectl, login_as
from tests.lib.oracle import TRANSACTIONS
from tests.lib.postgres import PostgresServer, own_server
from tests.lib.streams import Battery
from tests.lib.waiting import wait_until

LOGIN = "ops:a password"
START_LIMIT_S = 180.0
PREFECT = (sys.executable, "-m", "prefect")


def needed(variable: str) -> str:
    """Return an environment variable without which nothing can be tested."""
    value = os.environ.get(variable)
    if not value:
        pytest.fail(f"NOT TESTED: {variable} is not set")
    return value


@pytest.fixture(scope="session")
def image() -> str:
    needed("KUBECONFIG")
    return needed("DPA_TEST_IMAGE")


@pytest.fixture(scope="session")
def cluster(image: str) -> Iterator[None]:
    """A cluster with our namespace, which must not have been there: at the end it is deleted."""
    assert image
    known = kubectl("get", "namespaces", "-o", "name").split()
    assert f"namespace/{NAMESPACE}" not in known, f"the namespace {NAMESPACE} is in use: delete it, or test elsewhere"
    kubectl("apply", "-f", "-", given=as_applied(AKS / "namespace.yaml"))
    kubectl("apply", "-f", str(AKS / "worker-rbac.yaml"))
    yield
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    kubectl("delete", "priorityclass", "dpa-batch", "dpa-listeners")


@pytest.fixture(scope="session")
def host() -> str:
    """An address of this machine that pods reach."""
    if told := os.environ.get("DPA_TEST_HOST"):
        return told
    node = kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}")
    assert node, "the cluster has no node"
    return node


@pytest.fixture(scope="session")
def prefect(host: str, cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncPrefectClient]:
    """A Prefect server that pods reach, with a password."""
    assert cluster is None
    folder = tmp_path_factory.mktemp("server")
    with socket.create_server((host, 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "PREFECT_HOME": str(folder), "PREFECT_SERVER_API_AUTH_STRING": LOGIN}
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*PREFECT, "server", "start", "--host", host, "--port", str(port)],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"http://{host}:{port}/api"
    try:
        wait_until(lambda: is_up(url), START_LIMIT_S)
        here = {PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: LOGIN}
        with temporary_settings(here), get_client(sync_client=True) as client:
            yield client
    finally:
        end(process)


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", auth=httpx.BasicAuth(*LOGIN.split(":")), timeout=5).is_success
    except httpx.HTTPError:
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process with its children."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def told_to_prefect(url: str, *arguments: str, **environment: str) -> str:
    """Run a command of Prefect, which must succeed."""
    login = {"PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": LOGIN}
    done = subprocess.run(
        [*PREFECT, *arguments],
        cwd=PROJECT_ROOT,
        env={**os.environ, **login, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def pool(
    prefect: SyncPrefectClient, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SyncPrefectClient]:
    """The pool, all deployments and a worker, as the README of deployments/aks makes them."""
    folder, url = tmp_path_factory.mktemp("worker"), PREFECT_API_URL.value()
    kubectl("-n", NAMESPACE, "create", "secret", "generic", "prefect-api", f"--from-literal=auth-string={LOGIN}")
    path = folder / "job-template.json"
    path.write_text(json.dumps(template(image)), encoding="utf-8")
    told_to_prefect(url, "work-pool", "create", "aks", "--type", "kubernetes", "--base-job-template", str(path))
    told_to_prefect(url, "--no-prompt", "deploy", "--all", PREFECT_DEFAULT_WORK_POOL_NAME="aks")
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*PREFECT, "worker", "start", "--pool", "aks", "--type", "kubernetes", "--install-policy", "never"],
            env={**os.environ, **worker_environment(url), "KUBECONFIG": str(login_as("prefect-worker", folder / "k"))},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield prefect
    finally:
        end(process)


def worker_environment(url: str) -> dict[str, str]:
    """Return what worker.yaml gives the worker, where it is not secret."""
    text = (AKS / "worker.yaml").read_text(encoding="utf-8")
    told = dict(re.findall(r"\{name: (PREFECT_INTEGRATIONS_\w+), value: ([\w-]+)\}", text))
    assert len(told) == 4
    return {
        **told,
        "PREFECT_API_URL": url,
        "PREFECT_API_AUTH_STRING": LOGIN,
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }


@pytest.fixture
def battery(
    host: str,
    cluster: None,
    kafka_jars: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Battery]:
    """A warehouse and a Kafka that pods reach, and that all runs are told of."""
    assert cluster is None
    monkeypatch.setattr(local_kafka, "HOST", host)
    with (
        own_server({"listen_addresses": f"127.0.0.1,{host}"}) as server,
        KafkaUnderTest(kafka_jars, tmp_path_factory.mktemp("kafka")) as kafka,
    ):
        let_everybody_in(server)
        url = server.new_database()
        engine = open_engine(url)
        migrate(engine)
        from_pods = f"{url.replace('127.0.0.1', host)}?sslmode=disable"
        places = {"DPA_WAREHOUSE_URL": from_pods, "DPA_KAFKA_BOOTSTRAP": kafka.bootstrap}
        config_map("dpa-settings", **places, DPA_KAFKA_INSECURE="true")
        yield Battery(kafka, engine, url, TRANSACTIONS)
        engine.dispose()
        kubectl("-n", NAMESPACE, "delete", "jobs", "--all", "--wait=false")
        wait_until(lambda: found("pods") == [], 120)
        kafka.crash()


def let_everybody_in(server: PostgresServer) -> None:
    """Let pods connect without a password: the server lives as long as its test, on the network of this machine."""
    with (server.folder / "data" / "pg_hba.conf").open("a", encoding="utf-8") as access:
        access.write("host all all 0.0.0.0/0 trust\n")
    server.stop()
    server.start()
