"""Who this process is for Azure, and how long Azure may take to answer it."""

from functools import cache
from typing import Any

from azure.core.credentials import TokenCredential

ANSWER_S = 5  # by default Azure is asked for many minutes, and a listener has to poll
PATIENCE: dict[str, Any] = {"connection_timeout": ANSWER_S, "read_timeout": ANSWER_S, "retry_total": 1}


@cache  # it keeps its tokens until they expire
def machine_credential() -> TokenCredential:
    """Return what this machine has: a workload or managed identity, a service principal's variables, `az login`."""
    from azure.identity import DefaultAzureCredential  # a slow import, which few need

    return DefaultAzureCredential(**PATIENCE)
