"""Options of readers in the catalog: a mistyped name or value is reported, never ignored."""

from collections.abc import Mapping
from datetime import date
from typing import Any, Self

import polars as pl
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from freight import strict_yaml
from freight.errors import ConfigurationError
from freight.notation.days import reads_back
from freight.notation.forms import DecimalMark, Forms, GroupSign


class ReaderOptions(BaseModel):
    """Options of every reader: how the source writes values, and what to leave out. Readers add fields to them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    decimal: DecimalMark | None = Field(
        default=None, description="Decimal mark of numbers in text; the other mark may group thousands."
    )
    thousands: GroupSign | None = Field(
        default=None, description="Sign between thousands of numbers in text; any other sign there is refused."
    )
    day_first: bool | None = Field(default=None, description="Whether 03/02/2026 is the 3rd of February.")
    formats: dict[str, str | list[str]] = Field(
        default_factory=dict,
        description="Formats of days and instants by column, such as %d-%b-%y, epoch_s, epoch_ms or excel_days.",
    )
    true_values: list[str] = Field(default=["true"], description="Texts that mean true.")
    false_values: list[str] = Field(default=["false"], description="Texts that mean false.")
    null_values: list[str] = Field(default=[], description="Texts that mean an empty cell, such as n/a or 9999-12-31.")
    skip_rows_where: list[dict[str, str]] = Field(
        default=[],
        description="Rows that are no data, such as totals: a regular expression for each of some columns, such as "
        "{machine: ^TOTAL}, all of which a row has to match; or a list of these, of which one has to match.",
    )
    ignore: list[str] = Field(default=[], description="Columns to leave out, by their headers.")

    @property
    def forms(self) -> Forms:
        """How the source writes values."""
        return Forms(
            decimal=self.decimal,
            thousands=self.thousands,
            day_first=self.day_first,
            formats={name: (texts,) if isinstance(texts, str) else (*texts,) for name, texts in self.formats.items()},
            true_values=tuple(text.lower() for text in self.true_values),
            false_values=tuple(text.lower() for text in self.false_values),
            null_values=(*self.null_values,),
        )

    @field_validator("true_values", "false_values", "null_values", mode="before")
    @classmethod
    def _are_texts(cls, given: Any) -> Any:
        """Accept what YAML takes for a day or a number; it takes `yes` for true, so that needs quotes."""
        if not isinstance(given, list):
            return given
        if any(isinstance(value, bool) for value in given):
            raise ValueError('put yes, no, on, off, true and false in quotes, such as "yes"')
        if any(isinstance(value, float) for value in given):
            raise ValueError('put numbers with a point in quotes, such as "1.250"')
        return [str(value) if isinstance(value, int | date) else value for value in given]

    @field_validator("thousands")
    @classmethod
    def _differs_from_decimal(cls, thousands: str | None, others: ValidationInfo) -> str | None:
        if thousands and thousands == others.data.get("decimal"):
            raise ValueError("the decimal mark cannot separate thousands, too")
        return thousands

    @field_validator("formats")
    @classmethod
    def _are_whole(cls, formats: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        for texts in formats.values():
            if not texts:
                raise ValueError("it needs a format, such as %d/%m/%Y %H:%M")
            for text in [texts] if isinstance(texts, str) else texts:
                if not reads_back(text):
                    raise ValueError(f"{text!r} is no format of a day or an instant: write one such as %d/%m/%Y %H:%M")
        return formats

    @field_validator("false_values")
    @classmethod
    def _differ(cls, false_values: list[str], others: ValidationInfo) -> list[str]:
        both = {text.lower() for text in false_values} & {text.lower() for text in others.data.get("true_values", ())}
        if both:
            raise ValueError(f"{both.pop()!r} cannot mean true and false")
        return false_values

    @field_validator("skip_rows_where", mode="before")
    @classmethod
    def _is_one_or_a_list(cls, given: Any) -> Any:
        given = strict_yaml.load(given) if isinstance(given, str) else given  # on a command line
        return [given] if isinstance(given, dict) else given

    @field_validator("skip_rows_where")
    @classmethod
    def _has_patterns(cls, rules: list[dict[str, str]]) -> list[dict[str, str]]:
        for rule in rules:
            if not rule:
                raise ValueError("it needs a column, such as {machine: ^TOTAL}")
            for pattern in rule.values():
                _refuse_no_pattern(pattern)
        return rules

    @property
    def is_partial(self) -> bool:
        """Whether a load brings only new rows instead of the whole source."""
        return False

    @classmethod
    def of_texts(cls, options: Mapping[str, str]) -> Self:
        """Return options that were given as text, as on a command line; lists and mappings are YAML.

        Raises:
            ConfigurationError: See `of`.
        """
        given = {name: _loaded(text) for name, text in options.items()}
        try:
            return cls.model_validate_strings(given)
        except ValidationError:
            return cls.of(given)  # raises with a clear message

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Return the options of a catalog entry.

        Raises:
            ConfigurationError: A name or a value is wrong; the message names both and the allowed ones.
        """
        if empty := next((name for name, value in options.items() if value is None), None):
            raise ConfigurationError(f'options > {empty}: it has no value; a comma needs quotes, as in `decimal: ","`')
        try:
            return cls(**options)
        except ValidationError as error:
            fault = error.errors()[0]
        name = fault["loc"][0]
        if fault["type"] == "extra_forbidden" and len(fault["loc"]) == 1:
            known = ", ".join(sorted(cls.model_fields)) or "none"
            raise ConfigurationError(f"options > {name}: unknown to this reader, which knows {known}")
        told = fault["msg"].removeprefix("Value error, ")  # how pydantic begins words of ours
        raise ConfigurationError(f"options > {name}: {told}, not {fault['input']!r}")


def _refuse_no_pattern(pattern: str) -> None:
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError:
        raise ValueError(f"{pattern!r} is no regular expression") from None


class FileOptions(ReaderOptions):
    """Options of every reader of files."""

    members: str | None = Field(
        default=None, min_length=1, description="Names of the files to read in a .zip, such as *.csv; by default all."
    )


class AnswerOptions(ReaderOptions):
    """Options of readers of lists of records in JSON, such as answers of an API. A key may lead into an object."""

    records: str | None = Field(default=None, description="Key of the list of records; the usual keys by default.")
    total_key: str | None = Field(
        default=None, description='Key of the number of all records; the usual keys by default, none for "".'
    )
    absent_keys: list[str] = Field(
        default=["error", "errors", "partial"],
        description="Keys beside the records that show a failure: they must be absent or empty.",
    )


class JsonOptions(FileOptions, AnswerOptions):
    """Options of the reader of lists in JSON files."""

    pages: bool = Field(
        default=False,
        description="Whether each file is a page of a longer list, so that it may say that there is more.",
    )


def _loaded(text: str) -> Any:
    try:
        return strict_yaml.load(text) if text.lstrip().startswith(("[", "{")) else text
    except yaml.YAMLError:
        return text
