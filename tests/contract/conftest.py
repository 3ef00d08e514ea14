"""The implementations that every contract runs over."""

from collections.abc import Callable
from typing import TypeAlias

import pytest

from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.adapters.write_model.unit_of_work import JournalledUnitOfWork
from allocation.testing import FakeStore, FakeUnitOfWork

NewUow: TypeAlias = Callable[[], JournalledUnitOfWork]


@pytest.fixture(params=["fake", "postgresql"])
def new_uow(request: pytest.FixtureRequest) -> NewUow:
    """Units of work on one and the same store."""
    if request.param == "fake":
        store = FakeStore()
        return lambda: FakeUnitOfWork(store)
    database: Database = request.getfixturevalue("database")
    return lambda: PostgreSQLUnitOfWork(database)
