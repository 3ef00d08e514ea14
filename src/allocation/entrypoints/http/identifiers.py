"""Identifiers in requests: normalised in bodies; in paths and queries, looked up as written, too."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError
from werkzeug.routing import BaseConverter

from allocation.domain.errors import ValeurInvalide
from allocation.domain.values import (
    BLANCS,
    CARACTÈRES_DE_CONTRÔLE,
    CARACTÈRES_INVISIBLES,
    LONGUEUR_MAX,
    OCTETS_MAX,
    SEGMENTS_RELATIFS,
    enregistrable,
    identifiant,
)

_REFUSED = CARACTÈRES_DE_CONTRÔLE + CARACTÈRES_INVISIBLES


def _meant(value: str) -> str:
    try:
        return identifiant("", value)
    except ValeurInvalide as refusal:
        raise PydanticCustomError("identifiant", "{raison}", {"refusal": refusal}) from None


_SCHEMA = WithJsonSchema(
    {
        "type": "string",
        "minLength": 1,
        "maxLength": LONGUEUR_MAX,
        # At least one visible character, and no invisible one.
        "pattern": f"^[^{_REFUSED}]*[^{_REFUSED}{BLANCS}][^{_REFUSED}]*$",
        "not": {"enum": sorted(SEGMENTS_RELATIFS)},
        "description": f"taken in Unicode's form NFC, without blanks around; at most {OCTETS_MAX} bytes",
    }
)

Identifiant = Annotated[str, Field(min_length=1, max_length=LONGUEUR_MAX), AfterValidator(_meant), _SCHEMA]

# In a query: looked up as written, as in a path.
IdentifiantÉcrit = Annotated[str, _SCHEMA]


class Identifier(BaseConverter):
    """A business identifier in a path, percent-encoded. Invalid ones are refused later."""

    regex = r"[\s\S]+"
    part_isolating = False


def spellings(champ: str, given: str) -> Iterator[str]:
    """The identifiers that one in a path may mean: as it is written, then normalised.

    So identifiers stored before the rule existed stay reachable. Raises ValeurInvalide if it can't be stored
    or if, nothing being found as it is written, it breaks the rule.
    """
    yield enregistrable(champ, given)
    if (meant := identifiant(champ, given)) != given:
        yield meant


def spellings_of_lot(ref: str, sku: str | None) -> Iterator[tuple[str, str | None]]:
    """What a lot's reference and its SKU, where it is given, may stand for, as `spellings`."""
    for réf in spellings("réf", ref):
        for spelled in (None,) if sku is None else spellings("sku", sku):
            yield réf, spelled
