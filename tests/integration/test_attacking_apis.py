"""An HTTP server that attacks costs neither memory nor time, and hears no secret twice."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.lib.attacks import ATTACKS, SLOW, AttackServer
from tests.lib.certificates import write_certificates

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak of memory is read where Linux shows it"
)

PEAK_LIMIT_MIB = 200
TIMED_OUT = r"\[timed_out\]|timed out"
NO_HTTP = "the connection ended early, or the response is not HTTP"
TOO_LARGE = r"over 16 MiB a page and 512 MiB in all \[too_large\]"
NO_TOKEN = "answers 200 without a token"
SENT_ON = r"and redirects elsewhere: a secret is not forwarded"

BY_THE_API = {
    "gzip-within-gzip": "it is compressed more than once",
    "gzip-on-two-lines": "it is compressed more than once",
    "gzip": TOO_LARGE,
    "deflate": TOO_LARGE,
    "many-encodings": "it is compressed more than once",
    "brotli": r"not with gzip \[unsupported\]. Remedy: have the API respond uncompressed",
    "half-a-gzip": "the compressed data has no end",
    "two-gzips": "continues after the end",
    "no-gzip": "not compressed as its header says",
    "redirect-with-a-body": TOO_LARGE,
    "posted-on": "needs an HTTP API block of its own",
    "redirect-to-nowhere": "it redirects to no usable address, or more than 5 times",
    "redirect-loop": "it redirects to no usable address, or more than 5 times",
    "refused-with-a-body": "answers 401 Unauthorized",
    "missing-with-a-body": "answers 404 Not Found",
    "broken-with-a-body": "answers 500 Internal Server Error",
    "body": TOO_LARGE,
    "many-links": "nothing",
    "dripping-error": "answers 500 Internal Server Error",
    "dripping-redirect": TOO_LARGE,
}
BY_THE_TOKEN_SERVER = {
    **dict.fromkeys(("gzip-within-gzip", "gzip", "deflate", "many-encodings", "brotli", "half-a-gzip"), NO_TOKEN),
    **dict.fromkeys(("gzip-on-two-lines", "two-gzips", "no-gzip", "body", "many-links"), NO_TOKEN),
    **dict.fromkeys(("redirect-with-a-body", "posted-on", "redirect-loop", "dripping-redirect"), SENT_ON),
    "redirect-to-nowhere": "redirects to an invalid URL: ask its owner",
    "refused-with-a-body": "answers 401 without a token",
    "missing-with-a-body": "answers 404 without a token",
    "broken-with-a-body": "answers 500",
    "dripping-error": TIMED_OUT,
}
SAID = {"api": BY_THE_API, "token": BY_THE_TOKEN_SERVER}


class Attacked(NamedTuple):
    """What became of an attack."""

    said: str
    peak_mib: int


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Attacked]]:
    """All attacks on one process."""
    folder = tmp_path_factory.mktemp("attacks")
    ca_path, server_path = folder / "ca.pem", folder / "server.pem"
    write_certificates(ca_path, server_path)
    with AttackServer() as plain, AttackServer(server_path) as tls:
        command = [sys.executable, "-m", "tests.lib.attacked", plain.url, tls.url, str(ca_path)]
        environment = {**os.environ, "HOME": str(folder)}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        told = [json.loads(line) for line in done.stdout.splitlines()]
        yield {(on, name): Attacked(said, peak_mib) for on, name, said, peak_mib in told}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("on", SAID)
def test_an_answer_that_attacks_costs_neither_memory_nor_time(
    attacked: dict[tuple[str, str], Attacked], on: str, name: str
) -> None:
    said, peak_mib = attacked[on, name]
    told = SAID[on].get(name, NO_HTTP)
    assert re.search(f"{told}|{TIMED_OUT}" if name in SLOW else told, said), said
    assert peak_mib <= PEAK_LIMIT_MIB
    assert "canary" not in said
