"""Options of readers in the catalog: a mistyped name or value is reported, never ignored."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from freight.errors import ConfigurationError


class ReaderOptions(BaseModel):
    """Options of a reader without any; other readers add fields with defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @property
    def is_partial(self) -> bool:
        """Whether a load brings only new rows instead of the whole source."""
        return False

    @classmethod
    def of_texts(cls, options: Mapping[str, str]) -> Self:
        """Return options that were given as text, as on a command line.

        Raises:
            ConfigurationError: See `of`.
        """
        try:
            return cls.model_validate_strings(options)
        except ValidationError:
            return cls.of(options)  # raises with a clear message

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Return the options of a catalog entry.

        Raises:
            ConfigurationError: A name or a value is wrong; the message names both and the allowed ones.
        """
        try:
            return cls(**options)
        except ValidationError as error:
            fault = error.errors()[0]
        name = fault["loc"][0]
        if fault["type"] == "extra_forbidden":
            known = ", ".join(sorted(cls.model_fields)) or "none"
            raise ConfigurationError(f"options > {name}: unknown to this reader, which knows {known}")
        raise ConfigurationError(f"options > {name}: {fault['msg']}, not {fault['input']!r}")
