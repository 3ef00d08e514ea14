"""Fields that the schemas of several resources share."""

import unicodedata
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from allocation.domain.values import (
    QUANTITÉ_LOT_MIN,
    QUANTITÉ_MAX,
    QUANTITÉ_MIN,
)


def whole(value: Any) -> Any:
    """Accept 1.0 as a whole number, as JSON and JSON Schema do."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Quantité = Annotated[
    int, Field(ge=QUANTITÉ_MIN, le=QUANTITÉ_MAX, description="whole units"), BeforeValidator(whole)
]

QuantitéDeLot = Annotated[
    int,
    Field(ge=QUANTITÉ_LOT_MIN, le=QUANTITÉ_MAX, description="whole units; 0: all are gone"),
    BeforeValidator(whole),
]


def accepted_as(*names: str) -> AliasChoices:
    """The names under which a field is accepted, their accents composed or decomposed."""
    forms = [unicodedata.normalize(form, name) for name in names for form in ("NFC", "NFD")]
    return AliasChoices(*dict.fromkeys(forms))


def digits(value: Any) -> Any:
    """Convert the text of a query parameter to a number."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value


class Demande(BaseModel):
    """A request body: values are not converted, and unknown fields are refused."""

    model_config = ConfigDict(strict=True, extra="forbid")
