"""Read a table or view: the rows that are new by a watermark, or all. Values become text and are typed later.

No text of the catalog becomes SQL: names must exist in the database and are quoted by its dialect, and values are
bound.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import orjson
import polars as pl
import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.compiler import compiles

from freight.contracts import Contract
from freight.contracts.headers import known_headers, normalise
from freight.databases import Database
from freight.errors import ConfigurationError, SourceAway, SourceError, TransientError
from freight.frames import NATIVE, ROW_NUMBER, BadRow, bad_rows
from freight.readers.content_hash import ContentHash
from freight.readers.deliveries import NewContent, Place, new_since, opened
from freight.readers.locations import SourceFile
from freight.readers.options import ReaderOptions
from freight.readers.raw import RawBatch, RawTable
from freight.readers.watermarks import (
    OVERLAP_NUMBERS,
    OVERLAP_S,
    Overlap,
    are_alike,
    before,
    behind_rows_in,
    blind_spot,
    instant_in,
    like,
    note,
    recall,
    utc,
)
from freight.types import Fingerprint, Number, Position, native_numbers
from freight.words import counted

BATCH_ROWS, BATCH_BYTES = 20_000, 64 << 20
ROW_LIMIT_BYTES = 1 << 20  # of the values of any size; times `FETCHED_ROWS` they are in memory at once
FETCHED_ROWS = 200  # at once, of a table with such values
SHORT_BYTES = 4_000  # of a value that is shown even if its row is refused
CALENDAR = (date(1, 1, 2), date(9999, 12, 31))  # a day less than Python's at both ends: a time may be in any zone
TIME_LIKE = "____-__-__%"

# Types of driver values whose text differs from Python's.
WRITERS: dict[type, Callable[[Any], str | None]] = {
    type(None): lambda _: None,
    bool: lambda value: "true" if value else "false",
    Decimal: lambda value: f"{value:f}",
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    bytes: bytes.hex,
}
NUMBERS = {int, float, Decimal}
NESTED = (list, dict, tuple)


class SqlOptions(ReaderOptions):
    """Which table to read, and how to find its new rows."""

    table: str = Field(min_length=1, description="Table or view, with its schema if it needs one: dbo.transactions.")
    columns: list[str] | None = Field(default=None, description="Columns; those that the contract knows by default.")
    watermark: str | None = Field(default=None, description="Column that grows with each change of a row.")
    overlap_s: int = Field(default=OVERLAP_S, ge=0, description="Seconds before a watermark by time to read again.")
    overlap: int = Field(default=OVERLAP_NUMBERS, ge=0, description="Span before a number as watermark to read again.")

    @property
    def span(self) -> Overlap:
        """The span before the watermark to read again."""
        return Overlap(self.overlap_s, self.overlap)

    @property
    def is_partial(self) -> bool:
        """See `ReaderOptions`."""
        return self.watermark is not None


@dataclass(frozen=True)
class TableRows:
    """Rows to read.

    Attributes:
        path: The name of the table in the ledger.
        database: The database of the table.
        header: The names of the columns.
        queries: Queries that return the rows, one after the other.
        content_hash: The hash of the rows in any order; empty if they may have changed since.
        passed_over: The other columns of the table.
        is_sized: Whether each row ends with its size in bytes, since its values have no limit.
    """

    path: str
    database: Database
    header: tuple[str, ...]
    queries: tuple[sa.Select[Any], ...] = field(repr=False)
    content_hash: str = ""
    passed_over: tuple[str, ...] = ()
    is_sized: bool = False

    def refuse_if_changed(self) -> None:
        """Do nothing: reading the last row compares the hash, and a window is bounded."""


class _Table(NamedTuple):
    """A table as the database describes it; columns have no types, so that values come as the driver returns them."""

    clause: sa.TableClause
    columns: list[sa.ColumnClause[Any]]
    watermark: sa.ColumnClause[Any] | None
    watermark_type: sa.types.TypeEngine[Any] | None
    passed_over: tuple[str, ...] = ()
    sizes: Mapping[str, sa.ColumnElement[int]] = {}  # of the columns whose values may be of any size

    @property
    def rows(self) -> sa.Select[Any]:
        """Its rows; one beyond the limit comes without its long values, which may be larger than the memory."""
        if not self.sizes:
            return sa.select(*self.columns)
        size = sum(self.sizes.values(), sa.literal_column("0", sa.BigInteger()))
        return sa.select(*(self._bounded(column, size) for column in self.columns), size.label(SIZE))

    def _bounded(self, column: sa.ColumnClause[Any], size: sa.ColumnElement[int]) -> sa.ColumnElement[Any]:
        if column.name not in self.sizes:
            return column
        fits = sa.or_(size <= ROW_LIMIT_BYTES, self.sizes[column.name] <= SHORT_BYTES)
        return sa.case((fits, column), else_=sa.null()).label(column.name)


@dataclass(frozen=True)
class TableDelivery:
    """A table or view; see `Delivery`."""

    path: str
    place: Place
    options: SqlOptions
    database: Database

    @property
    def stored(self) -> SourceFile | None:
        """See `Delivery`."""
        return None

    def changed_since(self, known: Position | None) -> NewContent | None:
        """See `Delivery`."""
        with _reading(self.database, self.path) as connection:
            table, now = _describe(connection, self.options, self.place.contract), utc(_now_of(connection))
            is_whole = table.watermark is None
            content = self._whole(table, now) if is_whole else _Window(connection, table, self, known, now).content()
        return new_since(known, content)

    def _whole(self, table: _Table, now: datetime) -> NewContent:
        rows = TableRows(
            self.path,
            self.database,
            _names(table.columns),
            (table.rows,),
            passed_over=table.passed_over,
            is_sized=bool(table.sizes),
        )
        content_hash = ContentHash()
        for _ in _batches(rows, content_hash):
            pass
        whole = replace(rows, content_hash=content_hash.hexdigest())
        return NewContent(whole, Fingerprint(whole.content_hash), now)


class _Window:
    """The new rows of a table according to its watermark.

    The window reaches from the last watermark, less the overlap, to the newest one that is not in the future. Rows
    without a watermark belong to every window, because nothing shows which of them were loaded.
    """

    def __init__(
        self, connection: sa.Connection, table: _Table, delivery: TableDelivery, known: Position | None, now: datetime
    ) -> None:
        assert table.watermark is not None
        self._connection, self._table, self._delivery, self._now = connection, table, delivery, now
        self._column, self._zone = table.watermark, delivery.place.time_zone
        self._overlap = delivery.options.span
        self._is_odd = self._odd()
        self._high, self._later_rows = self._newest()
        self._odd_rows = 0 if self._is_odd is None else self._count(self._is_odd)
        self._unmarked_rows = self._count(self._column.is_(None))
        noted = recall(self._column.name, known.fingerprint.watermark) if known else None
        self._known = noted if noted is not None and self._is_like_now(noted) else None
        self._overtaken_by = self._late_rows(known)

    def content(self) -> NewContent | None:
        """Return the rows of the window; None if there are none."""
        if self._is_empty():
            return None
        table, delivery = self._table, self._delivery
        return NewContent(
            TableRows(
                delivery.path,
                delivery.database,
                _names(table.columns),
                self._queries(),
                passed_over=table.passed_over,
                is_sized=bool(table.sizes),
            ),
            Fingerprint(self._state_hash(), watermark=self._watermark),
            speaks_for=utc(instant_in(self._high, self._zone) or self._now),
            remark="; ".join(self._remarks()),
        )

    def _newest(self) -> tuple[Any, int]:
        """Return the newest watermark that is not in the future, and the number of rows that are.

        With a future watermark the table would count as read up to it before its rows exist.
        """
        newest = self._newest_where(self._usable())
        if instant_in(newest, self._zone) is None:
            return newest, 0
        bound = like(newest, self._now, self._zone)
        if newest <= bound:
            return newest, 0
        is_later = sa.and_(self._usable(), self._column > self._bound(bound))
        return self._newest_where(self._up_to(bound)), self._count(is_later)

    def _odd(self) -> sa.ColumnElement[bool] | None:
        """Return the condition for values beyond every calendar; None if the column cannot hold them.

        One of them would be the newest watermark for ever.
        """
        column, column_type = self._column, self._table.watermark_type
        if self._dialect == "postgresql" and isinstance(column_type, (sa.DateTime, sa.Date)):
            first, last = (sa.cast(sa.literal(day), column_type) for day in CALENDAR)
            return sa.or_(column < first, column >= last)
        if self._dialect != "sqlite" and not isinstance(column_type, sa.String):
            return None
        is_time = column.like(TIME_LIKE)
        return sa.not_(is_time) if instant_in(self._newest_where(is_time), self._zone) else None

    @property
    def _dialect(self) -> str:
        return self._connection.dialect.name

    def _usable(self) -> sa.ColumnElement[bool]:
        return sa.true() if self._is_odd is None else sa.not_(self._is_odd)

    def _is_like_now(self, noted: object) -> bool:
        """Whether the column still has the same kind of values."""
        return self._high is not None and are_alike(noted, self._high)

    @property
    def _is_set_back(self) -> bool:
        """Whether the table is older than its last load, as after a restore."""
        return self._known is not None and self._high < self._known

    def _late_rows(self, known: Position | None) -> int:
        """Return how many more rows than at the last load are behind its overlap, as after a clock that went back."""
        noted = behind_rows_in(known.fingerprint.watermark) if known and self._known is not None else None
        if noted is None or self._is_set_back:
            return 0
        return max(0, self._behind(self._known) - noted)

    def _behind(self, mark: Any) -> int:
        low = self._bound(before(mark, self._overlap, self._zone))
        return self._count(sa.and_(self._usable(), self._column < low))

    def _low(self) -> Any:
        """Return the lower bound of the window; None for the beginning."""
        if self._known is None or self._is_set_back or self._overtaken_by:
            return None
        return before(self._known, self._overlap, self._zone)

    def _is_empty(self) -> bool:
        if self._unmarked_rows or self._odd_rows:
            return False
        return self._high is None or (self._low() is not None and self._count(self._span(self._low())) == 0)

    def _queries(self) -> tuple[sa.Select[Any], ...]:
        """Select rows without a usable watermark first, so that the newer of two versions of a row comes last."""
        rows = self._table.rows
        unmarked = [rows.where(self._column.is_(None))] if self._unmarked_rows else []
        odd = [rows.where(self._is_odd)] if self._is_odd is not None and self._odd_rows else []
        marked = [rows.where(self._span(self._low())).order_by(self._column)] if self._high is not None else []
        return (*unmarked, *odd, *marked)

    def _state_hash(self) -> str:
        """Return a hash of the table's state; a late row within the overlap changes it."""
        options, tail_rows = self._delivery.options, 0
        if self._high is not None:
            tail_rows = self._count(self._span(before(self._high, self._overlap, self._zone)))
        state = [options.model_dump(), _names(self._table.columns), self._watermark, tail_rows, self._unmarked_rows]
        state += [self._odd_rows] if self._odd_rows else []
        return hashlib.sha256(orjson.dumps(state)).hexdigest()

    @cached_property
    def _watermark(self) -> str | None:
        return None if self._high is None else note(self._column.name, self._high, self._behind(self._high))

    def _remarks(self) -> Iterator[str]:
        name = self._column.name
        if blind := blind_spot(self._high, name, self._overlap, self._zone):
            yield blind
        if self._odd_rows:
            yield f"{counted(self._odd_rows, 'row')} with a {name} such as infinity, read with every load: correct it"
        if self._unmarked_rows:
            yield f"{counted(self._unmarked_rows, 'row')} without {name}, read with every load: have it filled in"
        if self._later_rows:
            yield f"{counted(self._later_rows, 'row')} with a {name} in the future, to be read then"
        if self._overtaken_by:
            came = f"{counted(self._overtaken_by, 'row')} came with a {name} before the overlap"
            yield f"{came}, so the whole table is read again: raise the overlap in the options if this comes again"
        if self._is_set_back:
            yield f"{name} is behind the loaded rows, as after a restore: the whole table is read again"

    def _span(self, low: Any) -> sa.ColumnElement[bool]:
        up_to = self._up_to(self._high)
        return up_to if low is None else sa.and_(self._column >= self._bound(low), up_to)

    def _up_to(self, high: Any) -> sa.ColumnElement[bool]:
        up_to = self._column <= self._bound(high)
        return up_to if self._is_odd is None else sa.and_(self._usable(), up_to)

    def _bound(self, value: Any) -> sa.ColumnElement[Any]:
        # SQL Server keeps a `datetime` in steps of 1/300 s: a value must be cast to it to match the row it came from.
        column_type = self._table.watermark_type
        return sa.cast(value, column_type) if isinstance(value, date) and column_type else sa.literal(value)

    def _newest_where(self, condition: sa.ColumnElement[bool]) -> Any:
        newest = sa.select(sa.func.max(self._column)).select_from(self._table.clause).where(condition)
        return self._connection.execute(newest).scalar_one()

    def _count(self, condition: sa.ColumnElement[bool]) -> int:
        counted = sa.select(sa.func.count()).select_from(self._table.clause).where(condition)
        return int(self._connection.execute(counted).scalar_one())


SIZE = "dpa_row_bytes"
NARROW = (sa.Integer, sa.Numeric, sa.DateTime, sa.Date, sa.Time, sa.Boolean, sa.Interval, sa.Uuid, sa.Enum)
SIZED_DIALECTS = {"sqlite", "postgresql", "mysql", "mariadb", "mssql"}


class _Size(sa.sql.functions.FunctionElement[int]):
    """The size of a value in bytes, without fetching it."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(_Size)
def _standard_size(element: _Size, compiler: Any, **more: Any) -> str:
    return f"COALESCE(OCTET_LENGTH({compiler.process(element.clauses, **more)}), 0)"


@compiles(_Size, "sqlite")
def _sqlite_size(element: _Size, compiler: Any, **more: Any) -> str:
    return f"COALESCE(LENGTH(CAST({compiler.process(element.clauses, **more)} AS BLOB)), 0)"


@compiles(_Size, "mssql")
def _mssql_size(element: _Size, compiler: Any, **more: Any) -> str:
    return f"COALESCE(DATALENGTH({compiler.process(element.clauses, **more)}), 0)"


class _Now(sa.sql.functions.FunctionElement[datetime]):
    """The database's clock."""

    type = sa.DateTime(timezone=True)
    inherit_cache = True


@compiles(_Now)
def _standard_now(*_: Any, **__: Any) -> str:
    return "CURRENT_TIMESTAMP"


@compiles(_Now, "mssql")
def _mssql_now(*_: Any, **__: Any) -> str:
    return "SYSDATETIMEOFFSET()"  # CURRENT_TIMESTAMP is local time without its offset


@compiles(_Now, "mysql", "mariadb")
def _mysql_now(*_: Any, **__: Any) -> str:
    return "UTC_TIMESTAMP()"


def _now_of(connection: sa.Connection) -> datetime:
    return connection.execute(sa.select(_Now())).scalar_one()


def deliver_table(place: Place, options: SqlOptions) -> list[TableDelivery]:
    """Return the table or view that the options name; a later step checks that it exists.

    Raises:
        SourceError: The connection cannot be opened.
    """
    path = f"{place.connection}/{options.table}"
    database = opened("database", place.connections.database, place.connection, path)
    return [TableDelivery(path, place, options, database)]


def read_table(rows: TableRows, contract: Contract, options: SqlOptions) -> RawTable:
    """Read rows; their numbers count from 1. NULL stays null and does not become an empty text.

    Raises:
        SourceError: The database refuses, or a table that is read as a whole has changed meanwhile.
        SourceAway: The database became unavailable.
    """
    return RawTable(rows.header, _checked(rows), passed_over=rows.passed_over)


def _describe(connection: sa.Connection, options: SqlOptions, contract: Contract) -> _Table:
    """Return the table with the columns to read.

    Raises:
        SourceError: The database has no such table or column.
    """
    schema, _, name = options.table.rpartition(".")
    dialect = connection.dialect.name
    inspector = sa.inspect(connection)
    if not inspector.has_table(name, schema=schema or None):
        raise SourceError(
            "missing",
            f"the database has no table or view {options.table!r}",
            remedy="correct `table` in the catalog, or let the connection's user see it",
        )
    types = {column["name"]: column["type"] for column in inspector.get_columns(name, schema=schema or None)}
    known = known_headers(contract)
    wanted = options.columns or [column for column in types if normalise(column) in known]
    _refuse_unknown([*wanted, *([options.watermark] if options.watermark else [])], list(types), options.table)
    clause = sa.table(name, *(sa.column(column) for column in types), schema=schema or None)
    mark = options.watermark
    return _Table(
        clause,
        [clause.c[column] for column in wanted],
        clause.c[mark] if mark else None,
        types[mark] if mark else None,
        tuple(column for column in types if column not in (*wanted, mark)),
        {name: _size_of(clause.c[name], types[name], dialect) for name in wanted if _is_wide(types[name], dialect)},
    )


def _is_wide(column_type: sa.types.TypeEngine[Any], dialect: str) -> bool:
    """Whether the values of a column may be of any size; SQLite keeps to no type."""
    if dialect not in SIZED_DIALECTS:
        return False
    length = getattr(column_type, "length", None)
    return dialect == "sqlite" or not (isinstance(column_type, NARROW) or (length and length <= SHORT_BYTES))


def _size_of(
    column: sa.ColumnClause[Any], column_type: sa.types.TypeEngine[Any], dialect: str
) -> sa.ColumnElement[int]:
    is_plain = dialect != "postgresql" or isinstance(column_type, (sa.String, sa.LargeBinary))
    return _Size(column if is_plain else sa.cast(column, sa.Text))


def _refuse_unknown(wanted: Sequence[str], there: Sequence[str], table: str) -> None:
    unknown = next((column for column in wanted if column not in there), None)
    if unknown is not None:
        raise SourceError(
            "missing_column",
            f"{table} has no column {unknown!r}; it has {', '.join(there)}",
            column=unknown,
            remedy="correct `columns` or `watermark` in the catalog",
        )


def _names(columns: Sequence[sa.ColumnClause[Any]]) -> tuple[str, ...]:
    return tuple(column.name for column in columns)


@contextmanager
def _reading(database: Database, path: str) -> Iterator[sa.Connection]:
    try:
        with database.reading() as connection:
            yield connection
    except TransientError as error:
        raise SourceAway(f"{path}: {error}") from error
    except ConfigurationError as error:
        raise SourceError(
            "unreadable",
            str(error),
            location=path,
            remedy="correct the connection, or the rights of its user; the next run tries again",
        ) from error


def _checked(rows: TableRows) -> Iterator[RawBatch]:
    content_hash = ContentHash() if rows.content_hash else None
    yield from _batches(rows, content_hash)
    if content_hash and content_hash.hexdigest() != rows.content_hash:
        raise SourceError(
            "changed_while_reading",
            "the table was written to while it was being read",
            location=rows.path,
            remedy="none: the next run reads it again; with a `watermark` it can be read while it changes",
        )


def _batches(rows: TableRows, content_hash: ContentHash | None) -> Iterator[RawBatch]:
    first = 1
    with _reading(rows.database, rows.path) as connection:
        for query in rows.queries:
            at_once = min(FETCHED_ROWS, BATCH_ROWS) if rows.is_sized else BATCH_ROWS
            with connection.execute(query.execution_options(yield_per=at_once)) as result:  # closed if left halfway
                for part in _parts(result) if rows.is_sized else result.partitions():
                    if content_hash:
                        _note(content_hash, part, len(rows.header))
                    yield _raw_batch(part, rows.header, first)
                    first += len(part)


def _parts(result: sa.CursorResult[Any]) -> Iterator[Sequence[sa.Row[Any]]]:
    """Yield rows that end with their sizes, as many at a time as `BATCH_ROWS` and `BATCH_BYTES` allow."""
    part: list[sa.Row[Any]] = []
    size_bytes = 0
    for fetched in result.partitions():
        part.extend(fetched)
        size_bytes += sum(row[-1] for row in fetched)
        if len(part) >= BATCH_ROWS or size_bytes >= BATCH_BYTES:
            yield part
            part, size_bytes = [], 0
    if part:
        yield part


def _note(content_hash: ContentHash, part: Sequence[sa.Row[Any]], width: int) -> None:
    for row in part:
        told = row if _is_too_large(row, width) else row[:width]  # a longer value changes the size alone
        content_hash.note(orjson.dumps([_text(value) for value in told]))


def _is_too_large(row: sa.Row[Any], width: int) -> bool:
    return len(row) > width and row[-1] > ROW_LIMIT_BYTES


def _raw_batch(part: Sequence[sa.Row[Any]], header: tuple[str, ...], first: int) -> RawBatch:
    numbered = list(enumerate(part, start=first))
    width = len(header)
    faults = [_fault(number, row, header) for number, row in numbered if _is_bad(row, width)]
    good = [(number, row) for number, row in numbered if not _is_bad(row, width)] if faults else numbered
    cells = {str(i): [_text(row[i]) for _, row in good] for i in range(len(header))}
    cells[NATIVE] = [_native_numbers(tuple(map(type, row[:width]))) for _, row in good]
    schema = {**dict.fromkeys(cells, pl.String), ROW_NUMBER: pl.Int64}
    frame = pl.DataFrame({**cells, ROW_NUMBER: [number for number, _ in good]}, schema=schema)
    return RawBatch(frame, bad_rows(faults))


@lru_cache(maxsize=1_000)
def _native_numbers(kinds: tuple[type, ...]) -> str:
    return native_numbers(tuple(Number if kind in NUMBERS else str for kind in kinds))


def _is_bad(row: sa.Row[Any], width: int) -> bool:
    return _is_too_large(row, width) or any(isinstance(value, NESTED) for value in row)


def _fault(number: int, row: sa.Row[Any], header: tuple[str, ...]) -> BadRow:
    cells = dict(zip(header, row, strict=False))  # without the size
    raw = orjson.dumps(cells, default=str)
    if _is_too_large(row, len(header)):
        limit = f"{ROW_LIMIT_BYTES:,} bytes: shorten the long value, or name the `columns` to read without it"
        return BadRow(number, None, "row_too_large", f"the row has {row[-1]:,} bytes, and the limit is {limit}", raw)
    column = next(name for name, value in cells.items() if isinstance(value, NESTED))
    return BadRow(number, column, "nested_value", "a list or an object where a value belongs", raw)


def _text(value: Any) -> str | None:
    return WRITERS.get(type(value), str)(value)
