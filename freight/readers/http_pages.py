"""The pages of an HTTP API: all of them, or an error if they are inconsistent."""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO, Literal

import httpx
from pydantic import Field

from freight.errors import ConfigurationError, SourceAway, SourceError, SourceFault, TransientError
from freight.frames import ROW_NUMBER
from freight.parsers.json_records import PIECE_LIMIT_BYTES, WRAPPER_KEYS
from freight.readers.isolated import read_isolated
from freight.readers.locations import find_files
from freight.readers.options import ReaderOptions
from freight.readers.watermarks import OVERLAP_NUMBERS, OVERLAP_S, Overlap
from freight.retry import patiently
from freight.web import REDIRECTS_LIMIT, UNTIL, shown, words_of

PAGE_LIMIT_BYTES, TOTAL_LIMIT_BYTES = PIECE_LIMIT_BYTES, 512 << 20  # a page is parsed as a whole
FETCH_LIMIT_S = 1_800.0  # for all pages; a slow API would delay the whole night
PAGES_LIMIT = 100_000
MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,60}", re.IGNORECASE)

CONDITIONS = {"If-None-Match", "If-Modified-Since"}
PAGING_REMEDY = "correct the paging in the catalog, or ask the owner of the API; nothing was loaded"
MORE_KEYS = ("next", "next_cursor", "nextLink", "@odata.nextLink")  # common keys for the next page
OWNER_REMEDY = "ask the owner of the API; nothing was loaded"

# Files in the folder of a query.
PAGE, RECORDS, MARKS = "page", "answer.jsonl", "marks.jsonl"

Paging = Literal["none", "link", "cursor", "page"]


class ApiOptions(ReaderOptions):
    """How to query the API, and how to interpret its answers."""

    parameters: dict[str, str] = Field(default_factory=dict, description="Parameters of every request.")
    records: str | None = Field(default=None, description="Key of the list of records; the usual keys by default.")
    paging: Paging = Field(default="none", description="Way to find the next page.")
    cursor_key: str = Field(default="next_cursor", description="Key of the response that holds the next cursor.")
    cursor_parameter: str = Field(default="cursor", description="Parameter that takes the cursor.")
    page_parameter: str = Field(default="page", description="Parameter that takes the number of a page.")
    first_page: int = Field(default=1, description="Number of the first page.")
    total_key: str | None = Field(default=None, description="Key of the response that holds the number of all records.")
    watermark: str | None = Field(default=None, description="Key of a record that grows with each change of it.")
    watermark_parameter: str = Field(default="since", description="Parameter that takes the last watermark.")
    overlap_s: int = Field(default=OVERLAP_S, ge=0, description="Seconds before a watermark by time to read again.")
    overlap: int = Field(default=OVERLAP_NUMBERS, ge=0, description="Span before a number as watermark to read again.")

    @property
    def is_partial(self) -> bool:
        """See `ReaderOptions`."""
        return self.watermark is not None

    @property
    def span(self) -> Overlap:
        """The span before the watermark to read again."""
        return Overlap(self.overlap_s, self.overlap)

    @property
    def page_keys(self) -> list[str]:
        """Keys to read from a page, in addition to its records."""
        return [*MORE_KEYS, self.cursor_key, *([self.total_key] if self.total_key else [])]


@dataclass(frozen=True)
class Answer:
    """A page.

    Attributes:
        url: The address of the page, after redirects.
        next_link: The address of the next page according to the headers.
        body_hash: The hash of the page's bytes.
        values: The values of `page_keys`; None for a key that the page does not have.
        records: The number of records.
    """

    url: httpx.URL
    next_link: str | None
    body_hash: str
    values: Mapping[str, Any]
    records: int

    @property
    def has_more(self) -> bool:
        """Whether there are further pages."""
        return self.next_link is not None or any(self.values[key] for key in MORE_KEYS)


def _no_page(_: Answer, __: ApiOptions) -> httpx.URL | None:
    return None


def _linked_page(answer: Answer, _: ApiOptions) -> httpx.URL | None:
    return answer.url.join(answer.next_link) if answer.next_link else None


def _page_at_cursor(answer: Answer, options: ApiOptions) -> httpx.URL | None:
    cursor = answer.values[options.cursor_key]
    return answer.url.copy_set_param(options.cursor_parameter, cursor) if cursor not in (None, "") else None


def _page_after(answer: Answer, options: ApiOptions) -> httpx.URL | None:
    """Return the address of the next page; in an API with numbered pages an empty page marks the end."""
    number = int(answer.url.params[options.page_parameter])
    return answer.url.copy_set_param(options.page_parameter, number + 1) if answer.records else None


NEXT_PAGE: dict[Paging, Callable[[Answer, ApiOptions], httpx.URL | None]] = {
    "none": _no_page,
    "link": _linked_page,
    "cursor": _page_at_cursor,
    "page": _page_after,
}


class Pages:
    """The pages of one query; inconsistent pages are refused.

    Attributes:
        records: The number of records.
        first_headers: The headers of the first page.
        is_unchanged: Whether the API answered "not modified" and sent no page.
    """

    def __init__(
        self, client: httpx.Client, options: ApiOptions, path: str, url: httpx.URL, conditions: Mapping[str, str]
    ) -> None:
        """Prepare a query; no request is sent yet.

        Args:
            client: The client of the API; it reaches no other host.
            options: The options of the source.
            path: The name of the path in the ledger.
            url: The address of the first page.
            conditions: Headers that let the API answer "not modified".
        """
        self._client, self._options, self._path = client, options, path
        self._first, self._conditions = url, conditions
        self._deadline = time.monotonic() + FETCH_LIMIT_S
        self._bytes = 0
        self.records = 0
        self.first_headers = httpx.Headers()
        self.is_unchanged = False

    def write(self, folder: Path) -> None:
        """Write the records of all pages to `RECORDS` as JSON Lines, and their watermarks to `MARKS`.

        Raises:
            SourceError: A page cannot be fetched or is repeated, or the number of records differs from the API's total.
        """
        total: Any = None
        with (folder / RECORDS).open("wb") as records, (folder / MARKS).open("wb") as marks:
            for answer in self._answers(folder / PAGE, records, marks):
                self.records += answer.records
                total = answer.values[self._options.total_key] if self._options.total_key else None
        if self._options.total_key and not self.is_unchanged and str(total) != str(self.records):
            raise self._fault(
                "corrupt",
                f"it returned {self.records} records, but its {self._options.total_key} says {total}",
                "none: the next run asks again; if it happens again, check the paging in the catalog",
            )

    def _answers(self, page: Path, records: BinaryIO, marks: BinaryIO) -> Iterator[Answer]:
        asked: set[bytes] = set()  # hashes of the addresses, which an API may make as long as it likes
        bodies: set[str] = set()
        url: httpx.URL | None = self._first
        while url is not None:
            address = hashlib.sha256(str(url).encode()).digest()
            if address in asked or len(asked) == PAGES_LIMIT:
                raise self._fault("corrupt", f"its pages do not end: it links to {shown(url)} again", PAGING_REMEDY)
            asked.add(address)
            response = patiently(lambda at=url: self._fetch(at, page))  # type: ignore[misc]
            if response is None:
                self.is_unchanged = True
                return
            answer = self._read(response, page, records, marks)
            if answer.records and answer.body_hash in bodies:
                raise self._fault("corrupt", f"it returns the same page again at {shown(url)}", PAGING_REMEDY)
            bodies.add(answer.body_hash)
            yield answer
            url = self._next(answer)

    def _next(self, answer: Answer) -> httpx.URL | None:
        if self._options.paging == "none" and answer.has_more:
            raise self._fault("unsupported", "this is one page of several", "set `paging` in the catalog")
        try:
            return NEXT_PAGE[self._options.paging](answer, self._options)
        except (httpx.InvalidURL, ValueError, LookupError):  # LookupError: a redirect dropped the page number
            raise self._fault("corrupt", "it links to a page without a usable address", PAGING_REMEDY) from None

    def _fetch(self, url: httpx.URL, page: Path) -> httpx.Response | None:
        """Write a page to a file; return None if the API answers "not modified"."""
        is_first = url == self._first
        headers = {"Accept": "application/json", **(self._conditions if is_first else {})}
        until = {UNTIL: self._deadline}
        with (
            self._reached(),
            self._client.stream("GET", url, headers=headers, follow_redirects=True, extensions=until) as response,
        ):
            if response.status_code == HTTPStatus.NOT_MODIFIED and headers.keys() & CONDITIONS:
                return None
            self._refuse_status(response)
            self._copy(response, page)
        if is_first:
            self.first_headers = response.headers
        return response

    def _refuse_status(self, response: httpx.Response) -> None:
        status = response.status_code
        message = f"{self._path}: the API answers {status} {_phrase(status)}".rstrip()
        if response.is_server_error or status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT):
            raise SourceAway(message, _retry_after_s(response))
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise self._fault("unreadable", message, "correct the login in the block of the API, or its rights")
        if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise self._fault("missing", message, "correct `location` in the catalog")
        if status != HTTPStatus.OK:
            raise self._fault("unreadable", message, "correct `location` or `options` in the catalog")

    def _copy(self, response: httpx.Response, page: Path) -> None:
        size_bytes = 0
        with page.open("wb") as file:
            for piece in response.iter_bytes():
                size_bytes += len(piece)
                self._refuse_too_much(size_bytes)
                file.write(piece)
        self._bytes += size_bytes

    def _refuse_too_much(self, page_bytes: int) -> None:
        if page_bytes > PAGE_LIMIT_BYTES or self._bytes + page_bytes > TOTAL_LIMIT_BYTES:
            limits = f"{PAGE_LIMIT_BYTES >> 20} MiB a page and {TOTAL_LIMIT_BYTES >> 20} MiB in all"
            raise self._fault(
                "too_large", f"the response is over {limits}", "request smaller pages, or use a watermark"
            )
        self._refuse_late()

    def _refuse_late(self) -> None:
        if time.monotonic() > self._deadline:
            raise self._fault("timed_out", f"all pages together took more than {FETCH_LIMIT_S:.0f} s", "request less")

    def _read(self, response: httpx.Response, page: Path, records: BinaryIO, marks: BinaryIO) -> Answer:
        """Parse the untrusted page in an isolated process; write its records and their watermarks."""
        options = self._options
        keys = [options.records] if options.records else WRAPPER_KEYS
        wishes = {"lists": keys, "keys": options.page_keys, "mark": options.watermark}
        (file,) = find_files(page.as_posix(), page.parent)
        rows, values = 0, "[]"
        with self._named(response):
            for batch in read_isolated(file, "freight.parsers.json_records.parse_page", wishes).batches:
                for record, mark, number in batch.rows.select("0", "1", ROW_NUMBER).iter_rows():
                    if number == 0:
                        values = record
                        continue
                    records.write(f"{record}\n".encode())
                    marks.write(f"{mark}\n".encode())
                    rows = number
        return Answer(
            url=response.url,
            next_link=response.links.get("next", {}).get("url"),
            body_hash=file.sha256(),
            values=dict(zip(options.page_keys, json.loads(values), strict=True)),
            records=rows,
        )

    @contextmanager
    def _named(self, response: httpx.Response) -> Iterator[None]:
        """Convert faults of a file into faults of the API's answer."""
        try:
            yield
        except SourceError as error:
            found = MEDIA_TYPE.match(response.headers.get("Content-Type", ""))
            kind = found[0] if found else "of unknown type"
            remedy = "name the key of the list as `records`" if error.fault == "unsupported" else OWNER_REMEDY
            raise self._fault(error.fault, f"the response ({kind}): {error.message}", remedy) from None

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Convert errors of the client into faults of the source; the client's own message may repeat the request."""
        try:
            yield
        except SourceAway:
            raise
        except httpx.LocalProtocolError:
            raise self._fault("unreadable", "the request cannot be sent", "correct the block of the API") from None
        except (httpx.TransportError, TransientError) as error:
            self._refuse_late()
            message = str(error)
            if isinstance(error, httpx.TransportError):
                message = f"the API did not send a full response: {words_of(error)}"
            raise SourceAway(f"{self._path}: {message}") from None
        except httpx.DecodingError as error:
            remedy = "have the API respond uncompressed, or compressed once by gzip"
            raise self._fault("unsupported", f"the response cannot be decompressed: {error}", remedy) from None
        except (httpx.TooManyRedirects, httpx.InvalidURL, ValueError):
            message = f"it redirects to no usable address, or more than {REDIRECTS_LIMIT} times"
            raise self._fault("corrupt", message, OWNER_REMEDY) from None
        except ConfigurationError as error:
            raise self._fault("unreadable", str(error), "correct the block of the API, or ask its owner") from None

    def _fault(self, fault: SourceFault, message: str, remedy: str) -> SourceError:
        return SourceError(fault, message, location=self._path, remedy=remedy)


def instant_of_http(http_date: str | None) -> datetime | None:
    """Return the instant in a header such as Date; None if it holds none."""
    try:
        return parsedate_to_datetime(http_date).astimezone(UTC) if http_date else None
    except (ValueError, OverflowError):
        return None


def _phrase(status: int) -> str:
    """Return the standard phrase of a status; the server's own phrase may be anything."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _retry_after_s(response: httpx.Response) -> float:
    """Return how many seconds the API asks to wait; Retry-After holds seconds or an instant."""
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    instant = instant_of_http(value)
    return max(0.0, (instant - datetime.now(UTC)).total_seconds()) if instant else 0.0
