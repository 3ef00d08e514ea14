"""A real PostgreSQL for the whole run, and in it a database of its own for each test that asks for one."""

import os
import socket
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from hypothesis import settings
from sqlalchemy import make_url
from tests.standby import let_a_named_user_serve

from allocation.adapters.database import Database
from allocation.adapters.embedded_postgresql import EmbeddedPostgreSQL, embedded_postgresql
from allocation.adapters.schema import migrate

TEMPLATE = "allocation_template"

# How long an example may take says more about the machine than about the program.
settings.register_profile("allocation", deadline=None)
settings.load_profile("allocation")

_numbers = count(1)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ALLOCATION_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgreSQL]:
    with TemporaryDirectory(prefix="allocation-tests-") as directory:
        let_a_named_user_serve(Path(directory))
        with embedded_postgresql(Path(directory)) as running:
            yield running


@pytest.fixture(scope="session")
def template(server: EmbeddedPostgreSQL) -> str:
    """The name of a database that has the schema, and nothing in it."""
    _execute(server, f"CREATE DATABASE {TEMPLATE}")
    with Database(_url(server, TEMPLATE)) as database:
        migrate(database)
    return TEMPLATE


@pytest.fixture
def database_url(server: EmbeddedPostgreSQL, template: str) -> Iterator[str]:
    """The URL of a database with the schema that no other test sees."""
    name = f"allocation_test_{next(_numbers)}"
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _url(server, name)
    _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with Database(database_url) as database:
        yield database


@pytest.fixture
def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    return find_free_port()


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _url(server: EmbeddedPostgreSQL, name: str) -> str:
    return make_url(server.url).set(database=name).render_as_string(hide_password=False)


def _execute(server: EmbeddedPostgreSQL, statement: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(statement.encode())
