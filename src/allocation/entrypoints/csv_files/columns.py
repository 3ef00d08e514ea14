"""Which column holds which field: titles are recognised whatever their case, accents or punctuation."""

import csv
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from allocation.entrypoints.csv_files.errors import ImportRefused

DELIMITERS = (",", ";", "\t", "|")

_SHOWN_CHARS = 500


@dataclass(frozen=True)
class Fields:
    """The fields that a file must or may have, each with the titles that it is recognised by."""

    titles: Mapping[str, Sequence[str]]
    optional: frozenset[str] = frozenset()


def delimiter_named(name: str) -> str:
    """The delimiter that the option names: `\\t` and `tab` mean a tab. Raises ImportRefused."""
    delimiter = "\t" if name in {"\\t", "tab"} else name
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise ImportRefused(f"--delimiter {name}: one character is expected, such as ; or \\t")
    return delimiter


def mapping(options: Sequence[str], fields: Fields) -> dict[str, str]:
    """The title asked for each field, from options like FIELD=TITLE. Raises ImportRefused."""
    known = {folded(field): field for field in fields.titles}
    mapped: dict[str, str] = {}
    for option in options:
        name, separator, title = option.partition("=")
        if not (name and separator and title):
            raise ImportRefused(f"--column {option}: FIELD=HEADER is expected, such as quantité=Quantity")
        field = known.get(folded(name))
        if field is None:
            raise ImportRefused(f"there is no field called {name}; there are: {', '.join(fields.titles)}")
        if field in mapped:
            raise ImportRefused(f"--column names {field} twice")
        mapped[field] = title
    return mapped


def announced_delimiter(line: str) -> str | None:
    """The delimiter that a first line `sep=;` announces, as spreadsheets do."""
    text = line.strip("\r\n").strip('"')
    return text[-1] if text.lower().startswith("sep=") and len(text) == len("sep=;") else None


def recognised_delimiter(line: str, fields: Fields, mapped: Mapping[str, str]) -> str:
    """The delimiter that makes the header yield the most known fields or, in a tie, the most columns."""

    def sense(delimiter: str) -> tuple[int, int]:
        header = next(csv.reader([line], delimiter=delimiter), [])
        return sum(bool(_columns(header, field, fields, mapped)) for field in fields.titles), len(header)

    return max(DELIMITERS, key=sense)


def located(header: Sequence[str], fields: Fields, mapped: Mapping[str, str]) -> dict[str, int]:
    """The column of each field. Raises ImportRefused, naming every field that is missing or there twice."""
    positions: dict[str, int] = {}
    problems: list[str] = []
    for field in fields.titles:
        columns = _columns(header, field, fields, mapped)
        if len(columns) == 1:
            [positions[field]] = columns
        elif columns or field in mapped or field not in fields.optional:
            wanted = " or ".join(_wanted(field, fields, mapped))
            problems.append(f"{field}: {len(columns)} columns are called {wanted}")
    if problems:
        titles = ", ".join(header)[:_SHOWN_CHARS]
        raise ImportRefused(
            f"one column is needed for each field; {'; '.join(problems)}. The file has: {titles}. "
            "Map them: --column FIELD=HEADER"
        )
    return positions


def folded(title: str) -> str:
    """The title without its case, accents, blanks and punctuation, so that spellings compare equal."""
    decomposed = unicodedata.normalize("NFKD", title.casefold())
    return "".join(character for character in decomposed if character.isalnum())


def _wanted(field: str, fields: Fields, mapped: Mapping[str, str]) -> Sequence[str]:
    return [mapped[field]] if field in mapped else fields.titles[field]


def _columns(header: Sequence[str], field: str, fields: Fields, mapped: Mapping[str, str]) -> list[int]:
    """The columns of the field: those with exactly its title if there are any, else with a similar one."""
    wanted = _wanted(field, fields, mapped)
    exact = [position for position, title in enumerate(header) if title.strip() in wanted]
    if exact:
        return exact
    alike = {folded(title) for title in wanted} - {""}
    return [position for position, title in enumerate(header) if folded(title) in alike]
