"""Read an HTTP API: JSON in pages, either everything or only new records by a watermark. All pages load, or none.

The answers are kept as JSON Lines until they are loaded, so the reader reads the same content that was hashed.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import orjson

from freight.errors import SourceError
from freight.readers.content_hash import ContentHash
from freight.readers.deliveries import NewContent, Place, new_since, opened
from freight.readers.http_pages import MARKS, RECORDS, Pages, instant_of_http
from freight.readers.http_paging import ApiOptions, first_parameters
from freight.readers.locations import SourceFile, find_files
from freight.readers.watermarks import Overlap, are_alike, blind_spot, in_words_of, instant_in, note, recall
from freight.types import Fingerprint, Position
from freight.words import counted

VALIDATOR_LIMIT_CHARS = 1_024  # of an ETag; the position of the source stores it


@dataclass(frozen=True)
class ApiDelivery:
    """A path of an API; see `Delivery`."""

    path: str
    place: Place
    options: ApiOptions
    client: httpx.Client = field(repr=False)

    @property
    def stored(self) -> SourceFile | None:
        """See `Delivery`."""
        return None

    def changed_since(self, known: Position | None) -> NewContent | None:
        """See `Delivery`."""
        noted = known.fingerprint.watermark if known else None
        with self.client:
            content = (_new_records if self.options.is_partial else _snapshot)(self, noted)
        return new_since(known, content)


def deliver_answers(place: Place, options: ApiOptions) -> list[ApiDelivery]:
    """Return the path of an API that a place names; a later step finds out whether it answers.

    Raises:
        SourceError: The connection cannot be opened.
    """
    path = f"{place.connection}/{place.location.lstrip('/')}"
    return [ApiDelivery(path, place, options, opened("API", place.connections.api, place.connection, path))]


def _snapshot(delivery: ApiDelivery, noted: str | None) -> NewContent | None:
    """Return all records of the API; None if it answers "not modified"."""
    options = delivery.options
    url = _first_url(delivery, {})
    conditions = _conditions(noted, url) if options.paging == "none" else {}
    pages = _pages(delivery, url, conditions)
    file = _keep(delivery, pages).records
    if pages.is_unchanged:
        return None
    headers = pages.first_headers
    spoken = instant_of_http(headers.get("Last-Modified")) or instant_of_http(headers.get("Date")) or datetime.now(UTC)
    return NewContent(file, Fingerprint(file.sha256(), watermark=_validators(headers, url)), spoken)


def _new_records(delivery: ApiDelivery, noted: str | None) -> NewContent | None:
    """Return the records of the API since the last watermark, less the overlap."""
    options, zone = delivery.options, delivery.place.time_zone
    assert options.watermark
    last = recall(options.watermark, noted)
    since = None if last is None else in_words_of(last, options.span, zone)
    pages = _pages(delivery, _first_url(delivery, {} if since is None else {options.watermark_parameter: since}), {})
    kept = _keep(delivery, pages)
    if not pages.records:
        return None
    now = instant_of_http(pages.first_headers.get("Date")) or datetime.now(UTC)
    newest = _Newest(options.watermark, zone, now, last)
    newest.look_through(kept)
    watermark = None if newest.value is None else note(options.watermark, newest.value)
    return NewContent(
        kept.records,
        Fingerprint(newest.state_hash(kept, options.span), watermark=watermark),
        speaks_for=(instant_in(newest.value, zone) or now).astimezone(UTC),
        remark="; ".join(newest.remarks(options.span)),
    )


def _pages(delivery: ApiDelivery, url: httpx.URL, conditions: Mapping[str, str]) -> Pages:
    return Pages(delivery.client, delivery.options, delivery.path, url, conditions)


class _Kept(NamedTuple):
    """The answers of an API as files: the records, and their watermarks line by line."""

    records: SourceFile
    marks: Path


class _Newest:
    """The newest watermark of the records that is not in the future.

    With a future watermark the API would count as read up to it before its records exist.
    """

    def __init__(self, key: str, zone: str, now: datetime, value: Any) -> None:
        self._key, self._zone, self._now = key, zone, now
        self.value = value
        self._unmarked_rows = self._later_rows = 0

    def look_through(self, kept: _Kept) -> None:
        """Find the newest watermark of the kept records.

        Raises:
            SourceError: The watermarks cannot be compared.
        """
        for _, mark in self._marks(kept):
            if mark is None:
                self._unmarked_rows += 1
            elif (instant := instant_in(mark, self._zone)) and instant > self._now:
                self._later_rows += 1
            elif self._order(mark) and (self.value is None or self._order(mark) > self._order(self.value)):
                self.value = mark

    def state_hash(self, kept: _Kept, overlap: Overlap) -> str:
        """Return a hash of the API's state: the newest watermark, and the records that will be read again."""
        low = None if self.value is None else in_words_of(self.value, overlap, self._zone)
        content_hash = ContentHash()
        for line, mark in self._marks(kept):
            if mark is None or low is None or self._order(mark) >= self._order(low):
                content_hash.note(line)
        return hashlib.sha256(f"{self.value} {content_hash.hexdigest()}".encode()).hexdigest()

    def remarks(self, overlap: Overlap) -> Iterator[str]:
        """Yield notes for people."""
        if blind := blind_spot(self.value, self._key, overlap, self._zone):
            yield blind
        if self._unmarked_rows:
            yield f"{counted(self._unmarked_rows, 'record')} without {self._key}, which the API may not return again"
        if self._later_rows:
            yield f"{counted(self._later_rows, 'record')} with a {self._key} in the future, read again until then"

    def _marks(self, kept: _Kept) -> Iterator[tuple[bytes, Any]]:
        with kept.records.open() as lines, kept.marks.open("rb") as marks:
            for line, mark in zip(lines, marks, strict=True):
                yield line.rstrip(b"\n"), json.loads(mark)

    def _order(self, mark: Any) -> Any:
        """Return the sort key of a watermark: times sort by their instant, regardless of their offset."""
        if are_alike(mark, mark if self.value is None else self.value):
            return instant_in(mark, self._zone) or mark
        raise SourceError(
            "corrupt",
            f"{self._key} is {mark!r} in one record and {self.value!r} in another",
            column=self._key,
            remedy="name another key as `watermark`, or leave it out to read everything",
        )


def _first_url(delivery: ApiDelivery, more: Mapping[str, Any]) -> httpx.URL:
    first = first_parameters(delivery.options)
    return httpx.URL(delivery.place.location).copy_merge_params({**first, **more})


def _conditions(noted: str | None, url: httpx.URL) -> dict[str, str]:
    """Return headers that let the API answer "not modified" if its last answer to the same query still holds."""
    known = orjson.loads(noted) if noted else None
    if not isinstance(known, dict) or known.get("url") != str(url):
        return {}
    named = {"If-None-Match": known.get("etag"), "If-Modified-Since": known.get("last_modified")}
    return {name: value for name, value in named.items() if value}


def _validators(headers: httpx.Headers, url: httpx.URL) -> str | None:
    etag, last_modified = _returnable(headers.get("ETag")), _returnable(headers.get("Last-Modified"))
    if not etag and not last_modified:
        return None
    return orjson.dumps({"url": str(url), "etag": etag, "last_modified": last_modified}).decode()


def _returnable(validator: str | None) -> str | None:
    """Return a header that can be sent back; None for any other."""
    is_fit = validator and len(validator) <= VALIDATOR_LIMIT_CHARS and validator.isascii() and validator.isprintable()
    return validator if is_fit else None


def _keep(delivery: ApiDelivery, pages: Pages) -> _Kept:
    """Write the records of all pages to files; raise if any page fails."""
    folder = delivery.place.scratch
    folder.mkdir(parents=True, exist_ok=True)
    pages.write(folder)
    (records,) = find_files((folder / RECORDS).as_posix(), folder)
    return _Kept(replace(records, path=delivery.path), folder / MARKS)
