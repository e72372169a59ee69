"""Proposes a contract from the rows of a sample, which all keep it.

Decisions for a person are not guessed silently: they are listed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from freight.contracts import Column, Contract, Dtype
from freight.contracts.contract import DEFAULT_TEXT_LIMIT
from freight.contracts.headers import listed, normalise, place_of, shown
from freight.contracts.measures import SPELLINGS, unit_of
from freight.errors import ConfigurationError
from freight.frames import ROW_NUMBER
from freight.scaffold.keys import given_key, guessed_key, is_code
from freight.scaffold.sample import Sample
from freight.validation import Locale, split
from freight.warehouse.schema import UNUSABLE_NAMES
from freight.words import counted

NAME_CHARS = 50  # PostgreSQL cuts names off at 63 bytes
FRESHNESS_S = 30 * 86_400
NUMERIC = r"^-?[0-9][0-9., \u00a0\u202f]*$"  # without letters: 12E4 is a code
CODE = r"^-?0[0-9]"
EXACT_DIGITS = 15  # the digits that a double stores exactly
TYPES: tuple[Dtype, ...] = ("boolean", "integer", "number", "date", "instant")
IN_BRACKETS = re.compile(r"[(\[]([^)\]]+)[)\]]\s*$")


@dataclass(frozen=True)
class Proposal:
    """A contract that a sample keeps.

    Attributes:
        contract: The proposed contract.
        to_decide: The questions that a person must decide, by column; those about the whole dataset are under "".
    """

    contract: Contract
    to_decide: Mapping[str, Sequence[str]] = field(default_factory=dict)


def propose_contract(
    sample: Sample, dataset: str, key: Sequence[str], load_order: int, zone: str, now: datetime
) -> Proposal:
    """Propose the contract of a new dataset.

    Args:
        sample: The sample with the dataset's rows.
        dataset: The dataset's slug.
        key: The headers or names of the key columns; guessed if empty.
        load_order: The dataset's position in a load.
        zone: The time zone of times without an offset.
        now: The instant against which dates are judged.

    Raises:
        ConfigurationError: A column has no name or shares one, or the key is not a key.
    """
    _refuse_unnamed(sample)
    names = column_names(sample.header)
    typed = [
        _column(sample, position, names[position], Locale(sample.notation, zone), now) for position in range(len(names))
    ]
    business_key = given_key(sample, typed, key) if key else guessed_key(sample, typed)
    columns = tuple(_as_key(column) if column.name in business_key else column for column in typed)
    has_time = any(column.dtype in ("instant", "date") for column in columns)
    contract = Contract(
        dataset=dataset,
        version=1,
        table=f"{'fact' if has_time else 'dim'}_{dataset}",
        business_key=business_key,
        columns=columns,
        freshness_s=FRESHNESS_S,
        load_order=load_order,
    )
    return Proposal(contract, _to_decide(sample, contract, guessed=not key))


def _refuse_unnamed(sample: Sample) -> None:
    unnamed = next((position for position, cell in enumerate(sample.header) if not normalise(cell)), None)
    if unnamed is not None:
        there_is = listed(sample.header)
        raise ConfigurationError(f"{place_of(unnamed)} has no name, the header reads {there_is}: name it in the sample")
    normalised = [normalise(cell) for cell in sample.header]
    if doubled := next((cell for cell in normalised if normalised.count(cell) > 1), None):
        raise ConfigurationError(f"the header has {shown(doubled)} twice: rename one of the columns in the sample")


def column_names(header: Sequence[str]) -> list[str]:
    """Return a name for each header cell that the warehouse accepts without quotes."""
    names: list[str] = []
    for position, cell in enumerate(header, start=1):
        bare = re.sub(r"[^a-z0-9]+", "_", normalise(cell)).strip("_")[:NAME_CHARS].rstrip("_")
        name = bare if bare[:1].isalpha() else f"column_{bare or position}"
        name = f"{name}_value" if name in UNUSABLE_NAMES else name
        while name in names:
            name = f"{name}_{position}"
        names.append(name)
    return names


def _column(sample: Sample, position: int, name: str, locale: Locale, now: datetime) -> Column:
    header = " ".join(sample.header[position].split())
    texts = _cleaned(sample, position)
    column = Column(
        name,
        _dtype(texts, name, locale, now),
        f"{header[:1].upper()}{header[1:]}.".replace("_", " "),
        unit=_unit(header, name),
        required=texts.null_count() == 0,
        aliases=() if normalise(header) == name else (header,),
    )
    return replace(column, unit="", max_length=_text_limit(texts)) if column.dtype == "text" else column


def _text_limit(texts: pl.Series) -> int:
    """Return the longest text to allow: the usual limit, or twice the longest text of the sample."""
    longest = max((len(text) for text in texts.drop_nulls()), default=0)
    return DEFAULT_TEXT_LIMIT if longest <= DEFAULT_TEXT_LIMIT else 2 * longest


def _cleaned(sample: Sample, position: int) -> pl.Series:
    texts = sample.texts(position).str.strip_chars()
    return texts.set(texts == "", None)


def _dtype(texts: pl.Series, name: str, locale: Locale, now: datetime) -> Dtype:
    """Return the narrowest type that every value has, by the checks of a load."""
    if texts.null_count() == len(texts):
        return "text"
    is_quantity = not is_code(name) and _is_numeric(texts)
    candidates = [dtype for dtype in TYPES if dtype not in ("integer", "number") or is_quantity]
    return next((dtype for dtype in candidates if keeps(texts, Column(name, dtype, ""), locale, now)), "text")


def _is_numeric(texts: pl.Series) -> bool:
    """Return whether the values are numbers, rather than codes of digits that a number would not preserve."""
    digits = texts.str.replace_all(r"[^0-9]", "").str.len_chars().max()
    few = isinstance(digits, int) and digits <= EXACT_DIGITS
    filled = texts.drop_nulls()
    return few and bool(filled.str.contains(NUMERIC).all() and not filled.str.contains(CODE).any())


def keeps(texts: pl.Series, column: Column, locale: Locale, now: datetime) -> bool:
    """Return whether all values keep the rules of a column."""
    rows = pl.DataFrame({ROW_NUMBER: pl.int_range(len(texts), eager=True), column.name: texts})
    alone = Contract("sample", 1, "sample", (), (column,), freshness_s=0, load_order=0)
    return split(rows, alone, locale, now).quarantined.is_empty()


def _unit(header: str, name: str) -> str:
    """Return the unit in a header, after its name or in brackets."""
    if found := IN_BRACKETS.search(header):
        return unit_of(found[1])
    return SPELLINGS.get(name.rpartition("_")[2], "") if "_" in name else ""


def _as_key(column: Column) -> Column:
    """Return a column as part of a key: a number that identifies something is a text, for its leading zeros."""
    return replace(column, dtype="text", unit="") if column.dtype == "integer" else column


# --- What to decide ----------------------------------------------------------------------------------------------


def _to_decide(sample: Sample, contract: Contract, *, guessed: bool) -> dict[str, list[str]]:
    rows = counted(sample.rows.height, "row")
    key = [f"whether the key is {' and '.join(contract.business_key)}: it identifies the {rows}"] if guessed else []
    days = contract.freshness_s // 86_400
    of_all = [
        *key,
        f"whether its table is named {contract.table}: fact_ is for events, dim_ for reference data",
        f"the time without a delivery after which it is stale: {days} days here",
        "ranges, patterns, and which columns may be empty: those with empty cells in the sample may",
    ]
    asked = {column.name: _open_questions(sample, position, column) for position, column in enumerate(contract.columns)}
    return {"": of_all, **{name: questions for name, questions in asked.items() if questions}}


def _open_questions(sample: Sample, position: int, column: Column) -> list[str]:
    texts = _cleaned(sample, position).drop_nulls()
    questions = []
    if column.dtype == "number" and not column.unit:
        questions.append("its unit, and a name with the unit, such as weight_t")
    if column.dtype == "integer":
        questions.append("whether it may have fractions: then its type is number")
    if column.dtype == "instant" and texts.str.contains(r"[ T]00:00(:00)?$").all():
        questions.append("whether it is a day: all its times are midnight")
    if texts.is_empty():
        questions.append("its content: it is empty in the sample")
    return questions
