"""What all sections of a configuration share: strict values, known keys, types of numbers.

Values are read strictly: text is no number and no truth value, so that ``"12"`` or ``"no"`` is a
mistake that is named. One kind of text is read as a number: ``1e-4``, which YAML takes for text.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sentibench.errors import nearest

EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def _read_exponent(value: Any) -> Any:
    """The number of a text such as ``1e-4``; whatever else is left to pydantic."""
    return float(value) if isinstance(value, str) and EXPONENT.fullmatch(value) else value


READ = BeforeValidator(_read_exponent)
Positive = Annotated[float, Field(gt=0), READ]
NotNegative = Annotated[float, Field(ge=0), READ]
Fraction = Annotated[float, Field(gt=0, le=1), READ]
BelowOne = Annotated[float, Field(ge=0, lt=1), READ]
Share = Annotated[float, Field(ge=0, le=1), READ]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the configuration; unknown keys are refused, values do not change."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"additionalProperties": False},
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )

    @model_validator(mode="after")
    def _knows_its_keys(self) -> Section:
        """Instead of ``extra="forbid"``, whose error does not say which keys there are."""
        for key in self.model_extra or ():
            raise ValueError(f"unknown key {key!r}; {nearest(key, type(self).model_fields)}")
        return self
