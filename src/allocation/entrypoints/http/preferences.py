"""The Prefer header (RFC 7240), read in time that grows with its length alone, whatever a client sends."""

import re
from collections.abc import Iterator

_ESCAPED = re.compile(r"\\(.)")


def preferences_in(prefer: str) -> dict[str, str]:
    """The preferences of a header, by their names in lower case; of those with one name, the first."""
    found: dict[str, str] = {}
    for preference in _split(prefer, ","):
        # After a semicolon stand its parameters, of which none is known.
        name, _, value = next(_split(preference, ";")).lstrip(" \t=").partition("=")
        if word := _word(name):
            found.setdefault(word.lower(), _value(value.strip()))
    return found


def _value(text: str) -> str:
    """A word, or what stands between quotation marks, where a backslash stands before any of them."""
    quoted = next(_split(text, " \t")).removeprefix('"').removesuffix('"')
    return _ESCAPED.sub(r"\1", quoted) if text.startswith('"') else _word(text)


def _word(text: str) -> str:
    """What comes before the first blank, equals sign or quotation mark."""
    return next(iter(re.split(r'[\s="]', text, maxsplit=1)))


def _split(text: str, separators: str) -> Iterator[str]:
    """The parts of the text between these separators, those within quotation marks left alone.

    A mark that opens and is never closed is a separator itself, as all after it.
    """
    start, opened, escaped = 0, None, False
    for position, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = opened is not None
        elif character == '"':
            opened = position if opened is None else None
        elif character in separators and opened is None:
            yield text[start:position]
            start = position + 1
    if opened is None:
        yield text[start:]
    else:
        yield text[start:opened]
        yield from re.split(f'["{separators}]', text[opened + 1 :])
