"""What runs of a work pool may ask for; whatever else a job is, the pool says."""

import json
from typing import Any

from freight.settings import PROJECT_ROOT

AKS = PROJECT_ROOT / "deployments" / "aks" / "base-job-template.json"


def process_template() -> dict[str, Any]:
    """Return the template of a pool of processes, without a command, a folder and variables of whoever starts a run.

    Its runs may ask for what those of the pool `aks` may, so that `prefect.yaml` serves both: of processes, only `env`
    means something.
    """
    variables = json.loads(AKS.read_text(encoding="utf-8"))["variables"]
    return {"job_configuration": {"env": "{{ env }}"}, "variables": variables}
