"""Prefect's API for callers that must not wait for it."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

ANSWER_S = 5.0


@contextmanager
def impatient_client() -> Iterator[SyncPrefectClient]:
    """Yield a client that fails within seconds if Prefect is away; its usual one retries for a minute or more."""
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(sync_client=True, httpx_settings={"timeout": ANSWER_S}) as client,
    ):
        yield client
