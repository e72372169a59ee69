"""How the pages of an HTTP API follow each other: by the catalog; and how an answer shows that it is one of several."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import httpx
from pydantic import Field

from freight.readers.options import ReaderOptions
from freight.readers.watermarks import OVERLAP_NUMBERS, OVERLAP_S, Overlap

Paging = Literal["none", "link", "cursor", "page", "offset", "last_id"]


def _in_usual_places(*names: str) -> tuple[str, ...]:
    """Return the names at the top of a page, and in the objects in which pages keep such values."""
    places = ("", "links.", "_links.", "meta.", "pagination.", "paging.", "page.")
    return tuple(place + name for place, name in product(places, names))


# Keys that usually show whether there is more: by an address or a cursor, by true, by false, and by numbers.
LINKS = ("@odata.nextLink", *_in_usual_places("next", "nextLink", "next_link", "next.href"))
CURSORS = _in_usual_places(
    "next_cursor", "nextCursor", "next_page_token", "nextPageToken", "next_token", "next_page", "nextPage"
)
IS_MORE = _in_usual_places("has_more", "hasMore", "has_next", "hasNext", "has_next_page", "hasNextPage", "more")
IS_LAST = _in_usual_places("last", "isLast", "is_last")
TOTALS = (
    "@odata.count",
    *_in_usual_places("total", "total_count", "totalCount", "total_records", "totalRecords"),
    *_in_usual_places("total_items", "totalItems", "total_elements", "totalElements", "total_results", "totalResults"),
)
COUNTS = _in_usual_places("count")  # of all records, or of those of this page
PAGE_COUNTS = _in_usual_places("total_pages", "totalPages", "page_count", "pageCount", "last_page", "lastPage")
TOTAL_HEADERS = ("X-Total-Count", "X-Total")
HINTS: dict[str, tuple[str, ...]] = {
    "{paging: offset, offset_parameter: offset}": _in_usual_places("offset", "skip", "start"),
    "{paging: page, page_parameter: page, first_page: 1}": _in_usual_places("page", "current_page", "number"),
}
BY_LINK = "{paging: link}"
BY_ID = "{paging: last_id, id_key: id, id_parameter: starting_after}"
USUAL_KEYS = (
    *LINKS,
    *CURSORS,
    *IS_MORE,
    *IS_LAST,
    *TOTALS,
    *COUNTS,
    *PAGE_COUNTS,
    *(k for ks in HINTS.values() for k in ks),
)


class ApiOptions(ReaderOptions):
    """How to query the API, and how to interpret its answers. A key may lead into an object: `meta.next_cursor`."""

    parameters: dict[str, str] = Field(default_factory=dict, description="Parameters of every request.")
    records: str | None = Field(default=None, description="Key of the list of records; the usual keys by default.")
    paging: Paging = Field(default="none", description="Way to find the next page.")
    cursor_key: str = Field(default="next_cursor", description="Key of the response that holds the next cursor.")
    cursor_parameter: str = Field(default="cursor", description="Parameter that takes the cursor.")
    page_parameter: str = Field(default="page", description="Parameter that takes the number of a page.")
    first_page: int = Field(default=1, description="Number of the first page.")
    offset_parameter: str = Field(default="offset", description="Parameter that takes the number of records to skip.")
    id_key: str = Field(default="id", description="Key of a record that holds its id.")
    id_parameter: str = Field(default="starting_after", description="Parameter that takes the id of the last record.")
    total_key: str | None = Field(
        default=None,
        description='Key of the response that holds the number of all records; the usual keys by default, none for "".',
    )
    absent_keys: list[str] = Field(
        default=["errors"], description="Keys of the response that show a failure: they must be absent or empty."
    )
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
        return list(dict.fromkeys([*USUAL_KEYS, self.cursor_key, *([self.total_key] if self.total_key else [])]))


@dataclass(frozen=True)
class Answer:
    """A page.

    Attributes:
        url: The address of the page, after redirects.
        next_link: The address of the next page according to the headers.
        body_hash: The hash of the page's bytes.
        values: The values of `page_keys`; None for a key that the page does not have.
        records: The number of records.
        last_id: The id of the last record, if the pages follow each other by it.
        headers: The headers of the response.
    """

    url: httpx.URL
    next_link: str | None
    body_hash: str
    values: Mapping[str, Any]
    records: int
    last_id: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def link(self) -> str | None:
        """The address of the next page, by the headers or the page."""
        return self.next_link or next((self.values[key] for key in LINKS if _is_address(self.values[key])), None)

    @property
    def says_last(self) -> bool:
        """Whether the page says that it is the last one."""
        says_no_more = any(self.values[key] is False for key in IS_MORE)
        return says_no_more or any(self.values[key] is True for key in IS_LAST)

    def more(self) -> Iterator[str]:
        """Yield what shows that there are further pages."""
        if self.next_link:
            yield "its header Link names a next page"
        yield from (f"its {key} is true" for key in IS_MORE if self.values[key] is True)
        yield from (f"its {key} is false" for key in IS_LAST if self.values[key] is False)
        if self.records:  # some APIs name a next page after an empty one, too
            yield from (f"its {key} names a next page" for key in (*LINKS, *CURSORS) if self.values[key])

    def more_by_numbers(self, records: int) -> Iterator[str]:
        """Yield what shows by a number that there are more records, or more pages than one.

        Args:
            records: The number of records that came.
        """
        for key in (*TOTALS, *COUNTS):
            if (total := _number(self.values[key])) is not None and total > records:
                yield f"its {key} says {total}, and {records} records came"
        for header in TOTAL_HEADERS:
            if (total := _number(self.headers.get(header))) is not None and total > records:
                yield f"its header {header} says {total}, and {records} records came"

    def is_first_of_several(self) -> Iterator[str]:
        """Yield what shows that this page alone is not all."""
        yield from self.more()
        yield from self.more_by_numbers(self.records)
        counts = ((key, _number(self.values[key])) for key in PAGE_COUNTS)
        yield from (f"its {key} says {count}" for key, count in counts if count is not None and count > 1)

    @property
    def total(self) -> int | None:
        """The number of all records by a usual key; None if that may be the number of records of the page."""
        totals = (_number(self.values[key]) for key in TOTALS)
        return next((total for total in totals if total is not None and total != self.records), None)

    def catalog_lines(self) -> str:
        """Return the options that may lead to the next page, ready to paste."""
        if self.link:
            return f"`options: {BY_LINK}`"
        if cursor := next((key for key in CURSORS if self.values[key]), None):
            return f"`options: {{paging: cursor, cursor_key: {cursor}, cursor_parameter: cursor}}`"
        hinted = [line for line, keys in HINTS.items() if any(self.values[key] is not None for key in keys)]
        return " or ".join(f"`options: {line}`" for line in hinted or [*HINTS, BY_ID])


def _is_address(value: object) -> bool:
    return isinstance(value, str) and any(sign in value for sign in "/?")


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _no_page(_: Answer, __: ApiOptions) -> httpx.URL | None:
    return None


def _linked_page(answer: Answer, _: ApiOptions) -> httpx.URL | None:
    return answer.url.join(answer.link) if answer.link else None


def _page_at_cursor(answer: Answer, options: ApiOptions) -> httpx.URL | None:
    cursor = answer.values[options.cursor_key]
    return answer.url.copy_set_param(options.cursor_parameter, cursor) if cursor not in (None, "") else None


def _page_after(answer: Answer, options: ApiOptions) -> httpx.URL | None:
    number = int(answer.url.params[options.page_parameter])
    return answer.url.copy_set_param(options.page_parameter, number + 1)


def _page_at_offset(answer: Answer, options: ApiOptions) -> httpx.URL | None:
    skipped = int(answer.url.params[options.offset_parameter])
    return answer.url.copy_set_param(options.offset_parameter, skipped + answer.records)


def _page_after_id(answer: Answer, options: ApiOptions) -> httpx.URL | None:
    if answer.last_id in (None, ""):
        raise LookupError(options.id_key)
    return answer.url.copy_set_param(options.id_parameter, answer.last_id)


def _until_empty(next_page: Callable[[Answer, ApiOptions], httpx.URL | None]) -> Callable[..., httpx.URL | None]:
    """Let an empty page, or one that says so, mark the end."""
    return lambda answer, options: None if not answer.records or answer.says_last else next_page(answer, options)


NEXT_PAGE: dict[Paging, Callable[[Answer, ApiOptions], httpx.URL | None]] = {
    "none": _no_page,
    "link": _linked_page,
    "cursor": _page_at_cursor,
    "page": _until_empty(_page_after),
    "offset": _until_empty(_page_at_offset),
    "last_id": _until_empty(_page_after_id),
}


def first_parameters(options: ApiOptions) -> dict[str, Any]:
    """Return the parameters of the first request."""
    first: dict[str, Any] = {}
    if options.paging == "page":
        first = {options.page_parameter: options.first_page}
    if options.paging == "offset":
        first = {options.offset_parameter: 0}
    return {**options.parameters, **first}
