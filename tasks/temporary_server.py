"""The temporary server that Prefect starts for a process without a server."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.context import refresh_global_settings_context
from prefect.settings import get_current_settings

from freight.errors import ConfigurationError

PATIENCE = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
LATE = "attempting to connect to ephemeral Prefect API server"  # in Prefect's words


def new_login() -> str:
    """Return a user and a random password, as `user:password`."""
    return f"dpa:{secrets.token_urlsafe(24)}"


def guard_temporary_server() -> None:
    """Protect this process's temporary server with a password; do nothing if the settings name a server.

    It listens on loopback, which every page in a browser on this machine reaches, and holds the blocks of its user.
    Call this before any use of Prefect's API.
    """
    if get_current_settings().api.url:  # an empty one names none, for Prefect too
        return
    login = new_login()
    # A busy small machine needs minutes instead of Prefect's 20 s to make the database and compile what it imports.
    os.environ.setdefault(PATIENCE, "600")
    os.environ |= {
        "PREFECT_SERVER_API_AUTH_STRING": login,
        "PREFECT_API_AUTH_STRING": login,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": "",  # no page needs it, since it has no interface
        "PREFECT_CLIENT_METRICS_ENABLED": "false",  # otherwise a run opens a port to everybody
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    refresh_global_settings_context()


@contextmanager
def login_hint() -> Iterator[None]:
    """Explain what to do if a server asks for a login that this process does not have, or if its own does not start.

    Raises:
        ConfigurationError: In place of the server's refusal, or of the traceback of a late server.
    """
    try:
        yield
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.UNAUTHORIZED:
            raise
        raise ConfigurationError(
            f"Prefect at {get_current_settings().api.url} asks for a login: give this shell the one of `make up` with "
            "`. .prefect/login.sh`, set PREFECT_API_AUTH_STRING, or unset PREFECT_API_URL"
        ) from None
    except RuntimeError as error:
        if LATE not in str(error):
            raise
        waited = get_current_settings().server.ephemeral.startup_timeout_seconds
        raise ConfigurationError(
            f"Prefect's temporary server did not start within {waited} s: set {PATIENCE} to more seconds, or start a "
            "server with `make up` and give this shell its address with `. .prefect/login.sh`"
        ) from None
