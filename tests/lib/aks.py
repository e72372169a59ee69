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
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

from freight.settings import PROJECT_ROOT

AKS = PROJECT_ROOT / "deployments" / "aks"
MISPLACED = ("completions", "parallelism")  # the worker wants them in the pod, where Kubernetes knows none


def template(image: str) -> dict[str, Any]:
    """Return the template of the pool, with an image."""
    text = (AKS / "base-job-template.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text.replace("DPA_IMAGE", image))
    return found


def job_variables(deployment: str) -> dict[str, Any]:
    """Return what a deployment of prefect.yaml asks of its work pool."""
    told = yaml.safe_load((PROJECT_ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    (found,) = [found for found in told["deployments"] if found["name"] == deployment]
    return dict(found["work_pool"].get("job_variables", {}))


@cache
def rendered_job(deployment: str, image: str) -> dict[str, Any]:
    """Return the job that a run of a deployment becomes; nobody may change it."""
    nowhere = PrefectClient("http://127.0.0.1:9/api")  # the template names no block, so nobody is asked
    values = job_variables(deployment)
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
    """Return the files that are applied to a cluster."""
    return sorted(AKS.glob("*.yaml"))
