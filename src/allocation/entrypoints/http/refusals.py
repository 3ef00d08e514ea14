"""Refusals of the HTTP interface itself."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Self, TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from allocation.domain.errors import AllocationError
from allocation.entrypoints.http.words import Language, Words, reason_in

FieldReason: TypeAlias = tuple[str, Words]


class JsonMalformé(AllocationError):
    """The body is not JSON in UTF-8. → 400

    The parser's message is in English, and ends with the place.
    """

    @property
    def place(self) -> str:
        """The place where the body stops being JSON, in French."""
        return str(self).rpartition(" at ")[2].replace("line", "ligne").replace(" column", ", colonne")


class Introuvable(AllocationError):
    """Nothing is known under this name. → 404"""

    def __init__(self, words: Words) -> None:
        super().__init__(words.fr)
        self.words = words


class ChampsInvalides(AllocationError):
    """Fields of the request are missing, unknown, or wrong. → 422"""

    def __init__(self, fields: Iterable[FieldReason]) -> None:
        self.fields = tuple(fields)
        super().__init__(self.said("fr"))

    @classmethod
    def found_by(cls, error: ValidationError) -> Self:
        """The fields that Pydantic has found."""
        return cls((_name(each), reason_in(each)) for each in error.errors())

    def said(self, language: Language) -> str:
        """All fields with their reasons, in one sentence."""
        separator = " : " if language == "fr" else ": "
        return " ; ".join(f"{each['champ']}{separator}{each['raison']}" for each in self.champs(language))

    def champs(self, language: Language) -> Sequence[Mapping[str, str]]:
        """The fields with their reasons."""
        return [{"champ": field, "raison": reason.said(language)} for field, reason in self.fields]


def _name(error: ErrorDetails) -> str:
    return ".".join(str(part) for part in error["loc"]) or "(corps)"
