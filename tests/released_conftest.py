"""Stands in for a released version's own conftest: its tests find databases that today's program has made.

`TEST_SERVER_URL` names the server, `TEST_TEMPLATE` the database that each test gets a copy of.
"""

import os
import socket
from collections.abc import Iterator
from itertools import count

import psycopg
import pytest
from hypothesis import settings
from sqlalchemy import make_url

from allocation.adapters.postgresql.database import Database

settings.register_profile("allocation", deadline=None)
settings.load_profile("allocation")

_numbers = count(1)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ALLOCATION_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def database_url() -> Iterator[str]:
    """The URL of a copy that no other test sees."""
    server, name = os.environ["TEST_SERVER_URL"], f"allocation_released_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {os.environ['TEST_TEMPLATE']}".encode())
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


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
