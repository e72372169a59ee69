"""What an answer says beside its list of records: whether there is more, and how many there are.

The pages of an API are answers, and so are many JSON files: somebody has saved them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

# Objects in which answers describe their pages.
PLACES = ("links", "_links", "meta", "pagination", "paging", "page", "meta.pagination", "meta.paging", "meta.page")


def in_usual_places(*names: str) -> tuple[str, ...]:
    """Return the names at the top of an answer, and in the objects in which answers keep such values."""
    return tuple(place + name for place, name in product(("", *(f"{place}." for place in PLACES)), names))


# Keys that usually show whether there is more: by an address or a cursor, by true, by false, and by numbers.
LINKS = ("@odata.nextLink", *in_usual_places("next", "nextLink", "next_link", "next.href"))
CURSORS = in_usual_places(
    "next_cursor", "nextCursor", "next_page_token", "nextPageToken", "next_token", "next_page", "nextPage"
)
IS_MORE = (
    *in_usual_places("has_more", "hasMore", "has_next", "hasNext", "has_next_page", "hasNextPage", "more"),
    *in_usual_places("truncated", "is_truncated", "isTruncated", "IsTruncated"),
)
IS_LAST = in_usual_places("last", "isLast", "is_last")
TOTALS = (
    "@odata.count",
    *in_usual_places("total", "total_count", "totalCount", "total_records", "totalRecords"),
    *in_usual_places("total_items", "totalItems", "total_elements", "totalElements", "total_results", "totalResults"),
)
COUNTS = in_usual_places("count")  # of all records, or of those of this page
PAGE_COUNTS = in_usual_places("total_pages", "totalPages", "page_count", "pageCount", "last_page", "lastPage", "pages")
IS_WELL = ("success", "ok")
STATUS, FAILURES = "status", ("error", "fail", "failed", "failure")
TELLING_KEYS = (*LINKS, *CURSORS, *IS_MORE, *IS_LAST, *TOTALS, *COUNTS, *PAGE_COUNTS)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What an answer says.

    Attributes:
        values: The values of its keys; None for a key that it does not have.
        records: The number of its records.
    """

    values: Mapping[str, Any]
    records: int

    @property
    def says_last(self) -> bool:
        """Whether the answer says that it is the last one."""
        says_no_more = any(self.values[key] is False for key in IS_MORE)
        return says_no_more or any(self.values[key] is True for key in IS_LAST)

    def more(self) -> Iterator[str]:
        """Yield what shows that there are further answers."""
        yield from (f"its {key} is true" for key in IS_MORE if self.values[key] is True)
        yield from (f"its {key} is false" for key in IS_LAST if self.values[key] is False)
        if self.records:  # some APIs name a next page after an empty one, too
            yield from (f"its {key} names a next page" for key in (*LINKS, *CURSORS) if self.values[key])

    def more_by_numbers(self, records: int) -> Iterator[str]:
        """Yield what shows by a number that there are more records.

        Args:
            records: The number of records that came.
        """
        yield from (told for total, told in self._totals(records) if total > records)

    def miscounts(self) -> Iterator[str]:
        """Yield what shows that the records of this answer alone are not those that it counts."""
        yield from (told for total, told in self._totals(self.records) if total != self.records)
        yield from self.more_pages()

    def more_pages(self) -> Iterator[str]:
        """Yield what shows that there are several pages."""
        counts = ((key, number(self.values[key])) for key in PAGE_COUNTS)
        yield from (f"its {key} says {count}" for key, count in counts if count is not None and count > 1)

    def _totals(self, records: int) -> Iterator[tuple[int, str]]:
        for key in (*TOTALS, *COUNTS):
            if (total := number(self.values[key])) is not None:
                yield total, f"its {key} says {total}, and {records} records came"


def around(document: object, records: str | None) -> list[Mapping[str, Any]]:
    """Return the objects that hold a list of records, the outermost first.

    Args:
        document: The answer.
        records: The path of keys to the list; None for a list under a key of the answer itself.
    """
    holders: list[Mapping[str, Any]] = []
    for key in (*(records or "").split(".")[:-1], ""):
        if isinstance(document, dict):
            holders.append(document)
            document = document.get(key)
    return holders


def first_at(answers: Sequence[Mapping[str, Any]], key: str) -> Any:
    """Return the value of a key, or at a path of keys, in the first object that has one; else None."""
    return next((value for answer in answers if (value := at(answer, key)) is not None), None)


def at(answer: Mapping[str, Any], key: str) -> Any:
    """Return the value of a key, or at a path of keys such as `meta.next`; None if there is none."""
    if key in answer:
        return answer[key]
    outer, _, inner = key.partition(".")
    part = answer.get(outer) if inner else None
    if isinstance(part, list):
        part = _links_by_relation(part)
    return at(part, inner) if isinstance(part, dict) else None


def _links_by_relation(links: Sequence[object]) -> dict[str, Any]:
    """Return the addresses of a list such as `[{"rel": "next", "href": "?page=2"}]`."""
    return {str(link["rel"]): link.get("href") for link in links if isinstance(link, dict) and "rel" in link}


def failure(answers: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what says that an answer is not well; None if nothing does."""
    for key in IS_WELL:
        if first_at(answers, key) is False:
            return f"its {key} is false"
    status = first_at(answers, STATUS)
    return f"its {STATUS} is {status!r}" if isinstance(status, str) and status.lower() in FAILURES else None


def number(value: object) -> int | None:
    """Return a value as a whole number; None if it is none."""
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
