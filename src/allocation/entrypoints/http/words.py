"""The texts for clients, in French or, with `Accept-Language: en`, in English."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic_core import ErrorDetails
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from allocation.domain.errors import ValeurInvalide

Language: TypeAlias = Literal["fr", "en"]

LANGUAGES: tuple[Language, ...] = ("fr", "en")
# Longer headers are ignored: no real list of languages is that long.
_MAX_ACCEPT_LANGUAGE = 256


@dataclass(frozen=True, slots=True)
class Words:
    """A text in both languages, possibly with placeholders for facts, as in `str.format`."""

    fr: str
    en: str

    def said(self, language: Language, *facts: object, **named: object) -> str:
        """The text in this language, with the facts filled in."""
        words: str = getattr(self, language)
        return words.format(*facts, **named) if facts or named else words


def wanted_language(accept_language: str | None) -> Language:
    """The language that this header asks for: English if it is preferred to French."""
    if not accept_language or len(accept_language) > _MAX_ACCEPT_LANGUAGE:
        return "fr"
    wanted = parse_accept_header(accept_language, LanguageAccept).best_match(LANGUAGES)
    return "en" if wanted == "en" else "fr"


# Why a value is refused: by the reasons of the domain, as they stand there,
_OF_THE_DOMAIN: Mapping[str, str] = {
    "un texte est attendu": "a text is expected",
    "de 1 à {max} caractères sont attendus, non {longueur}": (
        "1 to {max} characters are expected, not {longueur}"
    ),
    "les caractères de contrôle sont refusés": "control characters are refused",
    "le caractère invisible {code} est refusé": "the invisible character {code} is refused",
    "au plus {max} octets en UTF-8 sont attendus": "at most {max} bytes in UTF-8 are expected",
    "« . » et « .. » sont refusés": "“.” and “..” are refused",
    "un nombre entier d'unités est attendu": "a whole number of units is expected",
    "de {min} à {max} unités sont attendues, non {valeur}": "{min} to {max} units are expected, not {valeur}",
    "{attendu} est attendu, non {reçu}": "{attendu} is expected, not {reçu}",
}
# and by Pydantic's kinds of errors.
_DATE = Words("une date est attendue, comme 2027-01-31", "a date is expected, like 2027-01-31")
_NO_OBJECT = Words("un objet JSON est attendu", "a JSON object is expected")
_OF_PYDANTIC: Mapping[str, Words] = {
    "missing": Words("le champ manque", "the field is missing"),
    "extra_forbidden": Words("ce champ n'existe pas", "there is no such field"),
    "string_type": Words("un texte est attendu", "a text is expected"),
    "string_too_short": Words(
        "au moins {min_length} caractère est attendu", "at least {min_length} character is expected"
    ),
    "string_too_long": Words(
        "au plus {max_length} caractères sont attendus", "at most {max_length} characters are expected"
    ),
    "string_pattern_mismatch": Words(
        "les caractères de contrôle sont refusés", "control characters are refused"
    ),
    "list_type": Words("une liste est attendue", "a list is expected"),
    "too_short": Words("au moins {min_length} élément est attendu", "at least {min_length} item is expected"),
    "too_long": Words(
        "au plus {max_length} éléments sont attendus, non {actual_length}",
        "at most {max_length} items are expected, not {actual_length}",
    ),
    "int_type": Words("un nombre entier est attendu", "a whole number is expected"),
    "greater_than_equal": Words("au moins {ge} est attendu", "at least {ge} is expected"),
    "less_than_equal": Words("au plus {le} est attendu", "at most {le} is expected"),
    "date_type": _DATE,
    "date_from_datetime_parsing": _DATE,
    "date_from_datetime_inexact": _DATE,
    "model_type": _NO_OBJECT,
    "model_attributes_type": _NO_OBJECT,
    "literal_error": Words(
        "l'une de ces valeurs est attendue : {expected}", "one of these is expected: {expected}"
    ),
    "jeton": Words(
        "un jeton qu'une écriture a donné est attendu, comme 42-0f3c9a1b",
        "a token that a write has given is expected, like 42-0f3c9a1b",
    ),
    "instant": Words(
        "un instant avec son décalage est attendu, comme 2027-01-31T10:00:00+01:00",
        "an instant with its offset is expected, like 2027-01-31T10:00:00+01:00",
    ),
}
_ANY_OTHER = Words("cette valeur est refusée", "this value is refused")

REPEATED = Words("ce champ est donné plusieurs fois", "this field is given more than once")
UNKNOWN = _OF_PYDANTIC["extra_forbidden"]


def reason_of(error: ValeurInvalide) -> Words:
    """Why the domain refuses a value."""
    english = _OF_THE_DOMAIN.get(error.gabarit, error.gabarit)
    return Words(error.raison, english.format_map(error.faits) if error.faits else english)


def reason_in(error: ErrorDetails) -> Words:
    """Why Pydantic, or the domain within one of its validators, refuses a value."""
    context = error.get("ctx", {})
    refusal = context.get("refusal")
    if isinstance(refusal, ValeurInvalide):
        return reason_of(refusal)
    words = _OF_PYDANTIC.get(error["type"], _ANY_OTHER)
    return Words(*(words.said(language, **context) for language in LANGUAGES))
