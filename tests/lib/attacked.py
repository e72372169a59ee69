"""Reads from an attacking API in a process of its own: `python -m tests.lib.attacked PLAIN TLS CA`.

Prints a line of JSON for each attack: its target, its name, the resulting error, and the peak memory so far in MiB.
"""

import json
import re
import resource
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from blocks import http_auth
from blocks.http_api import HttpApi
from freight import retry
from freight.errors import DpaError
from freight.readers import http_pages
from freight.readers.http_pages import Pages
from freight.readers.http_paging import ApiOptions
from tests.lib.attacks import ATTACKS, SLOW

MEMORY_LIMIT_BYTES = 2 << 30  # the machine must survive a successful attack
LIMIT_S = 2.0  # slow attacks always outlast it
KEY = "canary: the secret of the client"


Attacked = tuple[str, str, str, int]


def _attacked(on: str, name: str, api: HttpApi) -> Attacked:
    said = "nothing"
    try:
        with api.client() as client, tempfile.TemporaryDirectory() as folder:
            Pages(client, ApiOptions(), "erp/machines", httpx.URL("machines"), {}).write(Path(folder))
    except DpaError as error:
        said = str(error)
    except Exception as error:
        said = f"raw {type(error).__name__}: {error}"
    return on, name, said, _peak_mib()


def _peak_mib() -> int:
    """Return the peak memory of this process; getrusage may report that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) >> 10


def _attack(names: Iterable[str], urls: Mapping[str, str], workers: int, **limits: Any) -> Iterator[Attacked]:
    tls: dict[str, Any] = {"auth": "oauth2", "client_id": "dpa", "key": KEY, "ca_location": urls["ca"]}
    attacks: list[tuple[str, str, HttpApi]] = []
    for name in names:
        api = HttpApi(base_url=f"{urls['plain']}/v1/{name}", private=True, **limits)
        token_url = f"{urls['tls']}/v1/{name}"
        by_tokens = HttpApi(base_url=f"{urls['tls']}/v1/body", token_url=token_url, private=True, **tls, **limits)
        attacks += [("api", name, api), ("token", name, by_tokens)]
    with ThreadPoolExecutor(workers) as threads:
        yield from threads.map(_attacked, *zip(*attacks, strict=True))


def main() -> None:
    """Run every attack."""
    urls = dict(zip(("plain", "tls", "ca"), sys.argv[1:], strict=True))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    retry.SOURCE = retry.RetryPolicy(first_pause_s=0, retries=0)
    told = [*_attack([name for name in ATTACKS if name not in SLOW], urls, workers=1)]
    http_pages.FETCH_LIMIT_S = http_auth.TOKEN_LIMIT_S = LIMIT_S
    told += _attack(SLOW, urls, workers=8, connect_timeout_s=LIMIT_S, read_timeout_s=LIMIT_S)
    print(*map(json.dumps, told), sep="\n")


if __name__ == "__main__":
    main()
