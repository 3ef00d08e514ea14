"""Another history of a database, such as a restore or a failover that lost something makes."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import make_url


@contextmanager
def forked(url: str) -> Iterator[str]:
    """The URL of a copy of the database as it is now; from here on, each goes its own way."""
    name = make_url(url).database
    copy = f"{name}_fork"
    server = make_url(url).set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        connection.execute(f"CREATE DATABASE {copy} TEMPLATE {name}".encode())
        yield make_url(url).set(database=copy).render_as_string(hide_password=False)
        connection.execute(f"DROP DATABASE {copy} WITH (FORCE)".encode())
