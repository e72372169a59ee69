"""The pages of an HTTP API: all of them, or an error if they are inconsistent."""

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import httpx

from freight.errors import ConfigurationError, SourceAway, SourceError, SourceFault, TransientError
from freight.frames import ROW_NUMBER
from freight.parsers.json_records import PIECE_LIMIT_BYTES
from freight.readers.http_paging import NEXT_PAGE, Answer, ApiOptions
from freight.readers.isolated import read_isolated
from freight.readers.locations import find_files
from freight.retry import patiently
from freight.secrets import redacted
from freight.web import REDIRECTS_LIMIT, UNTIL, shown, words_of
from freight.words import counted

PAGE_LIMIT_BYTES, TOTAL_LIMIT_BYTES = PIECE_LIMIT_BYTES, 512 << 20  # a page is parsed as a whole
FETCH_LIMIT_S = 1_800.0  # for all pages; a slow API would delay the whole night
PAGES_LIMIT = 100_000
MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,60}", re.IGNORECASE)

CONDITIONS = {"If-None-Match", "If-Modified-Since"}
PAGING_REMEDY = "correct the paging in the catalog, or ask the owner of the API; nothing was loaded"
AGAIN_REMEDY = "none: the next run asks again; if it happens again, check the paging in the catalog"
EXPIRED_REMEDY = (
    "none: the next run begins at the first page; if it happens again, request larger pages by `parameters`"
)
NO_TOTAL = 'if it counts something else, add `total_key: ""`'
SAID_BYTES, SAID_CHARS = 2_000, 300  # of an answer without records
OPEN_HEADERS = {"accept", "accept-encoding", "connection", "host", "user-agent", "if-none-match", "if-modified-since"}
OWNER_REMEDY = "ask the owner of the API; nothing was loaded"

# Files in the folder of a query.
PAGE, RECORDS, MARKS = "page", "answer.jsonl", "marks.jsonl"


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
        last: Answer | None = None
        with (folder / RECORDS).open("wb") as records, (folder / MARKS).open("wb") as marks:
            for answer in self._answers(folder / PAGE, records, marks):
                self.records += answer.records
                last = self._compared(last, answer)
        if last:
            self._refuse_unless_complete(last)

    def _compared(self, last: Answer | None, answer: Answer) -> Answer:
        """Return a page once it is found to be of the same list as the one before it."""
        totals = (last.total, answer.total) if last and self._options.total_key != "" else (None, None)
        if None not in totals and totals[0] != totals[1]:
            message = f"its list changed from {totals[0]} to {totals[1]} records while its pages were read"
            raise self._fault("changed_while_reading", message, AGAIN_REMEDY)
        return answer

    def _refuse_unless_complete(self, last: Answer) -> None:
        key = self._options.total_key
        if key and str(last.values[key]) != str(self.records):
            message = f"it returned {counted(self.records, 'record')}, but its {key} says {last.values[key]}"
            raise self._fault("corrupt", message, f"{AGAIN_REMEDY}, such as {last.catalog_lines()}")
        if why := next(last.more(), None):
            message = f"it says on its last page that there is more: {why}"
            raise self._fault("corrupt", message, f"correct the paging in the catalog, such as {last.catalog_lines()}")
        if key is None and (why := next(last.more_by_numbers(self.records), None)):
            raise self._fault("corrupt", f"pages are missing: {why}", f"{AGAIN_REMEDY}; {NO_TOTAL}")

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
        if self._options.paging == "none":
            self._refuse_one_of_several(answer)
        try:
            return NEXT_PAGE[self._options.paging](answer, self._options)
        except (httpx.InvalidURL, ValueError, LookupError):  # a redirect dropped the page number, or there is no id
            raise self._fault("corrupt", "it links to a page without a usable address", PAGING_REMEDY) from None

    def _refuse_one_of_several(self, answer: Answer) -> None:
        has_usual_total = self._options.total_key is None
        why = next(answer.is_first_of_several() if has_usual_total else answer.more(), None)
        if why is not None:
            remedy = (
                f"set the way to the next page in the catalog, with the API's names, such as {answer.catalog_lines()}"
            )
            raise self._fault("unsupported", f"this is one page of several: {why}", f"{remedy}; {NO_TOTAL}")

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
            self._refuse_status(response, is_first=is_first)
            self._copy(response, page)
        if is_first:
            self.first_headers = response.headers
        return response

    def _refuse_status(self, response: httpx.Response, *, is_first: bool) -> None:
        status = response.status_code
        message = f"{self._path}: the API answers {status} {_phrase(status)}".rstrip()
        if response.is_server_error or status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT):
            raise SourceAway(message, _retry_after_s(response))
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise self._fault("unreadable", message, "correct the login in the block of the API, or its rights")
        if status == HTTPStatus.OK:
            return
        said = self._said(response, b"".join(_first_bytes(response.iter_bytes())))
        if response.is_client_error and not is_first:
            raise self._fault("corrupt", f"{message} to a later page: its cursor has expired{said}", EXPIRED_REMEDY)
        message += said
        if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise self._fault("missing", message, "correct `location` in the catalog")
        raise self._fault("unreadable", message, "correct `location` or `options` in the catalog")

    def _said(self, response: httpx.Response, body: bytes) -> str:
        """Return the start of what an API answers in place of records, without the secrets that it was sent."""
        sent = [value for name, value in response.request.headers.items() if name.lower() not in OPEN_HEADERS]
        sent += [part for value in sent for part in value.split()] + [*self._options.parameters.values()]
        words = " ".join(redacted(body.decode(errors="replace"), *sent).split())
        return f': it says "{words[:SAID_CHARS]}"' if words.strip('"[]{} ') else ""

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
        wishes = {
            "records": options.records,
            "keys": options.page_keys,
            "mark": options.watermark,
            "last": options.id_key if options.paging == "last_id" else None,
            "absent": options.absent_keys,
        }
        (file,) = find_files(page.as_posix(), page.parent)
        rows, values, last_id = 0, "[]", "null"
        with self._named(response, page):
            for batch in read_isolated(file, "freight.parsers.json_records.parse_page", wishes).batches:
                for record, mark, number in batch.rows.select("0", "1", ROW_NUMBER).iter_rows():
                    if number == 0:
                        values, last_id = record, mark
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
            last_id=json.loads(last_id),
            headers=response.headers,
        )

    @contextmanager
    def _named(self, response: httpx.Response, page: Path) -> Iterator[None]:
        """Convert faults of a file into faults of the API's answer."""
        try:
            yield
        except SourceError as error:
            found = MEDIA_TYPE.match(response.headers.get("Content-Type", ""))
            kind = found[0] if found else "of unknown type"
            message, remedy = f"the response ({kind}): {error.message}", OWNER_REMEDY
            if error.fault == "unsupported":
                with page.open("rb") as body:
                    message += self._said(response, body.read(SAID_BYTES))
                remedy = "name the key of the list as `records`; if it tells of a failure, ask the owner of the API"
            raise self._fault(error.fault, message, remedy) from None

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


def _first_bytes(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield pieces of a body up to `SAID_BYTES`."""
    size_bytes = 0
    for piece in pieces:
        yield piece[: SAID_BYTES - size_bytes]
        size_bytes += len(piece)
        if size_bytes >= SAID_BYTES:
            return


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
