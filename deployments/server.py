"""The Prefect server that `make up` starts: Prefect's own, limited to its own host names and its password.

Prefect's `server start` answers to any Host header, so a foreign page whose name resolves to this machine (DNS
rebinding) would count as same-origin.
"""

import sys
from collections.abc import Iterator

import httpx
import uvicorn
from fastapi import FastAPI
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings
from starlette.routing import Mount
from starlette.types import ASGIApp

from deployments.address import Address
from freight.errors import ConfigurationError
from freight.exits import exits_in_words
from freight.settings import load_settings


def guarded(app: FastAPI, address: Address) -> ASGIApp:
    """Return an app that answers only to its own host names, over HTTP and websockets."""
    _close_pages_with_scripts_of_others(app)
    return TrustedHostMiddleware(app, sorted(address.hosts), www_redirect=False)


def _close_pages_with_scripts_of_others(app: FastAPI) -> None:
    """Remove the API documentation, which needs no password: it loads foreign scripts into the origin that holds it."""
    for part in (app, *_interfaces(app)):
        pages = {part.docs_url, part.redoc_url, part.swagger_ui_oauth2_redirect_url, part.openapi_url}
        part.router.routes[:] = [route for route in part.routes if getattr(route, "path", None) not in pages]


def _interfaces(app: FastAPI) -> Iterator[FastAPI]:
    for route in app.routes:
        if isinstance(route, Mount) and route.name == "ui" and isinstance(route.app, FastAPI):
            yield route.app


def policy(api: httpx.URL) -> str:
    """Return the content security policy of the interface, whose scripts can all read the password.

    Only Prefect's own scripts run, and they reach its API alone, so they cannot send usage figures either; and no
    foreign page can put the interface of a logged-in user into a frame.

    Args:
        api: The API that the interface calls.
    """
    places = [str(api.copy_with(scheme=scheme, path="/")) for scheme in (api.scheme, api.scheme.replace("http", "ws"))]
    allowed = {
        "script-src": ["'self'", "'unsafe-eval'"],  # for drawing the graph of a run
        "worker-src": ["'self'", "blob:"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "connect-src": ["'self'", *places],
        "frame-ancestors": ["'none'"],
    }
    return "; ".join(" ".join([what, *whence]) for what, whence in allowed.items())


def serve(address: Address) -> None:
    """Serve until the process is told to end.

    Raises:
        ConfigurationError: There is no password, or its traffic could be read on the way.
    """
    server = get_current_settings().server
    if not server.api.auth_string:
        raise ConfigurationError(
            "the Prefect server needs a password: set PREFECT_SERVER_API_AUTH_STRING, or start it with make up"
        )
    address.require_closed()
    uvicorn.run(
        guarded(create_app(final=True), address),
        host=address.host,
        port=address.port,
        ssl_certfile=address.certificate,
        ssl_keyfile=address.key,
        headers=[("Content-Security-Policy", policy(httpx.URL(server.ui.api_url or address.api)))],
        timeout_keep_alive=server.api.keepalive_timeout,
        ws_ping_interval=server.api.websocket_ping_interval,
        ws_ping_timeout=server.api.websocket_ping_timeout,
        log_level=server.logging_level.lower(),
    )


@exits_in_words
def main() -> int:
    """Serve at the address of the settings."""
    serve(Address.wanted(load_settings().home))
    return 0


if __name__ == "__main__":
    sys.exit(main())
