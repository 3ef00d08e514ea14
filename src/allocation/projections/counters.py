"""Read models whose columns are sums: a batch of events becomes one change per row, in one statement."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table

from allocation.adapters.journal.serialization import as_json


class Counters:
    """One row for each key: columns in `sums` are added up; columns in `earliest` keep the smallest value."""

    def __init__(self, table: Table, *, sums: Sequence[str], earliest: Sequence[str] = ()) -> None:
        key = ", ".join(column.name for column in table.primary_key.columns)
        updates = [f"{name} = kept.{name} + excluded.{name}" for name in sums]
        updates += [f"{name} = least(kept.{name}, excluded.{name})" for name in earliest]
        self._upsert = f"""
            INSERT INTO {table.name} AS kept
            SELECT * FROM json_populate_recordset(NULL::{table.name}, %s)
            ON CONFLICT ({key}) DO UPDATE SET {", ".join(updates)}
        """

    def add(self, connection: Connection, changes: Iterable[object]) -> None:
        """Add each change, given as an object with all columns; the first one for a key becomes the row."""
        rows: list[dict[str, Any]] = [vars(change) for change in changes]
        connection.exec_driver_sql(self._upsert, (as_json(rows),))
