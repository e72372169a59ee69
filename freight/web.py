"""An HTTP client for foreign servers: it stays on one host and on allowed addresses, keeps a deadline, reads in pieces.

httpx alone restarts its timeout with each byte, decompresses without limit, even what was compressed several times,
reads the whole body of a redirect or an error, and follows a host name to any address.
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

EXCHANGE_LIMIT_S = 1_800.0  # for a request and its response, unless the request sets its own deadline
ERROR_LIMIT_BYTES = 4_096  # of the body of an error
PIECE_BYTES = 1 << 16
REDIRECTS_LIMIT = 5
SHOWN_CHARS = 300  # of a URL, which a server can make as long as it likes
UNTIL = "until"  # request extension: the deadline for the whole response, on the monotonic clock
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
    """Return a client for one HTTP server; it keeps no cookies, and follows redirects only on request.

    The status and headers must arrive within the sum of both timeouts. The client keeps the start of an error's body,
    and nothing of a redirect's. It uses a proxy that the environment names; the proxy then resolves host names.

    Args:
        url: The URL of the server; the client calls no other scheme, host or port.
        connect_timeout_s: The limit for opening a connection.
        read_timeout_s: The limit for the next bytes of a response.
        is_private: True if the server is in a private network, or on this machine.
        authorities: The certificate authorities to trust; by default the public ones.
        auth: The way to log in.

    The client raises httpx's own errors, and:

    Raises:
        ConfigurationError: The request is for another server, or the host name resolves to a forbidden address.
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
    """Return a URL that is safe to show: of its query only the names of the parameters."""
    names = "&".join(dict.fromkeys(url.params.keys()))
    bare = url.copy_with(query=None, fragment=None, username=None, password=None)
    return f"{bare}{'?' if names else ''}{names}"[:SHOWN_CHARS]


def words_of(error: httpx.TransportError) -> str:
    """Describe an error in our own words: the library's message may repeat the request or the response."""
    match error:
        case httpx.TimeoutException():
            return "timed out"
        case httpx.ConnectError():
            return str(error)  # the message of the system or TLS, before anything is sent
        case httpx.NetworkError():
            return "the connection broke"
        case httpx.ProxyError():
            return "the proxy refuses"
        case _:
            return "the connection ended early, or the response is not HTTP"


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _proxy_to(url: httpx.URL) -> str | None:
    proxies = getproxies()
    proxy = None if proxy_bypass(url.host) else proxies.get(url.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


class _Transport(httpx.HTTPTransport):
    """Decompresses response bodies in small pieces, and cuts the bodies of errors short."""

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
    """A body decompressed into pieces of at most `PIECE_BYTES`; httpx never sees the encoding."""

    def __init__(self, stream: httpx.SyncByteStream, encoding: str) -> None:
        self._stream, self._encoding = stream, encoding.strip().lower()

    def __iter__(self) -> Iterator[bytes]:
        if self._encoding in ("", "identity"):
            return iter(self._stream)
        if self._encoding not in ENCODINGS:
            raise httpx.DecodingError("it is compressed more than once, or not with gzip")
        return self._unpacked()

    def _unpacked(self) -> Iterator[bytes]:
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # with the header of gzip or of zlib
        for packed in self._stream:
            yield from _pieces(unpacker, packed)
            if unpacker.unused_data:
                raise httpx.DecodingError("it continues after the end of the compressed data")
        if not unpacker.eof:
            raise httpx.DecodingError("the compressed data has no end")

    def close(self) -> None:
        """See `httpx.SyncByteStream`."""
        self._stream.close()


def _pieces(unpacker: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    try:
        while piece := unpacker.decompress(packed, PIECE_BYTES):
            yield piece
            packed = unpacker.unconsumed_tail
    except zlib.error:
        raise httpx.DecodingError("it is not compressed as its header says") from None


class _Beginning(httpx.SyncByteStream):
    """The start of a body; the rest is never read, and is dropped with the connection."""

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
    """The deadline of a thread's exchange, on the monotonic clock."""

    until = inf

    def left_s(self, timeout_s: float | None) -> float:
        """Return the time that is left to wait."""
        left_s = self.until - monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout("timed out")
        return left_s if timeout_s is None else min(timeout_s, left_s)


class _Network(httpcore.NetworkBackend):
    """Connects to allowed addresses only; no call waits past the deadline of the exchange."""

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
                # The address, not the name: a second lookup could give another answer.
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
    """Return the addresses of a host. The system's lookup knows no limit, so it runs in a thread that we can leave."""
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
    """A connection on which no call waits past the deadline of the exchange."""

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
