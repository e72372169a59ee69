"""The common handling of secrets that are typed into blocks' forms."""

from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationInfo, field_validator

from freight.secrets import accepted


class SecretFields(BaseModel):
    """A block that refuses control characters in its secrets, and never shows the refused input."""

    model_config = ConfigDict(hide_input_in_errors=True)  # the wrong input may be a secret

    @field_validator("*", mode="after")
    @classmethod
    def _accept_secrets(cls, value: Any, field: ValidationInfo) -> Any:
        if not isinstance(value, SecretStr):
            return value
        what = f"the field {field.field_name} of the {getattr(cls, '_block_type_name', cls.__name__)} block"
        return SecretStr(accepted(value.get_secret_value(), what))
