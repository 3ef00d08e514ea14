"""The PostgreSQL that everything is measured on, and databases in it that are gone afterwards."""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from allocation.adapters.embedded.embedded_postgresql import embedded_postgresql

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
# Of pgbench's 128 clients, and of all programs that are measured, which keep theirs open.
CONNECTIONS = 400
RECORDED = ("server_version", "shared_buffers", "max_connections", *DURABLE)


class UnfitServer(Exception):
    """The server can't be measured on: what it would show is not what it does in production."""


class Laboratory:
    """One PostgreSQL server; made by `laboratory`."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._prefix = f"allocation_bench_{secrets.token_hex(4)}"
        self._created: list[str] = []

    @property
    def settings(self) -> dict[str, str]:
        """The server's settings that matter to what is measured."""
        return {name: str(fetch(self._server_url, f"SHOW {name}")[0][0]) for name in RECORDED}

    def check(self) -> None:
        """Raise UnfitServer unless commits are on disk, all clients may connect, and databases be created."""
        settings = self.settings
        if lax := {name: settings[name] for name in DURABLE if settings[name] != DURABLE[name]}:
            raise UnfitServer(f"commits must be durable to be measured; the server has {lax}")
        if int(settings["max_connections"]) < CONNECTIONS:
            found = settings["max_connections"]
            raise UnfitServer(f"max_connections must be at least {CONNECTIONS}; the server has {found}")
        may_create = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
        if not fetch(self._server_url, may_create)[0][0]:
            raise UnfitServer(
                "the user of ALLOCATION_DATABASE_URL may not create databases; it needs CREATEDB"
            )

    def create(self, name: str, template: str | None = None) -> str:
        """The URL of a new database, a copy of the database `template` if given."""
        database = f"{self._prefix}_{name}"
        copied = f" TEMPLATE {self._prefix}_{template}" if template else ""
        execute(self._server_url, f"CREATE DATABASE {database}{copied}")
        self._created.append(database)
        return make_url(self._server_url).set(database=database).render_as_string(hide_password=False)

    def drop_all(self) -> None:
        """Remove what was created."""
        while self._created:
            execute(self._server_url, f"DROP DATABASE {self._created.pop()} WITH (FORCE)")


@contextmanager
def laboratory() -> Iterator[Laboratory]:
    """A checked server: that of ALLOCATION_DATABASE_URL, or an embedded one. Raises UnfitServer."""
    with ExitStack() as stack:
        url = os.environ.get("ALLOCATION_DATABASE_URL")
        if not url:
            directory = stack.enter_context(TemporaryDirectory(prefix="allocation-bench-"))
            url = stack.enter_context(embedded_postgresql(Path(directory), connections=CONNECTIONS)).url
        lab = Laboratory(url)
        lab.check()
        stack.callback(lab.drop_all)
        yield lab


def execute(url: str, *statements: str, **parameters: object) -> None:
    """Execute each statement in a transaction of its own."""
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        for statement in statements:
            connection.execute(sql.SQL(statement), parameters)


def fetch(url: str, query: str, **parameters: object) -> list[tuple[Any, ...]]:
    """The rows that the query gives."""
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        return connection.execute(sql.SQL(query), parameters).fetchall()


def libpq_url(url: str) -> str:
    """The URL as programs that know nothing of SQLAlchemy's drivers read it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def sqlalchemy_url(url: str) -> str:
    """The URL with the driver that this project uses."""
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
