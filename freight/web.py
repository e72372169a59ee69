"""How an HTTP server of others is asked: at its own host and an address that may be, until a deadline, in small pieces.

httpx alone waits anew for each byte, unpacks without bound and however often something was packed, reads whatever comes
with a redirection or a refusal, and goes wherever a name leads.
"""

import ssl
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import CookieJar, DefaultCookiePolicy
from math import inf
from socket import SOCK_STREAM, getaddrinfo
from threading import local
from time import monotonic
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from freight.addresses import fault_of_address
from freight.errors import ConfigurationError

EXCHANGE_LIMIT_S = 1_800.0  # for a question and its answer, unless the question says until when
ERROR_LIMIT_BYTES = 4_096  # of what comes with a refusal
PIECE_BYTES = 1 << 16
REDIRECTS_LIMIT = 5
SHOWN_CHARS = 300  # of a URL, which a server may make as long as it likes
UNTIL = "until"  # the extension of a question that says until when it has its whole answer, by the monotonic clock
ENCODINGS = {"gzip", "x-gzip", "deflate"}


def open_client(
    url: str,
    *,
    connect_timeout_s: float,
    read_timeout_s: float,
    is_private: bool = False,
    authorities: ssl.SSLContext | None = None,
    auth: httpx.Auth | None = None,
) -> httpx.Client:
    """Return a client of one HTTP server; it keeps no cookies, and follows only the redirections that it is asked to.

    A status and its headers have to come within both timeouts. Of an answer that is no success the beginning is kept,
    of a redirection nothing. A proxy that the environment names is used, and then decides what names lead to.

    Args:
        url: of the server; no other scheme, host or port is asked.
        connect_timeout_s: until it takes a connection.
        read_timeout_s: until it says something.
        is_private: True if it is in a private network, or on this machine.
        authorities: who vouches for it; the known ones by default.
        auth: how to log in.

    What the client raises is httpx's own, and besides:

    Raises:
        ConfigurationError: another server is asked for, or the name leads to an address that may not be.
    """
    place = httpx.URL(url)

    def stay(request: httpx.Request) -> None:
        if _origin(request.url) != _origin(place):
            host = request.url.host[:SHOWN_CHARS]
            raise ConfigurationError(f"the API {shown(place)} leads to {host}: that needs an HTTP API block of its own")

    return httpx.Client(
        base_url=place,
        auth=auth,
        headers={"Accept-Encoding": "gzip"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        timeout=httpx.Timeout(read_timeout_s, connect=connect_timeout_s),
        max_redirects=REDIRECTS_LIMIT,
        event_hooks={"request": [stay]},
        transport=_Transport(authorities, connect_timeout_s + read_timeout_s, is_private, _proxy_to(place)),
    )


def shown(url: httpx.URL) -> str:
    """Return a URL as it may be shown: of what stands behind its question mark only the names."""
    names = "&".join(dict.fromkeys(url.params.keys()))
    bare = url.copy_with(query=None, fragment=None, username=None, password=None)
    return f"{bare}{'?' if names else ''}{names}"[:SHOWN_CHARS]


def words_of(error: httpx.TransportError) -> str:
    """Say what went wrong in our own words: those of the library may repeat what was sent, or what came back."""
    match error:
        case httpx.TimeoutException():
            return "timed out"
        case httpx.ConnectError():
            return str(error)  # what the system or TLS says before anything is sent
        case httpx.NetworkError():
            return "the connection broke"
        case httpx.ProxyError():
            return "the proxy refuses"
        case _:
            return "it broke off, or what it said is no HTTP"


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _proxy_to(url: httpx.URL) -> str | None:
    proxies = getproxies()
    proxy = None if proxy_bypass(url.host) else proxies.get(url.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


class _Transport(httpx.HTTPTransport):
    """Gives answers whose bodies come unpacked in small pieces, and those of refusals cut short."""

    def __init__(
        self, authorities: ssl.SSLContext | None, head_limit_s: float, is_private: bool, proxy: str | None
    ) -> None:
        super().__init__(verify=authorities or True, proxy=proxy)
        self._head_limit_s = head_limit_s
        self._network = _Network(is_private, is_checked=proxy is None)
        self._pool._network_backend = self._network  # httpx has no argument for it

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.BaseTransport`."""
        now = monotonic()
        until = request.extensions.get(UNTIL, now + EXCHANGE_LIMIT_S)
        self._network.clock.until = min(until, now + self._head_limit_s)
        answer = super().handle_request(request)
        assert isinstance(answer.stream, httpx.SyncByteStream)
        answer.stream = _Unpacked(answer.stream, answer.headers.pop("Content-Encoding", ""))
        if answer.is_success:
            self._network.clock.until = until
        else:
            answer.stream = _Beginning(answer.stream, 0 if answer.is_redirect else ERROR_LIMIT_BYTES)
        return answer


class _Unpacked(httpx.SyncByteStream):
    """A body in pieces of `PIECE_BYTES` at most, whatever it was packed as; httpx does not get to see that."""

    def __init__(self, stream: httpx.SyncByteStream, encoding: str) -> None:
        self._stream, self._encoding = stream, encoding.strip().lower()

    def __iter__(self) -> Iterator[bytes]:
        if self._encoding in ("", "identity"):
            return iter(self._stream)
        if self._encoding not in ENCODINGS:
            raise httpx.DecodingError("it is packed more than once, or not as gzip")
        return self._unpacked()

    def _unpacked(self) -> Iterator[bytes]:
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # with the header of gzip or of zlib
        for packed in self._stream:
            yield from _pieces(unpacker, packed)
            if unpacker.unused_data:
                raise httpx.DecodingError("it goes on behind the end of what is packed")
        if not unpacker.eof:
            raise httpx.DecodingError("what is packed has no end")

    def close(self) -> None:
        """See `httpx.SyncByteStream`."""
        self._stream.close()


def _pieces(unpacker: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    try:
        while piece := unpacker.decompress(packed, PIECE_BYTES):
            yield piece
            packed = unpacker.unconsumed_tail
    except zlib.error:
        raise httpx.DecodingError("it is not packed as it says") from None


class _Beginning(httpx.SyncByteStream):
    """The beginning of a body; the rest is not read, and goes with the connection."""

    def __init__(self, stream: httpx.SyncByteStream, limit_bytes: int) -> None:
        self._stream, self._limit_bytes = stream, limit_bytes

    def __iter__(self) -> Iterator[bytes]:
        left_bytes = self._limit_bytes
        for piece in self._stream if left_bytes else ():
            yield piece[:left_bytes]
            left_bytes -= len(piece)
            if left_bytes <= 0:
                return

    def close(self) -> None:
        """See `httpx.SyncByteStream`."""
        self._stream.close()


class _Clock(local):
    """Until when, by the monotonic clock, the exchange of a thread has to be over."""

    until = inf

    def left_s(self, timeout_s: float | None) -> float:
        """Return how long may be waited."""
        left_s = self.until - monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout("timed out")
        return left_s if timeout_s is None else min(timeout_s, left_s)


class _Network(httpcore.NetworkBackend):
    """Connects to addresses that may be; nothing waits beyond the end of the exchange."""

    def __init__(self, is_private: bool, *, is_checked: bool) -> None:
        self._is_private, self._is_checked = is_private, is_checked
        self._plain = httpcore.SyncBackend()
        self.clock = _Clock()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """See `httpcore.NetworkBackend`."""
        failed: Exception = httpcore.ConnectError("the name has no address")
        for address in self._addresses(host, port, timeout):
            left_s = self.clock.left_s(timeout)
            try:
                # The address, not the name: it would be looked up again, with another answer.
                return _Stream(
                    self._plain.connect_tcp(address, port, left_s, local_address, socket_options), self.clock
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    def _addresses(self, host: str, port: int, timeout_s: float | None) -> list[str]:
        found = _looked_up(host, port, self.clock.left_s(timeout_s))
        if not self._is_checked:
            return found
        faults = {address: fault_of_address(address, is_private=self._is_private) for address in found}
        allowed = [address for address, fault in faults.items() if fault is None]
        if faults and not allowed:
            raise ConfigurationError(f"{host} leads to {next(iter(faults.values()))}")
        return allowed


def _looked_up(host: str, port: int, limit_s: float) -> list[str]:
    """Return the addresses of a host. The system may take any time for it, which is not waited for."""
    lookup = ThreadPoolExecutor(1, thread_name_prefix="lookup")
    try:
        found = lookup.submit(getaddrinfo, host.encode(), port, type=SOCK_STREAM).result(limit_s)
    except TimeoutError:
        raise httpcore.ConnectTimeout("timed out") from None
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from None
    finally:
        lookup.shutdown(wait=False)
    return [str(address[0]) for *_, address in found]


class _Stream(httpcore.NetworkStream):
    """A connection on which nothing waits beyond the end of the exchange."""

    def __init__(self, stream: httpcore.NetworkStream, clock: _Clock) -> None:
        self._stream, self._clock = stream, clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See `httpcore.NetworkStream`."""
        return self._stream.read(max_bytes, self._clock.left_s(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See `httpcore.NetworkStream`."""
        self._stream.write(buffer, self._clock.left_s(timeout))

    def close(self) -> None:
        """See `httpcore.NetworkStream`."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """See `httpcore.NetworkStream`."""
        left_s = self._clock.left_s(timeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left_s), self._clock)

    def get_extra_info(self, info: str) -> Any:
        """See `httpcore.NetworkStream`."""
        return self._stream.get_extra_info(info)
