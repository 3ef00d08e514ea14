"""Read models whose columns are sums: a batch of events becomes one change a row, added in one statement."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table

from allocation.adapters.journal.serialization import as_json


class Counters:
    """One row for each key: the columns `sums` are added up, of the columns `earliest` the least is kept."""

    def __init__(self, table: Table, *, sums: Sequence[str], earliest: Sequence[str] = ()) -> None:
        [key] = table.primary_key.columns
        updates = [f"{name} = kept.{name} + excluded.{name}" for name in sums]
        updates += [f"{name} = least(kept.{name}, excluded.{name})" for name in earliest]
        self._upsert = f"""
            INSERT INTO {table.name} AS kept
            SELECT * FROM json_populate_recordset(NULL::{table.name}, %s)
            ON CONFLICT ({key.name}) DO UPDATE SET {", ".join(updates)}
        """

    def add(self, connection: Connection, changes: Iterable[object]) -> None:
        """Add each change, an object with all columns of its row; it becomes the row if there is none yet."""
        rows: list[dict[str, Any]] = [vars(change) for change in changes]
        connection.exec_driver_sql(self._upsert, (as_json(rows),))
