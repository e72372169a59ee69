"""What is applied to a cluster, judged by its API server, which changes nothing (a server-side dry run)."""

import json
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.lib.aks import AKS, IMAGE, as_applied, manifests, rendered_job
from tests.lib.kubernetes import NAMESPACE, kubectl
from tests.lib.waiting import wait_until

pytestmark = [pytest.mark.kubernetes, pytest.mark.usefixtures("cluster")]
DRY_RUN = ("apply", "--dry-run=server", "--validate=strict", "-f", "-")
WORKER = f"system:serviceaccount:{NAMESPACE}:prefect-worker"


@pytest.mark.parametrize("path", manifests(), ids=lambda path: path.stem)
def test_a_manifest_is_right(path: Path) -> None:
    printed = kubectl(*DRY_RUN, given=as_applied(path))
    assert "(server dry run)" in printed


@pytest.mark.parametrize("deployment", ["load-nightly", "listen-transactions", "send-report"])
def test_a_job_is_right_and_its_pod_is_let_in_where_pods_are_restricted(deployment: str, image: str) -> None:
    job = rendered_job(deployment, image)
    printed = kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", "-o", "name", given=json.dumps(job))
    assert printed.startswith("job.batch/")
    pod = {"apiVersion": "v1", "kind": "Pod", **job["spec"]["template"]}
    pod["metadata"] = {**pod["metadata"], "name": "it", "namespace": NAMESPACE}
    assert kubectl(*DRY_RUN, given=json.dumps(pod)).startswith("pod/it created")


@pytest.mark.parametrize(
    ("verb", "what", "place", "answer"),
    [
        ("create", "jobs", NAMESPACE, "yes"),
        ("watch", "pods", NAMESPACE, "yes"),
        ("get", "secrets", NAMESPACE, "no"),
        ("create", "pods", NAMESPACE, "no"),
        ("create", "pods/exec", NAMESPACE, "no"),
        ("list", "pods", "kube-system", "no"),
        ("create", "jobs", "default", "no"),
    ],
)
def test_the_worker_may_do_its_work_and_no_more(verb: str, what: str, place: str, answer: str) -> None:
    asked = ["kubectl", "auth", "can-i", verb, what, "-n", place, "--as", WORKER]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)  # a no is an exit code, too
    assert told.stdout.strip() == answer, told.stderr


@pytest.fixture(scope="module")
def judged() -> Iterator[str]:
    """A namespace whose pods the policy judges: not ours, where images of tests have tags."""
    name = "dpa-judged"
    kubectl("create", "namespace", name)
    policy = as_applied(AKS / "pod-policy.yaml").replace("metadata.name: dpa\n", f"metadata.name: {name}\n")
    kubectl("apply", "-f", "-", given=policy)
    try:
        wait_until(lambda: refusal(name, image="dpa:1") != "", 60)  # it takes effect after some seconds
        yield name
    finally:
        kubectl("delete", "-f", "-", given=policy)
        kubectl("delete", "namespace", name, "--wait=false")


def refusal(namespace: str, *, owner: str = "Job", **changes: Any) -> str:
    """Return what the cluster says against a pod of a run whose container or pod is changed."""
    pod: dict[str, Any] = deepcopy(rendered_job("load-nightly")["spec"]["template"])
    (container,) = pod["spec"]["containers"]
    for name, value in changes.items():
        (container if name in ("image", "env") else pod["spec"])[name] = value
    del pod["spec"]["priorityClassName"]
    owners = [{"apiVersion": "batch/v1", "kind": owner, "name": "it", "uid": "00000000-0000-0000-0000-000000000002"}]
    pod |= {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "it", "namespace": namespace}}
    pod["metadata"]["ownerReferences"] = owners
    asked = ["kubectl", "create", "--dry-run=server", "-f", "-"]
    return subprocess.run(asked, input=json.dumps(pod), capture_output=True, text=True, check=False).stderr


def test_a_pod_is_let_in_by_what_it_is(judged: str) -> None:
    kubectl("-n", judged, "create", "serviceaccount", "dpa-run")
    kubectl("-n", judged, "create", "serviceaccount", "prefect-worker")
    url = "PREFECT_API_URL"
    assert refusal(judged, image=IMAGE) == ""
    assert "named by its digest" in refusal(judged, image="registry.example.org/dpa:1")
    assert "begins with https://" in refusal(judged, env=[{"name": url, "value": "http://prefect.example.org/api"}])
    assert refusal(judged, env=[{"name": url, "value": "http://prefect-server.prefect.svc:4200/api"}]) == ""
    assert "dpa-run and no token" in refusal(judged, serviceAccountName="prefect-worker")
    assert "dpa-run and no token" in refusal(judged, automountServiceAccountToken=True)
    assert refusal(judged, owner="ReplicaSet", serviceAccountName="prefect-worker") == ""
