"""The pages that an HTTP API answers, all of them or an error: what does not add up is refused."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, BinaryIO, Literal

import httpx
import orjson
from pydantic import Field

from freight.errors import ConfigurationError, SourceAway, SourceError, SourceFault, TransientError
from freight.parsers.json_records import PIECE_LIMIT_BYTES, WRAPPER_KEYS, Doubled, loads, objects_of
from freight.readers.options import ReaderOptions
from freight.retry import patiently

TOTAL_LIMIT_BYTES = 512 << 20  # of all pages; one is parsed in this process, and so has the cap of a piece
FETCH_LIMIT_S = 1_800.0  # for all pages; an API that drips would hold up the night
PAGES_LIMIT = 100_000
OVERLAP_S = 3_600

CONDITIONS = {"If-None-Match", "If-Modified-Since"}
PAGING_REMEDY = "correct the paging in the catalog, or ask the owner of the API; nothing of it was loaded"
MORE_KEYS = ("next", "next_cursor", "nextLink", "@odata.nextLink")  # by which APIs usually say that there is more
OWNER_REMEDY = "ask the owner of the API; nothing of it was loaded"

Paging = Literal["none", "link", "cursor", "page"]


class ApiOptions(ReaderOptions):
    """How the API is asked, and how its answers are to be understood."""

    parameters: dict[str, str] = Field(default_factory=dict, description="Parameters of every question.")
    records: str | None = Field(default=None, description="Key of the list of records; the usual ones by default.")
    paging: Paging = Field(default="none", description="How the next page is found.")
    cursor_key: str = Field(default="next_cursor", description="Key of the answer that holds the next cursor.")
    cursor_parameter: str = Field(default="cursor", description="Parameter that takes the cursor.")
    page_parameter: str = Field(default="page", description="Parameter that takes the number of a page.")
    first_page: int = Field(default=1, description="Number of the first page.")
    total_key: str | None = Field(default=None, description="Key of the answer that holds the number of all records.")
    watermark: str | None = Field(default=None, description="Key of a record that grows with each change of it.")
    watermark_parameter: str = Field(default="since", description="Parameter that takes the last watermark.")
    overlap_s: int = Field(default=OVERLAP_S, ge=0, description="How much of what was read is read again, in seconds.")

    @property
    def is_partial(self) -> bool:
        """See `ReaderOptions`."""
        return self.watermark is not None


@dataclass(frozen=True)
class Answer:
    """A page."""

    url: httpx.URL
    document: object
    records: list[object]
    body_hash: str
    response: httpx.Response = field(repr=False)

    def told(self, key: str) -> Any:
        """Return what the page says of all, beside the records; None if it says nothing."""
        return self.document.get(key) if isinstance(self.document, dict) else None

    @property
    def has_more(self) -> bool:
        """Whether it is not the only page."""
        return "next" in self.response.links or any(self.told(key) for key in MORE_KEYS)


def _no_page(_: Answer, __: ApiOptions) -> httpx.URL | None:
    return None


def _linked_page(answer: Answer, _: ApiOptions) -> httpx.URL | None:
    link = answer.response.links.get("next", {}).get("url")
    return answer.url.join(link) if link else None


def _page_at_cursor(answer: Answer, options: ApiOptions) -> httpx.URL | None:
    cursor = answer.told(options.cursor_key)
    return answer.url.copy_set_param(options.cursor_parameter, cursor) if cursor not in (None, "") else None


def _page_after(answer: Answer, options: ApiOptions) -> httpx.URL | None:
    """An API that counts pages tells the last one by the empty one behind it."""
    number = int(answer.url.params[options.page_parameter])
    return answer.url.copy_set_param(options.page_parameter, number + 1) if answer.records else None


NEXT_PAGE: dict[Paging, Callable[[Answer, ApiOptions], httpx.URL | None]] = {
    "none": _no_page,
    "link": _linked_page,
    "cursor": _page_at_cursor,
    "page": _page_after,
}


class Pages:
    """The pages of one question; what does not add up is refused.

    Attributes:
        records: how many there were.
        first_headers: of the first page.
        is_unchanged: whether the API said that there is nothing new, and no page.
    """

    def __init__(
        self, client: httpx.Client, options: ApiOptions, path: str, url: httpx.URL, conditions: Mapping[str, str]
    ) -> None:
        """Take a question; nothing is asked yet.

        Args:
            client: of the API, which reaches no other host.
            options: of the source.
            path: as the ledger names it.
            url: of the first page.
            conditions: headers by which the API may say that there is nothing new.
        """
        self._client, self._options, self._path = client, options, path
        self._first, self._conditions = url, conditions
        self._deadline = time.monotonic() + FETCH_LIMIT_S
        self._bytes = 0
        self.records = 0
        self.first_headers = httpx.Headers()
        self.is_unchanged = False

    def write(self, file: BinaryIO) -> None:
        """Write the records of all pages, a line each.

        Raises:
            SourceError: a page cannot be had, comes again, or the number of records is another than told.
        """
        total: Any = None
        for answer in self._answers():
            file.writelines(orjson.dumps(record) + b"\n" for record in answer.records)
            self.records += len(answer.records)
            total = answer.told(self._options.total_key) if self._options.total_key else None
        if self._options.total_key and not self.is_unchanged and str(total) != str(self.records):
            raise self._fault(
                "corrupt",
                f"it gave {self.records} records, and its {self._options.total_key} says {total}",
                "none: the next run asks again; if it stays so, check the paging in the catalog",
            )

    def _answers(self) -> Iterator[Answer]:
        places: set[str] = set()
        bodies: set[str] = set()
        url: httpx.URL | None = self._first
        while url is not None:
            if str(url) in places or len(places) == PAGES_LIMIT:
                raise self._fault("corrupt", f"its pages do not end: it leads to {url} again", PAGING_REMEDY)
            places.add(str(url))
            answer = patiently(lambda at=url: self._ask(at))  # type: ignore[misc]
            if answer is None:
                self.is_unchanged = True
                return
            if answer.records and answer.body_hash in bodies:
                raise self._fault("corrupt", f"it gives the same page again at {url}", PAGING_REMEDY)
            bodies.add(answer.body_hash)
            yield answer
            url = self._next(answer)

    def _next(self, answer: Answer) -> httpx.URL | None:
        if self._options.paging == "none" and answer.has_more:
            raise self._fault("unsupported", "this is one page of several", "set `paging` in the catalog")
        try:
            return NEXT_PAGE[self._options.paging](answer, self._options)
        except httpx.InvalidURL as error:
            raise self._fault("corrupt", f"it leads to a page that has no place: {error}", PAGING_REMEDY) from error

    def _ask(self, url: httpx.URL) -> Answer | None:
        """Return a page; None if the API says that nothing has changed."""
        is_first = url == self._first
        headers = {"Accept": "application/json", **(self._conditions if is_first else {})}
        with self._reached(), self._client.stream("GET", url, headers=headers, follow_redirects=True) as response:
            if response.status_code == HTTPStatus.NOT_MODIFIED and headers.keys() & CONDITIONS:
                return None
            self._refuse_status(response)
            body = self._read(response)
        if is_first:
            self.first_headers = response.headers
        document = self._parse(response, body)
        records = self._records(document)
        return Answer(response.url, document, records, hashlib.sha256(body).hexdigest(), response)

    def _refuse_status(self, response: httpx.Response) -> None:
        status = response.status_code
        told = f"{self._path}: the API answers {status} {response.reason_phrase}"
        if response.is_server_error or status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT):
            raise SourceAway(told, _retry_after_s(response))
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise self._fault("unreadable", told, "correct the login in the block of the API, or its rights")
        if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise self._fault("missing", told, "correct `location` in the catalog")
        if status != HTTPStatus.OK:
            raise self._fault("unreadable", told, "correct `location` or `options` in the catalog")

    def _read(self, response: httpx.Response) -> bytes:
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > PIECE_LIMIT_BYTES or self._bytes + len(body) > TOTAL_LIMIT_BYTES:
                limits = f"{PIECE_LIMIT_BYTES >> 20} MiB a page and {TOTAL_LIMIT_BYTES >> 20} MiB in all"
                raise self._fault(
                    "too_large", f"the answer is over {limits}", "ask for smaller pages, or by a watermark"
                )
            if time.monotonic() > self._deadline:
                raise self._fault("timed_out", f"all pages took over {FETCH_LIMIT_S:.0f} s", "ask for less")
        self._bytes += len(body)
        return bytes(body)

    def _parse(self, response: httpx.Response, body: bytes) -> object:
        if not body.strip():
            raise self._fault("empty", "the answer is empty", OWNER_REMEDY)
        try:
            return loads(body)
        except ValueError as error:
            kind = response.headers.get("Content-Type", "no Content-Type")
            raise self._fault("corrupt", f"the answer ({kind}) is not valid JSON: {error}", OWNER_REMEDY) from None

    def _records(self, document: object) -> list[object]:
        try:
            records = objects_of(document, [self._options.records] if self._options.records else WRAPPER_KEYS)
        except SourceError as error:
            raise self._fault(error.fault, error.message, "name the key of the list as `records`") from None
        if any(isinstance(record, Doubled) for record in records):
            raise self._fault("corrupt", "a record names a key twice", OWNER_REMEDY)
        return records

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Say what an error of the client means for the source."""
        try:
            yield
        except SourceAway:
            raise
        except (httpx.TransportError, TransientError) as error:
            told = str(error) or type(error).__name__
            raise SourceAway(f"{self._path}: the API does not answer in full: {told}") from error
        except httpx.RequestError as error:
            raise self._fault("corrupt", f"the answer cannot be followed: {error}", OWNER_REMEDY) from error
        except ConfigurationError as error:
            raise self._fault("unreadable", str(error), "correct the block of the API, or ask its owner") from error

    def _fault(self, fault: SourceFault, message: str, remedy: str) -> SourceError:
        return SourceError(fault, message, location=self._path, remedy=remedy)


def instant_of_http(http_date: str | None) -> datetime | None:
    """Return the instant of a header such as Date; None if it tells none."""
    try:
        return parsedate_to_datetime(http_date).astimezone(UTC) if http_date else None
    except ValueError:
        return None


def _retry_after_s(response: httpx.Response) -> float:
    """Return how long the API asks to be left alone, in seconds; it says so in seconds or as an instant."""
    told = response.headers.get("Retry-After", "")
    if told.isdecimal():
        return float(told)
    instant = instant_of_http(told)
    return max(0.0, (instant - datetime.now(UTC)).total_seconds()) if instant else 0.0
