"""A running Kubernetes: the one in `KUBECONFIG`."""

import json
import subprocess
from pathlib import Path
from typing import Any

NAMESPACE = "dpa"


def kubectl(*arguments: str, given: str = "") -> str:
    """Run a kubectl command that must succeed; return its output.

    Args:
        arguments: The arguments of kubectl.
        given: The text for its standard input.
    """
    done = subprocess.run(["kubectl", *arguments], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def found(*arguments: str) -> Any:
    """Return the objects that `kubectl get` finds in our namespace."""
    return json.loads(kubectl("-n", NAMESPACE, "get", *arguments, "-o", "json"))["items"]


def pods_of(run_id: object) -> list[str]:
    """Return the names of the pods of a flow run."""
    pods = found("pods", "-l", f"prefect.io/flow-run-id={run_id}")
    return [pod["metadata"]["name"] for pod in pods]


def config_map(name: str, **data: str) -> None:
    """Create or change a ConfigMap; key names have `__` for a dot."""
    keys = {key.replace("__", "."): value for key, value in data.items()}
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}, "data": keys}
    kubectl("apply", "-f", "-", given=json.dumps(made))


def login_as(account: str, path: Path) -> Path:
    """Write a kubeconfig with the rights of a service account, and no others."""
    config = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    token = kubectl("-n", NAMESPACE, "create", "token", account, "--duration=2h").strip()
    (user,) = config["users"]
    user["user"] = {"token": token}
    path.touch(mode=0o600)
    path.write_text(json.dumps(config), encoding="utf-8")
    return path
