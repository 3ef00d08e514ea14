"""The address of a mail server: `smtp://user:password@host:port`, or `smtps://`."""

from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from allocation.adapters.postgresql.connection_info import MASK

_SCHEMES = {"smtp", "smtps"}


def smtp_address(url: str) -> SplitResult:
    """The parts of the URL. Raises ValueError, whose text repeats nothing of the URL, unless it is valid."""
    with suppress(ValueError):
        found = urlsplit(url)
        if found.scheme in _SCHEMES and found.hostname and found.port != 0:
            return found
    raise ValueError("smtp://host:port or smtps://host:port is expected")


def shown_smtp_url(url: str) -> str:
    """The URL with its password masked and without anything after the server, which has no meaning."""
    found = smtp_address(url)
    host = f"[{found.hostname}]" if ":" in (found.hostname or "") else found.hostname
    port = "" if found.port is None else f":{found.port}"
    user = "" if not found.username else found.username
    password = "" if found.password is None else f":{MASK}"
    credentials = f"{user}{password}@" if user or password else ""
    return f"{found.scheme}://{credentials}{host}{port}"
