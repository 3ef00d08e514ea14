"""Waiting for what must happen before long: bounded waits on conditions, never a pause of a fixed length."""

import time
from collections.abc import Callable
from typing import TypeVar

import httpx
import psutil
import pytest
from sqlalchemy import text

from allocation.adapters.postgresql.database import Database, StorageUnavailable
from allocation.views.progress import progress

T = TypeVar("T")

PATIENCE_S = 30

# What a condition may raise while what it looks at is starting, stopping or away.
NOT_YET = (httpx.TransportError, psutil.NoSuchProcess, StorageUnavailable)

SOMEONE_WAITS_FOR_A_LOCK = "SELECT pid FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"


def eventually(condition: Callable[[], T]) -> T:
    """The first true value of `condition`. Fails the test if there is none in half a minute."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if value := condition():
                return value
        except NOT_YET:
            continue
    return pytest.fail("it did not happen in time")


def wait_until_blocked(database: Database) -> None:
    """Return once a transaction waits for a lock that another one holds."""
    with database.reading() as connection:
        eventually(lambda: connection.execute(text(SOMEONE_WAITS_FOR_A_LOCK)).all())


def wait_until_reached(database: Database, position: int) -> None:
    """Return once every reader of the journal has come to `position`."""
    eventually(lambda: all(reader.position >= position for reader in progress(database)))
