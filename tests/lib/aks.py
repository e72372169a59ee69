"""Jobs of the work pool `aks`, made from its template as a Kubernetes worker makes them."""

import asyncio
import json
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import Flow, FlowRun
from prefect.client.schemas.responses import DeploymentResponse

from freight.settings import PROJECT_ROOT

AKS = PROJECT_ROOT / "deployments" / "aks"
IMAGE = f"registry.example.org/dpa@sha256:{'0123456789abcdef' * 4}"
# The placeholders that README.md replaces before the files are applied.
REPLACED = {
    "CLIENT_ID": "00000000-0000-0000-0000-000000000001",
    "WAREHOUSE_NETWORK": "10.1.2.4/32",
    "KAFKA_NETWORK": "10.1.3.0/28",
    "PRIVATE_NETWORK": "10.1.4.0/24",
    "WORKER_IMAGE": IMAGE.replace("/dpa@", "/worker@"),
    "PREFECT_SERVER": "https://prefect.example.org/api",
}
MISPLACED = ("completions", "parallelism")  # the worker expects them in the pod, where Kubernetes has none


def template(image: str) -> dict[str, Any]:
    """Return the template of the pool, with an image."""
    text = (AKS / "base-job-template.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text.replace("DPA_IMAGE", image))
    return found


def job_variables(deployment: str) -> dict[str, Any]:
    """Return the job variables of a deployment in prefect.yaml."""
    told = yaml.safe_load((PROJECT_ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    (found,) = [found for found in told["deployments"] if found["name"] == deployment]
    return dict(found.get("work_pool", {}).get("job_variables", {}))


@cache
def rendered_job(deployment: str, image: str = IMAGE) -> dict[str, Any]:
    """Return the job for a run of a deployment; callers must not change it."""
    return rendered(deployment, job_variables(deployment), image)


def rendered(deployment: str, values: dict[str, Any], image: str = IMAGE) -> dict[str, Any]:
    """Return the job for a run, without asking Prefect's server about its job variables."""
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration  # 900 modules that one test worker needs

    nowhere = PrefectClient("http://127.0.0.1:9/api")  # the template names no block, so there is no request
    making = KubernetesWorkerJobConfiguration.from_template_and_values(template(image), values, client=nowhere)
    configuration = asyncio.run(making)
    flow = Flow(name=deployment, labels={})
    deployed = DeploymentResponse(id=uuid4(), name=deployment, flow_id=flow.id, labels={})
    configuration.prepare_for_flow_run(FlowRun(name="a run", flow_id=flow.id), deployed, flow)
    job: dict[str, Any] = configuration.job_manifest
    for name in MISPLACED:
        del job["spec"]["template"]["spec"][name]
    return job


def manifests() -> list[Path]:
    """Return the files to apply to a cluster."""
    return sorted(AKS.glob("*.yaml"))


def as_applied(path: Path) -> str:
    """Return the text of a manifest with the values of an installation."""
    text = path.read_text(encoding="utf-8")
    for placeholder, value in REPLACED.items():
        text = text.replace(placeholder, value)
    return text


@cache
def parts() -> list[dict[str, Any]]:
    """Return all objects to apply to a cluster; callers must not change them."""
    return [part for path in manifests() for part in yaml.safe_load_all(as_applied(path))]
