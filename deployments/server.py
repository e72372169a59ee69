"""The Prefect server that `make up` starts: Prefect's own, for those alone who call it by name and know the password.

Prefect's `server start` answers whatever name it is called by, so a page whose name leads to this machine (DNS
rebinding) would pass for its own.
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
from freight.errors import ConfigurationError, DpaError
from freight.settings import load_settings


def guarded(app: FastAPI, address: Address) -> ASGIApp:
    """Return an app that answers only who calls it by its name, by HTTP and by websockets."""
    _close_pages_with_scripts_of_others(app)
    return TrustedHostMiddleware(app, sorted(address.hosts), www_redirect=False)


def _close_pages_with_scripts_of_others(app: FastAPI) -> None:
    """Take away the descriptions that need no password: they fetch scripts to where the browser keeps it."""
    for part in (app, *_interfaces(app)):
        pages = {part.docs_url, part.redoc_url, part.swagger_ui_oauth2_redirect_url, part.openapi_url}
        part.router.routes[:] = [route for route in part.routes if getattr(route, "path", None) not in pages]


def _interfaces(app: FastAPI) -> Iterator[FastAPI]:
    for route in app.routes:
        if isinstance(route, Mount) and route.name == "ui" and isinstance(route.app, FastAPI):
            yield route.app


def policy(api: httpx.URL) -> str:
    """Return what a browser allows the interface, which keeps the password where every script in its pages can read it.

    They are Prefect's own and talk to its API alone, so they send no usage figures either; and no page of others lays
    the buttons of somebody who is logged in under its own.

    Args:
        api: The API that the interface asks.
    """
    places = [str(api.copy_with(scheme=scheme, path="/")) for scheme in (api.scheme, api.scheme.replace("http", "ws"))]
    allowed = {
        "script-src": ["'self'", "'unsafe-eval'"],  # by which the graph of a run is drawn
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
        ConfigurationError: there is no password, or it could be read on the way.
    """
    server = get_current_settings().server
    if not server.api.auth_string:
        raise ConfigurationError(
            "a Prefect needs a password: set PREFECT_SERVER_API_AUTH_STRING, or start it by make up"
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


def main() -> int:
    """Serve where the settings say; return 2 if they are wrong."""
    try:
        serve(Address.wanted(load_settings().home))
    except DpaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
