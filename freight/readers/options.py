"""Options of readers, as the catalog gives them: a mistyped name or value is told, never ignored."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from freight.errors import ConfigurationError


class ReaderOptions(BaseModel):
    """Options of a reader that has none; others add fields with defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @property
    def is_partial(self) -> bool:
        """Whether a load brings what is new, and not all that the source has."""
        return False

    @classmethod
    def of_texts(cls, options: Mapping[str, str]) -> Self:
        """Return options that were given as texts, as on a command line.

        Raises:
            ConfigurationError: as `of`.
        """
        try:
            return cls.model_validate_strings(options)
        except ValidationError:
            return cls.of(options)  # which says what is wrong

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Return the options of a catalog entry.

        Raises:
            ConfigurationError: a name or a value is wrong; the message names both and what is right.
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
