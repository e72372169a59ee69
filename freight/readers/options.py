"""Options of readers, as the catalog gives them: a mistyped name would otherwise be ignored without a word."""

from collections.abc import Mapping
from typing import Any

from freight.errors import ConfigurationError
from freight.readers.locations import SourceFile

TYPE_NAMES = {str: "a text (put it in quotes)", int: "a whole number"}


def check_options(file: SourceFile, options: Mapping[str, Any], known: Mapping[str, type]) -> None:
    """Check the options of a source against the names and types that its reader knows.

    Raises:
        ConfigurationError: a name or a type is wrong; the message names the file, the option and the remedy.
    """
    for name, value in options.items():
        if name not in known:
            there_are = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise ConfigurationError(
                f"{file.path}: its reader has no option {name!r}: {there_are}; correct `options` in the catalog"
            )
        if type(value) is not known[name]:  # not isinstance: a bool is no whole number
            raise ConfigurationError(
                f"{file.path}: the option {name} must be {TYPE_NAMES[known[name]]}, not {value!r}; "
                "correct `options` in the catalog"
            )
