"""Reading the value of a cell: identifiers, units and days, as spreadsheets write them."""

import re
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime

from allocation.domain.errors import ValeurInvalide
from allocation.entrypoints.csv_files.errors import ImportRefused

# `1.0` and `10,00` are whole; three decimals are refused, as `1,000` may well mean a thousand. Thousands may
# be separated by a blank, breaking or not.
_WHOLE_NUMBER = re.compile(r"(-?(?:[0-9]{1,20}|[0-9]{1,3}(?:[ \u00a0\u202f][0-9]{3}){1,6}))(?:[.,]0{1,2})?")
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_WORDS = (("%Y", r"y{4}|a{4}"), ("%y", r"y{2}|a{2}"), ("%m", r"m{2}"), ("%d", r"d{2}|j{2}"))
_SHOWN_CHARS = 40

DateParser = Callable[[str], date | None]


def text(value: str) -> str:
    """A cell's text, normalised for comparison: composed, and without surrounding blanks."""
    return unicodedata.normalize("NFC", value.strip())


def units(value: str) -> int:
    """A whole number of units. Raises ValeurInvalide."""
    if whole := _WHOLE_NUMBER.fullmatch(value):
        return int(re.sub(r"\s", "", whole[1]))
    found = value[:_SHOWN_CHARS]
    raise ValeurInvalide("quantité", f"un nombre entier d'unités est attendu, non « {found} »")


def dates(pattern: str | None) -> DateParser:
    """A function that reads days: like 2027-01-31 or, with a `pattern`, like `dd/mm/yyyy` or `%d/%m/%Y`.

    Raises ImportRefused unless the pattern names a day, a month and a year. The function raises
    ValeurInvalide.
    """
    if pattern is None:
        return _iso_day
    directives = _directives(pattern)
    example = date(2027, 1, 31)
    with suppress(ValueError):
        if datetime.strptime(example.strftime(directives), directives).date() == example:  # noqa: DTZ007
            return lambda value: _day(value, directives)
    raise ImportRefused(
        f"--date-format {pattern}: a day, a month and a year are expected, like dd/mm/yyyy or %d/%m/%Y"
    )


def _directives(pattern: str) -> str:
    if "%" not in pattern:
        for directive, words in _DATE_WORDS:
            pattern = re.sub(words, directive, pattern, flags=re.IGNORECASE)
    return pattern


def _iso_day(value: str) -> date | None:
    if not value:
        return None
    with suppress(ValueError):
        if _ISO_DATE.fullmatch(value):
            return date.fromisoformat(value)
    raise _no_day(value, date(2027, 1, 31).isoformat())


def _day(value: str, directives: str) -> date | None:
    if not value:
        return None
    with suppress(ValueError):
        return datetime.strptime(value, directives).date()  # noqa: DTZ007 - a day has no time zone
    raise _no_day(value, date(2027, 1, 31).strftime(directives))


def _no_day(value: str, example: str) -> ValeurInvalide:
    return ValeurInvalide("eta", f"une date comme {example} est attendue, non « {value[:_SHOWN_CHARS]} »")
