"""How the pages of an HTTP API follow each other: by the catalog; and how an answer shows that it is one of several."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, override

import httpx
from pydantic import Field

from freight.parsers.answers import CURSORS, LINKS, TELLING_KEYS, TOTALS, Told, in_usual_places, number
from freight.readers.options import AnswerOptions
from freight.readers.watermarks import OVERLAP_NUMBERS, OVERLAP_S, Overlap

Paging = Literal["none", "link", "cursor", "page", "offset", "last_id"]

TOTAL_HEADERS = ("X-Total-Count", "X-Total")
HINTS: dict[str, tuple[str, ...]] = {
    "{paging: offset, offset_parameter: offset}": in_usual_places("offset", "skip", "start"),
    "{paging: page, page_parameter: page, first_page: 1}": in_usual_places("page", "current_page", "number"),
}
BY_LINK = "{paging: link}"
BY_ID = "{paging: last_id, id_key: id, id_parameter: starting_after}"
USUAL_KEYS = (*TELLING_KEYS, *(key for keys in HINTS.values() for key in keys))


class ApiOptions(AnswerOptions):
    """How to query the API, and how to interpret its answers. A key may lead into an object: `meta.next_cursor`."""

    parameters: dict[str, str] = Field(default_factory=dict, description="Parameters of every request.")
    paging: Paging = Field(default="none", description="Way to find the next page.")
    cursor_key: str = Field(default="next_cursor", description="Key of the response that holds the next cursor.")
    cursor_parameter: str = Field(default="cursor", description="Parameter that takes the cursor.")
    page_parameter: str = Field(default="page", description="Parameter that takes the number of a page.")
    first_page: int = Field(default=1, description="Number of the first page.")
    offset_parameter: str = Field(default="offset", description="Parameter that takes the number of records to skip.")
    id_key: str = Field(default="id", description="Key of a record that holds its id.")
    id_parameter: str = Field(default="starting_after", description="Parameter that takes the id of the last record.")
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


@dataclass(frozen=True, kw_only=True)
class Answer(Told):
    """A page.

    Attributes:
        url: The address of the page, after redirects.
        next_link: The address of the next page according to the headers.
        body_hash: The hash of the page's bytes.
        last_id: The id of the last record, if the pages follow each other by it.
        headers: The headers of the response.
    """

    url: httpx.URL
    next_link: str | None
    body_hash: str
    last_id: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def link(self) -> str | None:
        """The address of the next page, by the headers or the page."""
        return self.next_link or next((self.values[key] for key in LINKS if _is_address(self.values[key])), None)

    @override
    def more(self) -> Iterator[str]:
        if self.next_link:
            yield "its header Link names a next page"
        yield from super().more()

    @override
    def more_by_numbers(self, records: int) -> Iterator[str]:
        yield from super().more_by_numbers(records)
        for header in TOTAL_HEADERS:
            if (total := number(self.headers.get(header))) is not None and total > records:
                yield f"its header {header} says {total}, and {records} records came"

    def is_first_of_several(self) -> Iterator[str]:
        """Yield what shows that this page alone is not all."""
        yield from self.more()
        yield from self.more_by_numbers(self.records)
        yield from self.more_pages()

    @property
    def total(self) -> int | None:
        """The number of all records by a usual key; None if that may be the number of records of the page."""
        totals = (number(self.values[key]) for key in TOTALS)
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


def _no_page(_: Answer, __: ApiOptions) -> httpx.URL | None:
    return None


def _linked_page(answer: Answer, _: ApiOptions) -> httpx.URL | None:
    return answer.url.join(answer.link) if answer.link else None


def _page_at_cursor(answer: Answer, options: ApiOptions) -> httpx.URL | None:
    cursor = answer.values[options.cursor_key]
    return answer.url.copy_set_param(options.cursor_parameter, cursor) if cursor not in (None, "") else None


def _page_after(answer: Answer, options: ApiOptions) -> httpx.URL | None:
    page = int(answer.url.params[options.page_parameter])
    return answer.url.copy_set_param(options.page_parameter, page + 1)


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
