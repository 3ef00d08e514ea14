"""The Prefer header (RFC 7240), parsed in linear time, whatever a client sends."""

import re
from collections.abc import Iterator

_ESCAPED = re.compile(r"\\(.)")


def preferences_in(prefer: str) -> dict[str, str]:
    """The preferences in a header by name, in lower case; if a name occurs twice, the first one counts."""
    found: dict[str, str] = {}
    for preference in _split(prefer, ","):
        # Parameters, which follow a semicolon, are ignored: none is known.
        name, _, value = next(_split(preference, ";")).lstrip(" \t=").partition("=")
        if word := _word(name):
            found.setdefault(word.lower(), _value(value.strip()))
    return found


def _value(text: str) -> str:
    """A word, or a quoted string, in which a backslash escapes the next character."""
    quoted = next(_split(text, " \t")).removeprefix('"').removesuffix('"')
    return _ESCAPED.sub(r"\1", quoted) if text.startswith('"') else _word(text)


def _word(text: str) -> str:
    """The text up to the first blank, equals sign or quotation mark."""
    return next(iter(re.split(r'[\s="]', text, maxsplit=1)))


def _split(text: str, separators: str) -> Iterator[str]:
    """Split the text at these separators, except within quotation marks.

    An opening quotation mark without a closing one counts as a separator, like all that follow it.
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
