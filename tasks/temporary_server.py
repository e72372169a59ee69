"""The server that Prefect starts for a process that names none."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.context import refresh_global_settings_context
from prefect.settings import get_current_settings

from freight.errors import ConfigurationError


def new_login() -> str:
    """Return a user and a password that nobody guesses, as `user:password`."""
    return f"dpa:{secrets.token_urlsafe(24)}"


def guard_temporary_server() -> None:
    """Let the server of this process answer this process alone; does nothing where settings name a server.

    It listens on loopback, which every page in a browser of this machine reaches, and has the blocks of its user.
    To be called before anything asks Prefect.
    """
    if get_current_settings().api.url:  # an empty one names none, for Prefect as well
        return
    login = new_login()
    os.environ.setdefault(
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120"
    )  # 20 s are too few on a busy machine
    os.environ |= {
        "PREFECT_SERVER_API_AUTH_STRING": login,
        "PREFECT_API_AUTH_STRING": login,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": "",  # it has no interface, so no page needs it
        "PREFECT_CLIENT_METRICS_ENABLED": "false",  # a run would open a port to everybody
    }
    refresh_global_settings_context()


@contextmanager
def told_login() -> Iterator[None]:
    """Say what to do where a server wants a login that this process does not know.

    Raises:
        ConfigurationError: in place of the refusal of the server.
    """
    try:
        yield
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.UNAUTHORIZED:
            raise
        raise ConfigurationError(
            f"Prefect at {get_current_settings().api.url} wants a login: tell this shell that of `make up` by "
            "`. .prefect/login.sh`, set PREFECT_API_AUTH_STRING, or unset PREFECT_API_URL"
        ) from None
