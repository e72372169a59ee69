"""The job that a run becomes in the work pool `aks`: as docs/streaming.md wants it, and without rights."""

from typing import Any

import pytest
import yaml

from freight.settings import PROJECT_ROOT
from tests.lib.aks import manifests, rendered_job

DEPLOYMENTS = [
    found["name"] for found in yaml.safe_load((PROJECT_ROOT / "prefect.yaml").read_text("utf-8"))["deployments"]
]
LISTENERS = ["listen-terminal-events", "listen-transactions"]
ONCE = [*LISTENERS, "scale-listeners", "send-report", "watch"]  # they hand over, or would tell people twice
every_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS)


def pod_of(deployment: str) -> dict[str, Any]:
    pod: dict[str, Any] = rendered_job(deployment, "registry.example.org/dpa:1")["spec"]["template"]["spec"]
    return pod


def container_of(deployment: str) -> dict[str, Any]:
    (container,) = pod_of(deployment)["containers"]
    assert isinstance(container, dict)
    return container


def environment_of(deployment: str) -> dict[str, str]:
    return {told["name"]: told["value"] for told in container_of(deployment)["env"]}


def test_no_placeholder_is_left() -> None:
    for deployment in DEPLOYMENTS:
        assert "{{" not in str(rendered_job(deployment, "registry.example.org/dpa:1"))
    assert container_of("load-nightly")["image"] == "registry.example.org/dpa:1"


@every_deployment
def test_a_run_is_told_to_end_once_and_has_time_to(deployment: str) -> None:
    job = rendered_job(deployment, "registry.example.org/dpa:1")
    assert job["spec"]["backoffLimit"] == 0
    # A pod that drains has not failed: the worker would call its run Crashed while it still works.
    assert job["spec"]["podReplacementPolicy"] == "Failed"
    assert job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 45
    behavior = "relinquish" if deployment in ONCE else "reschedule"
    assert environment_of(deployment)["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == behavior
    assert job["spec"]["ttlSecondsAfterFinished"] == 3_600


@every_deployment
def test_a_run_has_no_rights_and_writes_only_where_it_is_its_own(deployment: str) -> None:
    pod, container = pod_of(deployment), container_of(deployment)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    told = environment_of(deployment)
    assert writable == {"/tmp", told["DPA_HOME"]}
    assert told["PREFECT_HOME"].startswith(told["DPA_HOME"])


@every_deployment
def test_a_run_gets_an_identity_by_its_label_and_account(deployment: str) -> None:
    labels = rendered_job(deployment, "registry.example.org/dpa:1")["spec"]["template"]["metadata"]["labels"]
    assert labels["azure.workload.identity/use"] == "true"
    assert pod_of(deployment)["serviceAccountName"] == "dpa-run"


@every_deployment
def test_runs_of_a_deployment_are_spread(deployment: str) -> None:
    labels = rendered_job(deployment, "registry.example.org/dpa:1")["spec"]["template"]["metadata"]["labels"]
    for spread in pod_of(deployment)["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"].items() <= labels.items()
        assert set(spread["matchLabelKeys"]) <= labels.keys()


@pytest.mark.parametrize("deployment", LISTENERS)
def test_a_listener_has_the_memory_and_the_priority_that_it_needs(deployment: str) -> None:
    resources = container_of(deployment)["resources"]
    assert (resources["requests"]["memory"], resources["limits"]["memory"]) == ("512Mi", "1Gi")
    assert pod_of(deployment)["priorityClassName"] == "dpa-listeners"
    assert environment_of(deployment)["MALLOC_ARENA_MAX"] == "2"


def test_the_worker_may_do_nothing_outside_of_its_namespace() -> None:
    found = [part for path in manifests() for part in yaml.safe_load_all(path.read_text("utf-8"))]
    assert {part["kind"] for part in found if "rbac" in part["apiVersion"]} == {"Role", "RoleBinding"}
    places = {part["metadata"].get("namespace") for part in found if part["kind"] not in ("Namespace", "PriorityClass")}
    assert places == {"dpa"}
    (role,) = [part for part in found if part["kind"] == "Role"]
    assert "*" not in str(role["rules"])
    assert "secrets" not in str(role["rules"])
