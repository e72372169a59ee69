"""What is applied to a cluster, judged by its API server, which changes nothing (a server-side dry run)."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.lib.aks import manifests, rendered_job
from tests.lib.kubernetes import NAMESPACE, kubectl

pytestmark = [pytest.mark.kubernetes, pytest.mark.usefixtures("cluster")]
DRY_RUN = ("apply", "--dry-run=server", "--validate=strict", "-f", "-")
WORKER = f"system:serviceaccount:{NAMESPACE}:prefect-worker"


@pytest.mark.parametrize("path", manifests(), ids=lambda path: path.stem)
def test_a_manifest_is_right(path: Path) -> None:
    printed = kubectl(*DRY_RUN, given=path.read_text(encoding="utf-8"))
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
