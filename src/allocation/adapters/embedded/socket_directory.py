"""The way to the embedded PostgreSQL: a path to its socket that every client accepts, and no PG… settings."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import platformdirs

from allocation.adapters.embedded.postgresql_programs import EmbeddedServerTrouble

PORT = 5432

# Every system allows 103 bytes for the path of a socket; libpq reads a comma as the end of a host.
_MAX_BYTES = 103 - len(f"/.s.PGSQL.{PORT}")
_PLAIN = re.compile(r"/[A-Za-z0-9 ._/+=-]*")


class SocketDirectory:
    """The data directory itself or, if its path is too long or has odd characters, a short link to it.

    The link is in the user's state directory, which no clean-up job empties.
    """

    def __init__(self, pgdata: Path) -> None:
        self._pgdata = pgdata
        self._place = pgdata if _is_plain(pgdata) else _links() / sha256(os.fsencode(pgdata)).hexdigest()[:16]
        if not _is_plain(self._place):
            raise EmbeddedServerTrouble(
                f"{pgdata} is too long or too odd a path for a socket, and so is {self._place}: "
                "choose a shorter ALLOCATION_DATA_DIR"
            )

    def url(self, user: str, database: str) -> str:
        """The URL of a database of the server."""
        return f"postgresql://{user}@/{database}?host={quote(str(self._place))}&port={PORT}"

    def make(self) -> None:
        """Create the link if it is needed. Raises OSError."""
        if self._place == self._pgdata or self._leads_there():
            return
        self._place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        link = self._place.with_name(f"{self._place.name}.{os.getpid()}")
        link.unlink(missing_ok=True)
        link.symlink_to(self._pgdata)
        link.replace(self._place)

    def _leads_there(self) -> bool:
        return self._place.is_symlink() and self._place.readlink() == self._pgdata


@contextmanager
def settings_of_clients_set_aside() -> Iterator[None]:
    """Keep libpq's variables (PG…) out of the environment: they are about another server than this one.

    No URL outweighs all of them: PGSERVICE may name a service that there is not, and PGREQUIREAUTH a way to
    prove who one is that this server does not ask for.
    """
    set_aside = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PG")}
    try:
        yield
    finally:
        os.environ |= set_aside


def _is_plain(path: Path) -> bool:
    return _PLAIN.fullmatch(str(path)) is not None and len(os.fsencode(path)) <= _MAX_BYTES


def _links() -> Path:
    return platformdirs.user_state_path("allocation") / "sockets"
