"""The job settings that runs of a work pool may choose; the pool fixes all others."""

import json
from typing import Any

from freight.settings import PROJECT_ROOT

AKS = PROJECT_ROOT / "deployments" / "aks" / "base-job-template.json"


def process_template() -> dict[str, Any]:
    """Return the job template of a process pool; whoever starts a run cannot set a command or a folder.

    Its runs may set the same fields as those of the pool `aks`, so that `prefect.yaml` works for both: for processes
    only `env` has an effect.
    """
    variables = json.loads(AKS.read_text(encoding="utf-8"))["variables"]
    return {"job_configuration": {"env": "{{ env }}"}, "variables": variables}
